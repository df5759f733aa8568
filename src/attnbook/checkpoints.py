"""Translators on disk: one safetensors file with weights, settings and vocabularies.

safetensors holds plain arrays and text and runs no code when it is read, unlike a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib.metadata import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pooch
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from attnbook.attention import Attention
from attnbook.build import score_of
from attnbook.published import PUBLISHED
from attnbook.scores import Score
from attnbook.seq2seq import Translator
from attnbook.settings import RecurrentConfig, config_of
from attnbook.subwords import Subwords
from attnbook.vocabulary import SPECIALS, Vocabulary

__all__ = ["FORMAT", "PUBLISHED", "load", "read_card", "revision", "save"]

FORMAT = 1


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

    Raises:
        ValueError: a translator that was put together by hand, or an attention of one's own, which
            no file could bring back. (A score of one's own can be saved; :func:`load` is then given
            its class.)
    """
    path = Path(path)
    config = translator.config
    if config is None:
        raise ValueError(
            f"{translator.name} was put together by hand, and a file could not bring its modules "
            "back; keep translator.state_dict() yourself, or build it with Translator.from_config"
        )
    own = _own_score(translator)
    tensors = {}
    for name, tensor in translator.state_dict().items():
        if config.tied and name == "decoder.output.weight":
            continue  # the same numbers as decoder.embedding.weight
        stored = tensor.cpu().contiguous()
        tensors[name] = stored.half() if half and stored.is_floating_point() else stored
    header = {
        "format": str(FORMAT),
        "name": translator.name,
        "config": json.dumps(config.to_dict()),
        "source_vocabulary": json.dumps(_words(translator.source_vocabulary), ensure_ascii=False),
        "target_vocabulary": json.dumps(_words(translator.target_vocabulary), ensure_ascii=False),
        "card": json.dumps(card or {}, ensure_ascii=False),
        **({"score": own} if own else {}),
    }
    for side in ("source_subwords", "target_subwords"):
        if (subwords := getattr(translator, side)) is not None:
            header[side] = json.dumps(subwords.to_dict(), ensure_ascii=False)
    header["checksum"] = _checksum(header, tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_bytes(serialize(tensors, metadata=header))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(
    name_or_path: str | Path,
    *,
    score: Score | Callable[[], Score] | None = None,
    device: str | torch.device = "cpu",
) -> Translator:
    """Read a translator, ready to translate (dropout off).

    Args:
        name_or_path: a published model's name (see :data:`PUBLISHED`) or a file that
            :func:`save` wrote.
        score: of a model that was trained with a score of one's own, that class, or one of its
            instances. A file names the class and can do no more: nothing that it names is run.
        device: where to put it.

    Raises:
        FileNotFoundError: neither a published name nor a file.
        ValueError: the file is not a checkpoint, is cut short or damaged, was written by another
            version of the package, does not fit its own settings, holds weights that are not
            finite, or needs another ``score``; the message says which.
        ConnectionError: the model had to be downloaded and that failed.
    """
    path = _find(name_or_path)
    header, tensors = _read(path, with_tensors=True)
    if "checksum" in header and header["checksum"] != _checksum(header, tensors):
        raise ValueError(
            f"{path}: damaged; its checksum is not that of what it holds. Make or download it again"
        )
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} holds numbers that are not finite; train it again")
    own = _score_of(path, header, score)
    try:
        config = config_of(json.loads(header["config"]))
        source = Vocabulary(json.loads(header["source_vocabulary"]))
        target = Vocabulary(json.loads(header["target_vocabulary"]))
        subwords = {
            side: Subwords.from_dict(json.loads(header[side]))
            for side in ("source_subwords", "target_subwords")
            if side in header
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its settings cannot be read ({error})") from error
    name = header.get("name", path.stem)
    translator = Translator.from_config(config, source, target, name=name, score=own, **subwords)
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


def _own_score(translator: Translator) -> str | None:
    """The class of the score, where it is not the one that the settings name."""
    config = translator.config
    for attention in translator.decoder.attentions:
        if isinstance(attention, Attention):
            if type(attention) is not Attention:
                raise ValueError(
                    f"{type(attention).__name__} is an attention of your own, which a file cannot "
                    "bring back; write it as a Score, or keep translator.state_dict() yourself"
                )
            named = score_of(config) if isinstance(config, RecurrentConfig) else None
            if type(attention.score) is not type(named):
                return type(attention.score).__name__
    return None


def _score_of(
    path: Path, header: Mapping[str, str], score: Score | Callable[[], Score] | None
) -> Score | None:
    """The score that a model is to be built with; None is the one that its settings name."""
    wanted = header.get("score")
    given = score if score is None or isinstance(score, Score) else score()
    if wanted is None and given is not None:
        raise ValueError(f"{path}: has one of the package's scores; leave out score=")
    if wanted is not None and given is None:
        raise ValueError(
            f"{path}: was trained with a score of somebody's own, {wanted}; give its class: "
            f"load(…, score={wanted})"
        )
    if given is not None and type(given).__name__ != wanted:
        raise ValueError(f"{path}: its score is {wanted}, and not {type(given).__name__}")
    return given


def _checksum(header: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of everything that a file holds, in an order of its own."""
    total = hashlib.sha256()
    for name, text in sorted(header.items()):
        if name != "checksum":
            total.update(f"{name}={text}\0".encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        total.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


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
        if hashlib.sha256(checkout.read_bytes()).hexdigest() != checksum:
            raise ValueError(f"{checkout}: damaged; git restore {checkout.name} brings it back")
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
