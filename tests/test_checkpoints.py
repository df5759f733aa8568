"""Checkpoints: what is written is read back, and what cannot be read is refused with a reason."""

import hashlib
import json
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from attnbook import checkpoints, museum
from attnbook.attention import Attention
from attnbook.checkpoints import PUBLISHED, load, read_card, save
from attnbook.decoders import RecurrentDecoder
from attnbook.decoding import decode, translate
from attnbook.scores import DotScore, Score
from attnbook.seq2seq import Translator
from attnbook.settings import TrainingConfig
from attnbook.training import train
from small_models import DECODERS, PAIRS, name, small

WORDS = PAIRS[0].source


def header_of(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def rewrite(path, **changes):
    """The same checkpoint with other entries in its header; None removes one."""
    header = header_of(path) | {"checksum": None} | changes
    kept = {key: value for key, value in header.items() if value is not None}
    save_file(load_file(path), path, metadata=kept)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "small.safetensors"
    save(small().float(), path, card={"seed": 5, "data": "Bücher"})
    return path


# --- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", DECODERS, ids=name)
@pytest.mark.parametrize("tied", [True, False])
def test_round_trip(tmp_path, settings, tied):
    translator = small(**settings, tied=tied, max_source_length=17).float()
    translator.name = "a name"
    file = tmp_path / "deep" / "down" / "model.safetensors"
    save(translator, file)
    again = load(file)
    assert again.config == translator.config
    assert again.name == "a name"
    assert again.source_vocabulary == translator.source_vocabulary
    assert again.target_vocabulary == translator.target_vocabulary
    assert not again.training
    for key, tensor in translator.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor)
    assert (again.decoder.output.weight is again.decoder.embedding.weight) is tied
    assert decode(again, WORDS) == decode(translator, WORDS)
    assert [file.name for file in file.parent.iterdir()] == ["model.safetensors"]


def test_half_is_half_the_size_and_three_digits(tmp_path):
    translator = small(hidden_dim=62).float()
    save(translator, tmp_path / "whole")
    save(translator, tmp_path / "half", half=True)
    sizes = [
        sum(tensor.nbytes for tensor in load_file(tmp_path / kind).values())
        for kind in ("half", "whole")
    ]
    assert sizes[1] == 2 * sizes[0] == 4 * translator.count_parameters()
    again = load(tmp_path / "half")
    for key, tensor in translator.state_dict().items():
        assert again.state_dict()[key].dtype == torch.float32
        torch.testing.assert_close(again.state_dict()[key], tensor, rtol=2**-10, atol=1e-6)


def test_the_card(path, tmp_path):
    assert read_card(path) == {"seed": 5, "data": "Bücher"}
    save(small(), tmp_path / "bare")
    assert read_card(tmp_path / "bare") == {}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    before = path.read_bytes()

    def full(file, content):
        with file.open("wb") as stream:
            stream.write(content[:1000])
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="no space left"):
            save(small(seed=1), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_the_old_file_still_has_all_of_it(path):
    """The new file takes the old one's place at once and is not written over it."""
    before = path.read_bytes()
    with path.open("rb") as old:
        save(small(seed=1).float(), path)
        assert old.read() == before != path.read_bytes()


def test_a_model_is_loaded_where_it_is_wanted(path):
    assert load(path, device="meta").device.type == "meta"
    assert load(path).device.type == "cpu"


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 7, 500, -1])
def test_a_file_that_is_cut_short(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"small\.safetensors: not a readable checkpoint, perhaps"):
        load(path)


@pytest.mark.parametrize("content", [b"not a checkpoint at all\n" * 9, b"\x80\x02}q\x00.", b"\xff"])
def test_a_file_that_is_something_else(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        load(path)
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        read_card(path)


def test_a_file_of_another_version(path):
    rewrite(path, format="2")
    with pytest.raises(ValueError, match=r"written in checkpoint format 2; .* reads format 1"):
        load(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="checkpoint format unknown"):
        load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"config": "{"},
        {"config": json.dumps({"stacks": 3})},
        {"config": json.dumps({"decoder": "unheard-of"})},
        {"source_vocabulary": None},
        {"target_vocabulary": json.dumps(["a", "a"])},
    ],
)
def test_settings_that_cannot_be_read(path, changes):
    rewrite(path, **changes)
    with pytest.raises(ValueError, match="its settings cannot be read"):
        load(path)


