"""Parallel sentences: what a pair is, and where real ones come from.

:func:`multi30k` gives image captions in German, English and French (Elliott et al. 2016),
:func:`read_parallel` reads a pair of text files, and :mod:`attnbook.grammar` generates sentences
whose word alignment is known.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbook.vocabulary import tokenize

__all__ = [
    "SPLITS",
    "SentencePair",
    "join_captions",
    "multi30k",
    "read_lines",
    "read_parallel",
    "split_lines",
    "split_tokens",
]

SPLITS = {"train": "train", "val": "val", "test": "test_2016_flickr"}

_COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
_ADDRESS = f"https://raw.githubusercontent.com/multi30k/dataset/{_COMMIT}/data/task1/raw/"

# SHA-256 of each file as the public repository keeps it (gzip), and of the text inside.
_CHECKSUMS = {
    "train.de": (
        "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
        "2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72",
    ),
    "train.en": (
        "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
        "460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6",
    ),
    "train.fr": (
        "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
        "5925a3c18f1587b6b54b87743106e6e8ab93618edb6f65d19eac0621f853a10d",
    ),
    "val.de": (
        "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
        "660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660",
    ),
    "val.en": (
        "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
        "1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227",
    ),
    "val.fr": (
        "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
        "5304e444d842e962b2dda4d816b70b22a1765b15401642b7ca37a67477e708dc",
    ),
    "test_2016_flickr.de": (
        "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
        "4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16",
    ),
    "test_2016_flickr.en": (
        "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
        "399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182",
    ),
    "test_2016_flickr.fr": (
        "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
        "cb3160d69b002bb638e66cc7612fcd56cb0af82eadc9c142dedc438afb885ef6",
    ),
}


@dataclass(frozen=True)
class SentencePair:
    """A sentence, its translation and, where known, which word translates which.

    Tokens only: ``<sos>`` and ``<eos>`` belong to batches, not to sentences.

    Attributes:
        source: the words of the sentence.
        target: the words of its translation.
        links: pairs ``(source position, target position)``, counted from 0, of words that
            translate each other; None where they are not known.

    Raises:
        ValueError: a side is empty, a token is not a non-empty string, or a link points outside
            the sentence; the message names the field.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    links: frozenset[tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        """Refuse a pair that cannot be trained on, by name."""
        for name in ("source", "target"):
            tokens = getattr(self, name)
            if isinstance(tokens, str):
                raise ValueError(f"{name}: expected a tuple of tokens, got the string {tokens!r}")
            object.__setattr__(self, name, tuple(tokens))
            if not tokens:
                raise ValueError(f"{name}: an empty sentence; drop the pair")
            for position, token in enumerate(tokens):
                if not isinstance(token, str) or not token:
                    raise ValueError(
                        f"{name}: token {position} is {token!r}; expected a non-empty string"
                    )
        if self.links is None:
            return
        object.__setattr__(self, "links", frozenset((int(i), int(j)) for i, j in self.links))
        for i, j in self.links:
            if not (0 <= i < len(self.source) and 0 <= j < len(self.target)):
                raise ValueError(
                    f"links: the link ({i}, {j}) lies outside {len(self.source)} source and "
                    f"{len(self.target)} target tokens"
                )


def multi30k(split: str = "train", *, source: str = "de", target: str = "en") -> list[SentencePair]:
    """Image captions and their translations (Multi30k, task 1), tokenized and lower-cased.

    A local copy is read where the environment variable ``ATTNBOOK_DATA`` names a folder that
    holds ``multi30k/train.de`` and so on; otherwise the files are downloaded once into the
    user's cache. Either way the SHA-256 checksum of every file is verified. The data may be
    used for research and education, not commercially.

    Args:
        split: ``"train"`` (29,000 pairs), ``"val"`` (1,014) or ``"test"`` (1,000, the Flickr
            set of 2016).
        source: ``"de"``, ``"en"`` or ``"fr"``.
        target: another of these.

    Raises:
        ValueError: an unknown split or language, or a file whose checksum is wrong.
        FileNotFoundError: ``ATTNBOOK_DATA`` is set but lacks the file.
        ConnectionError: the download failed; the message says how to provide the files.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    if {source, target} - {"de", "en", "fr"} or source == target:
        raise ValueError(
            f"source and target must be two of de, en, fr; got {source!r} and {target!r}"
        )
    sides = [_multi30k_text(f"{SPLITS[split]}.{language}") for language in (source, target)]
    lines = (split_lines(side, split) for side in sides)
    return _pairs(*lines, names=(source, target))


def read_parallel(
    source: str | Path, target: str | Path, *, pretokenized: bool = False
) -> list[SentencePair]:
    """Read two UTF-8 text files whose lines translate each other.

    Args:
        source: sentences of the one language.
        target: their translations.
        pretokenized: the lines hold tokens, see :func:`split_tokens`; otherwise they are plain
            text and cut by :func:`~attnbook.vocabulary.tokenize`.

    Raises:
        ValueError: a file is not UTF-8, a line is empty, or the files differ in length; the
            message names the file and the line.
    """
    return _pairs(
        read_lines(source),
        read_lines(target),
        names=(str(source), str(target)),
        cut=split_tokens if pretokenized else tokenize,
    )


def split_tokens(line: str) -> list[str]:
    """The tokens of a line that is cut already, at blanks and tabs and nowhere else.

    ``str.split`` would also cut at a no-break space, which tokenizers leave within a token.
    """
    return [token for token in re.split(r"[ \t]+", line) if token]


def read_lines(path: str | Path) -> list[str]:
    """The lines of a UTF-8 text file, without their ends.

    Raises:
        ValueError: the file is not UTF-8, for instance UTF-16, or holds a NUL byte; the message
            says where, and a remedy.
    """
    return split_lines(Path(path).read_bytes(), str(path))


def split_lines(content: bytes, name: str, *, first: int = 1) -> list[str]:
    """The lines of UTF-8 ``content``; ``name`` is what a message calls it, from line ``first``.

    A line ends with ``\\n`` or ``\\r\\n`` and with nothing else: ``str.splitlines`` would also cut
    at rare Unicode line marks, and two parallel files would come out of step. A byte order mark,
    which some editors put in front, is dropped.
    """
    if _looks_like_utf16(content):
        raise ValueError(
            f"{name}: UTF-16, not UTF-8; save it as UTF-8, for instance with: "
            "iconv -f UTF-16 -t UTF-8"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + first
        raise ValueError(
            f"{name}, line {line}: not UTF-8 ({error.reason}); save it as UTF-8, for instance "
            "with: iconv -f latin1 -t utf-8"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + first
        raise ValueError(
            f"{name}, line {line}: holds a NUL byte, which no text does; is it a text file?"
        )
    if not text:
        return []
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _looks_like_utf16(content: bytes) -> bool:
    """Whether there is the mark of UTF-16, or else a zero in every other byte of some text.

    Without a mark, the letters, blanks and line ends of European languages still have such zeros.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    start = content[:10_000]
    zeros = [start[place::2].count(0) for place in (0, 1)]
    return max(zeros) > len(start) / 8 and min(zeros) == 0


def _pairs(
    source: Sequence[str],
    target: Sequence[str],
    *,
    names: tuple[str, str],
    cut: Callable[[str], list[str]] = tokenize,
) -> list[SentencePair]:
    if len(source) != len(target):
        raise ValueError(
            f"{names[0]} has {len(source)} lines and {names[1]} has {len(target)}; "
            "line i of one must be the translation of line i of the other"
        )
    if not source:
        raise ValueError(f"{names[0]} and {names[1]} are empty")
    pairs = []
    for number, lines in enumerate(zip(source, target, strict=True), start=1):
        tokens = [tuple(cut(line)) for line in lines]
        for name, side in zip(names, tokens, strict=True):
            if not side:
                raise ValueError(f"{name}, line {number}: an empty sentence; drop the pair")
        pairs.append(SentencePair(tokens[0], tokens[1]))
    return pairs


def _multi30k_text(name: str) -> bytes:
    """The text of one file, from the local copy or the cache, checksum verified."""
    packed_sum, text_sum = _CHECKSUMS[name]
    if folder := os.environ.get("ATTNBOOK_DATA"):
        path = Path(folder) / "multi30k" / name
        if not path.is_file():
            raise FileNotFoundError(
                f"ATTNBOOK_DATA is set to {folder}, but {path} does not exist; put the file "
                "there, or unset ATTNBOOK_DATA to download it"
            )
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != text_sum:
            raise ValueError(
                f"{path} is not the Multi30k file that the course was measured on (its SHA-256 "
                f"is not {text_sum}); replace it, or unset ATTNBOOK_DATA to download it"
            )
        return content
    import pooch  # only here: it takes as long to import as all else of the command line

    try:
        path = Path(
            pooch.retrieve(
                f"{_ADDRESS}{name}.gz",
                known_hash=f"sha256:{packed_sum}",
                fname=f"multi30k-{name}.gz",
                path=pooch.os_cache("attnbook"),
                progressbar=True,
            )
        )
    except OSError as error:  # requests' exceptions are OSErrors
        raise ConnectionError(
            f"Multi30k's {name}.gz could not be downloaded ({error}). Try again, or put the "
            "unpacked files into a folder multi30k/ and name its parent in ATTNBOOK_DATA"
        ) from error
    return gzip.decompress(path.read_bytes())


def join_captions(
    pairs: Sequence[SentencePair], *, most: int = 3, seed: int = 0
) -> list[SentencePair]:
    """Join captions, one to ``most`` at a time, into longer pairs; each caption is used once.

    The captions are shuffled, then cut into groups whose sizes 1, 2, …, ``most`` come in
    random order and equally often. A joined pair reads like a short paragraph: its length varies
    far more than that of single captions, and its sentences have nothing to do with each other.

    Args:
        pairs: captions; links are carried over, shifted.
        most: the largest group, at least 1.
        seed: of the shuffle and the group sizes.
    """
    if most < 1:
        raise ValueError(f"most must be at least 1, got {most}")
    chance = random.Random(seed)
    shuffled = chance.sample(list(pairs), len(pairs))
    joined: list[SentencePair] = []
    start = 0
    while start < len(shuffled):
        sizes = list(range(1, most + 1))
        chance.shuffle(sizes)
        for size in sizes:
            if group := shuffled[start : start + size]:
                joined.append(_join(group))
            start += size
    return joined


def _join(group: Sequence[SentencePair]) -> SentencePair:
    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    links: set[tuple[int, int]] | None = set()
    for pair in group:
        if pair.links is None or links is None:
            links = None
        else:
            links |= {(i + len(source), j + len(target)) for i, j in pair.links}
        source += pair.source
        target += pair.target
    return SentencePair(source, target, None if links is None else frozenset(links))
