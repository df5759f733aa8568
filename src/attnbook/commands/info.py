"""``attnbook info``: what a model's file holds."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from attnbook.commands import shared
from attnbook.commands.parser import shown
from attnbook.commands.shared import emit
from attnbook.errors import input_errors
from attnbook.settings import family

if TYPE_CHECKING:
    from attnbook.seq2seq import Translator

__all__ = ["add"]


def add(parser: argparse.ArgumentParser) -> None:
    """Give ``attnbook info`` its flags."""
    parser.description = (
        "Show what a model's file holds: the kind of decoder, sizes, parameters, vocabularies, and "
        "the card that its training left: data, command, best epoch. What the card says was "
        "written by whoever made the file."
    )
    parser.epilog = "Examples: `attnbook info grammar-dot`; `attnbook info my.safetensors --json`."
    shared.add_model(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> None:
    import torch

    from attnbook.checkpoints import read_card

    translator = shared.load(args.model, torch.device("cpu"))
    with input_errors():
        card = read_card(args.model)
    info = _info(translator, card)
    if args.json:
        emit(json.dumps(info, ensure_ascii=False, indent=2))
        return
    for line in _lines(info):
        emit(line)


def _info(translator: Translator, card: dict[str, Any]) -> dict[str, Any]:
    """Only the settings that the decoder has: a Transformer has no cell."""
    config = translator.config
    assert config is not None  # a file holds no other
    return {
        "name": translator.name,
        "family": family(config.decoder),
        "config": config.to_dict(),
        "parameters": translator.count_parameters(),
        "source_vocabulary": len(translator.source_vocabulary),
        "target_vocabulary": len(translator.target_vocabulary),
        **(
            {"source_merges": len(source.merges), "target_merges": len(target.merges)}
            if (source := translator.source_subwords) and (target := translator.target_subwords)
            else {}
        ),
        "card": card,
    }


def _lines(info: dict[str, Any]) -> list[str]:
    """The same for people: first what the model is, then where it comes from."""
    words = (info["source_vocabulary"], info["target_vocabulary"])
    rows = {
        "name": info["name"],
        "family": info["family"],
        **{name.replace("_", " "): value for name, value in info["config"].items()},
        "parameters": f"{info['parameters']:,}",
        "vocabularies": f"{words[0]:,} source and {words[1]:,} target words",
    }
    if "source_merges" in info:
        merges = f"{info['source_merges']:,} and {info['target_merges']:,} merges"
        rows["vocabularies"] = (
            f"{words[0]:,} source and {words[1]:,} target pieces of words, by {merges}"
        )
    for name, value in info["card"].items():
        rows.setdefault(name.replace("_", " "), _card_entry(value))
    wide = max(map(len, rows))
    return [f"{name:<{wide}}  {_plain(value)}" for name, value in rows.items()]


def _card_entry(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_plain(one)}" for key, one in value.items())
    return f"{len(value)}; --json shows them" if isinstance(value, list) else value


def _plain(value: Any) -> str:
    return "not set" if value is None else shown(value)