def test_a_card_that_cannot_be_read(path):
    rewrite(path, card="{")
    with pytest.raises(ValueError, match="its card cannot be read"):
        read_card(path)


@pytest.mark.parametrize(
    ("removed", "changes"),
    [
        (None, {"source_vocabulary": json.dumps(["a", "b"])}),
        ("encoder.embedding.weight", {}),
        ("decoder.embedding.weight", {}),
    ],
)
def test_weights_that_do_not_fit(path, removed, changes):
    rewrite(path, **changes)
    tensors = load_file(path)
    tensors.pop(removed, None)
    save_file(tensors, path, metadata=header_of(path))
    with pytest.raises(ValueError, match="its weights do not fit its settings"):
        load(path)


def test_a_flipped_bit_is_refused(path):
    """Wherever it is: in the weights, the words or the settings, the file still can be read."""
    whole = path.read_bytes()
    weights = len(whole) - 40
    start = whole.index(b'"source_vocabulary"')
    word = whole.index(b'[\\"', start) + 3  # its first letter
    for place in (weights, word):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged; its checksum is not that of what it holds"):
            load(path)
    path.write_bytes(whole)
    load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, value):
    translator = small().float()
    with torch.no_grad():
        translator.decoder.output.bias[5] = value
    save(translator, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"output\.bias holds numbers that are not finite"):
        load(tmp_path / "model.safetensors")


# --- a score of one's own -------------------------------------------------------------------------


def attention_of(translator: Translator) -> Attention:
    decoder = translator.decoder
    assert isinstance(decoder, RecurrentDecoder)
    assert decoder.attention is not None
    return decoder.attention


