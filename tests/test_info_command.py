"""`attnbook info`: what a file holds."""

import json

from attnbook.checkpoints import save
from command_line import FILES, SMALL, attnbook, refused
from small_models import small


def test_a_trained_model_tells_its_story(capsys, parallel_text):
    words = ("train", *FILES, *SMALL, "--epochs=2", "--output=my", "--seed=3")
    assert attnbook(capsys, *words)[0] == 0
    code, out, err = attnbook(capsys, "info", "my", "--json")
    assert (code, err) == (0, "")
    info = json.loads(out)
    assert info["family"] == "recurrent"
    assert info["config"]["hidden_dim"] == 14
    assert "num_heads" not in info["config"]
    assert (info["source_vocabulary"], info["target_vocabulary"]) == (11, 12)
    assert info["parameters"] == info["card"]["parameters"]
    assert info["card"]["data"] == "text.de and text.en"
    code, out, err = attnbook(capsys, "info", "my")
    assert (code, err) == (0, "")
    rows = dict(line.split("  ", maxsplit=1) for line in out.splitlines())
    rows = {name: value.strip() for name, value in rows.items()}
    assert rows["decoder"] == "luong"
    assert rows["hidden dim"] == "14"
    assert rows["attention dim"] == "not set"
    assert rows["vocabularies"] == "11 source and 12 target words"
    assert "seed 3" in rows["settings"]
    assert rows["best epoch"].startswith("number ")
    assert rows["epochs"] == "2; --json shows them"
    assert rows["parameters"] == f"{info['parameters']:,}"
    assert rows["command"].startswith("attnbook train --data text.de text.en")


def test_a_transformer_without_a_card(capsys, parallel_text):
    translator = small(decoder="transformer", hidden_dim=14, num_heads=7).float()
    save(translator, parallel_text / "t")
    code, out, _ = attnbook(capsys, "info", "t")
    assert code == 0
    assert "num heads" in out
    assert "cell" not in out
    assert "nothing: no such file" in refused(capsys, "info", "nothing")
