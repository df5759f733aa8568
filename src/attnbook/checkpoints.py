"""Translators on disk: one safetensors file with weights, settings and vocabularies.

safetensors holds plain arrays and text and runs no code when it is read, unlike a pickle.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pooch
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from attnbook.seq2seq import Config, Translator
from attnbook.vocabulary import SPECIALS, Vocabulary

__all__ = ["FORMAT", "PUBLISHED", "load", "read_card", "revision", "save"]

FORMAT = 1

# Models that the course shows. A name without a checksum lies inside the package; the others lie
# in the repository's book/checkpoints, and are downloaded from the state of it that belongs to the
# installed version when the package is used without it.
PUBLISHED: dict[str, str | None] = {
    "grammar-dot": None,
    "grammar-sutskever": None,
    "multi30k-dot": "52bf7e09f54242171632caa5d373225a5bbc928b6c4502072ad72681244a2cf4",
    "multi30k-cho": "c61100034d8a776aa843fb121125905b34e3ec52d0201ede66991e9aada06b0c",
}


def save(
    translator: Translator,
    path: str | Path,
    *,
    card: dict[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Write a translator to ``path``; an interrupted write leaves the old file as it was.

    Args:
        translator: what to save.
        path: of the file, usually ending in ``.safetensors``.
        card: what else is known, for instance data, seeds and scores; anything JSON can hold.
        half: store the weights in 16 bits (half the size, three significant digits).
    """
    path = Path(path)
    tensors = {}
    for name, tensor in translator.state_dict().items():
        if translator.config.tied and name == "decoder.output.weight":
            continue  # the same numbers as decoder.embedding.weight
        stored = tensor.cpu().contiguous()
        tensors[name] = stored.half() if half and stored.is_floating_point() else stored
    header = {
        "format": str(FORMAT),
        "name": translator.name,
        "config": json.dumps(translator.config.to_dict()),
        "source_vocabulary": json.dumps(_words(translator.source_vocabulary), ensure_ascii=False),
        "target_vocabulary": json.dumps(_words(translator.target_vocabulary), ensure_ascii=False),
        "card": json.dumps(card or {}, ensure_ascii=False),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_bytes(serialize(tensors, metadata=header))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(name_or_path: str | Path, *, device: str | torch.device = "cpu") -> Translator:
    """Read a translator, ready to translate (dropout off).

    Args:
        name_or_path: a published model's name (see :data:`PUBLISHED`) or a file that
            :func:`save` wrote.
        device: where to put it.

    Raises:
        FileNotFoundError: neither a published name nor a file.
        ValueError: the file is not a checkpoint, is cut short, was written by another version
            of the package, or does not fit its own settings; the message says which.
        ConnectionError: the model had to be downloaded and that failed.
    """
    path = _find(name_or_path)
    header, tensors = _read(path, with_tensors=True)
    try:
        config = Config.from_dict(json.loads(header["config"]))
        source = Vocabulary(json.loads(header["source_vocabulary"]))
        target = Vocabulary(json.loads(header["target_vocabulary"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its settings cannot be read ({error})") from error
    translator = Translator(config, source, target, name=header.get("name", path.stem))
    if config.tied:
        tensors["decoder.output.weight"] = tensors.get("decoder.embedding.weight", torch.empty(0))
    try:
        translator.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit its settings: {error}") from error
    return translator.to(device).eval()


def read_card(name_or_path: str | Path) -> dict[str, Any]:
    """What was recorded beside the weights: data, seeds, scores.

    Raises:
        FileNotFoundError: neither a published name nor a file.
        ValueError: the file is not a checkpoint of this version, or its card is damaged.
        ConnectionError: the model had to be downloaded and that failed.
    """
    path = _find(name_or_path)
    header, _ = _read(path, with_tensors=False)
    try:
        card: dict[str, Any] = json.loads(header.get("card", "{}"))
    except ValueError as error:
        raise ValueError(f"{path}: its card cannot be read ({error})") from error
    return card


def _words(vocabulary: Vocabulary) -> list[str]:
    return list(vocabulary)[len(SPECIALS) :]


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            names = file.keys() if with_tensors else []
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a readable checkpoint, perhaps cut short ({error}); make or download it "
            "again"
        ) from error
    if header.get("format") != str(FORMAT):
        raise ValueError(
            f"{path}: written in checkpoint format {header.get('format', 'unknown')}; this "
            f"version of attnbook reads format {FORMAT}. Train the model again with "
            "`attnbook train`, or install the version that wrote it"
        )
    return header, tensors


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.is_file():
        return path
    name = str(name_or_path)
    if name not in PUBLISHED:
        raise FileNotFoundError(
            f"{name}: no such file, and not one of the published models ({', '.join(PUBLISHED)})"
        )
    checksum = PUBLISHED[name]
    if checksum is None:
        return Path(str(files("attnbook"))) / "models" / f"{name}.safetensors"
    checkout = Path(__file__).parents[2] / "book" / "checkpoints" / f"{name}.safetensors"
    if checkout.is_file():
        return checkout
    try:
        return Path(
            pooch.retrieve(
                f"{_raw_address()}/book/checkpoints/{name}.safetensors",
                known_hash=f"sha256:{checksum}",
                fname=f"{name}.safetensors",
                path=pooch.os_cache("attnbook"),
                progressbar=True,
            )
        )
    except OSError as error:  # requests' exceptions are OSErrors
        raise ConnectionError(
            f"the model {name} could not be downloaded ({error}). Try again, or load one that "
            "comes with the package: "
            + ", ".join(known for known, inside in PUBLISHED.items() if inside is None)
        ) from error


def revision(version: str) -> str:
    """Which state of the repository belongs to a version of the package, as git names it.

    A release reads what it was released with, so that nothing changes under a running course; what
    is under way between two releases (``1.2.0.dev0``) reads the main branch.
    """
    return "main" if ".dev" in version else f"v{version}"


def _raw_address() -> str:
    """Where the repository's files can be read; the address itself stands in pyproject.toml."""
    installed = metadata("attnbook")
    for entry in installed.get_all("Project-URL") or []:
        label, _, address = entry.partition(", ")
        if label == "Repository":
            owner_and_name = address.removeprefix("https://github.com/").rstrip("/")
            state = revision(installed["Version"])
            return f"https://raw.githubusercontent.com/{owner_and_name}/{state}"
    raise RuntimeError("attnbook's metadata lacks its Repository address; install it again")