class Cosine(Score):
    """``cos(s, h) · β`` with a learned β."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([3.0]))

    def score(self, queries, projected_keys):
        left, right = (functional.normalize(one, dim=-1) for one in (queries, projected_keys))
        return self.scale * left @ right.mT


@pytest.mark.parametrize(
    "settings", [{}, {"decoder": "bahdanau"}, {"input_feeding": True}], ids=str
)
def test_a_score_of_ones_own_is_trained_saved_and_read(tmp_path, settings):
    config, words = small(**settings).config, small(**settings).source_vocabulary
    translator = Translator.from_config(config, words, words, score=Cosine())
    train(translator, PAIRS, PAIRS, TrainingConfig(epochs=2), progress=False)
    file = tmp_path / "own.safetensors"
    save(translator, file)
    for given in (Cosine, Cosine()):
        again = load(file, score=given)
        score = attention_of(again).score
        assert isinstance(score, Cosine)
        for key, tensor in translator.state_dict().items():
            assert torch.equal(again.state_dict()[key], tensor)
        trace = decode(again, WORDS)
        assert trace.scores is not None
        assert np.abs(trace.scores).max() <= float(score.scale.abs()) + 1e-6
        assert translate(again, [WORDS], beam_size=2) == translate(translator, [WORDS], beam_size=2)


def test_a_score_of_ones_own_is_asked_for_by_name(path, tmp_path):
    config, words = small().config, small().source_vocabulary
    file = tmp_path / "own.safetensors"
    translator = Translator.from_config(config, words, words, score=Cosine())
    save(translator, file)
    with pytest.raises(ValueError, match=r"score of somebody's own, Cosine; .*score=Cosine"):
        load(file)
    with pytest.raises(ValueError, match="its score is Cosine, and not DotScore"):
        load(file, score=DotScore)
    with pytest.raises(ValueError, match="has one of the package's scores"):
        load(path, score=Cosine)
    with pytest.raises(ValueError, match="score: the cho decoder has none"):
        Translator.from_config(small(decoder="cho").config, words, words, score=Cosine())


def test_a_score_that_was_exchanged_later_is_not_lost(tmp_path):
    translator = small()
    translator.decoder.attention = Attention(Cosine())
    save(translator, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", score=Cosine)
    assert isinstance(attention_of(loaded).score, Cosine)


def test_an_attention_of_ones_own_cannot_be_saved(tmp_path):
    translator = small()
    translator.decoder.attention = museum.AttentionByPosition(DotScore(), query_dim=5)
    with pytest.raises(ValueError, match="AttentionByPosition is an attention of your own"):
        save(translator, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_no_such_file():
    with pytest.raises(FileNotFoundError, match="nothing-here: no such file, and not one of the"):
        load("nothing-here")


# --- published models -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, checksum in PUBLISHED.items() if not checksum])
def test_a_model_inside_the_package_is_found_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(name).name == name


class Publisher:
    """A server on this machine that has one file, and can be told to misbehave."""

    def __init__(self, content):
        self.content = content
        self.requests = 0
        self.cut = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                if self.path != "/book/checkpoints/remote.safetensors":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content[: outer.cut])  # and hangs up

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def publisher(path, tmp_path, monkeypatch):
    publisher = Publisher(path.read_bytes())
    checksum = hashlib.sha256(publisher.content).hexdigest()
    monkeypatch.setitem(checkpoints.PUBLISHED, "remote", checksum)
    monkeypatch.setattr(checkpoints, "_raw_address", lambda: publisher.address)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    yield publisher
    publisher.close()


def test_a_published_model_is_downloaded_once(publisher):
    assert load("remote").config == small().config
    assert publisher.requests == 1
    publisher.close()
    assert load("remote").config == small().config


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(publisher, tmp_path):
    good, publisher.content = publisher.content, publisher.content[:-1] + b"!"
    with pytest.raises(ValueError, match="hash"):
        load("remote")
    assert list((tmp_path / "cache").iterdir()) == []
    publisher.content = good
    assert load("remote").config == small().config


def test_an_interrupted_download_leaves_nothing_and_can_be_repeated(publisher, tmp_path):
    publisher.cut = 1000
    with pytest.raises(ConnectionError, match=r"could not be downloaded .* comes with the package"):
        load("remote")
    assert list((tmp_path / "cache").iterdir()) == []
    publisher.cut = None
    assert load("remote").config == small().config


def test_without_a_network_the_good_copy_stays_and_a_bad_one_is_named(publisher, tmp_path):
    load("remote")
    (copy,) = (tmp_path / "cache").iterdir()
    publisher.close()
    load("remote")
    copy.write_bytes(b"damaged")
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        load("remote")


def test_an_address_that_does_not_exist(publisher, monkeypatch):
    monkeypatch.setattr(checkpoints, "_raw_address", lambda: publisher.address + "/moved")
    with pytest.raises(ConnectionError, match="404"):
        load("remote")


@pytest.mark.parametrize(
    ("version", "state"),
    [("0.2.0", "v0.2.0"), ("1.10.3", "v1.10.3"), ("0.2.0.dev0", "main"), ("1.0.0.dev12", "main")],
)
def test_a_release_downloads_its_own_models_and_nothing_newer(version, state, monkeypatch):
    installed = Message()
    installed["Version"] = version
    installed["Project-URL"] = "Documentation, https://example.org"
    installed["Project-URL"] = "Repository, https://github.com/someone/course"
    monkeypatch.setattr(checkpoints, "metadata", lambda name: installed)
    assert checkpoints._raw_address() == f"https://raw.githubusercontent.com/someone/course/{state}"


def test_the_repository_is_read_from_the_packages_metadata(monkeypatch):
    assert checkpoints._raw_address().startswith("https://raw.githubusercontent.com/")
    without = Message()
    without["Project-URL"] = "Documentation, https://example.org"
    monkeypatch.setattr(checkpoints, "metadata", lambda name: without)
    with pytest.raises(RuntimeError, match="lacks its Repository address"):
        checkpoints._raw_address()


def test_a_checkout_serves_its_own_models(publisher, tmp_path, monkeypatch, path):
    book = tmp_path / "checkout" / "book" / "checkpoints"
    book.mkdir(parents=True)
    (book / "remote.safetensors").write_bytes(path.read_bytes())
    monkeypatch.setattr(
        checkpoints, "__file__", str(tmp_path / "checkout" / "src" / "attnbook" / "checkpoints.py")
    )
    load("remote")
    assert publisher.requests == 0
