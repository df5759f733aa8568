"""Finds learners' notebooks in folders and archives, and reads their code cells. Runs nothing.

Nothing is unpacked: a notebook in a zip is read into memory, after its size has been looked up and
while it is counted again, because the size that an archive states may be a lie.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from attnbook.exercises import chapters

__all__ = ["LARGEST", "Refused", "Submission", "code_cells", "find"]

#: Bytes of the largest notebook that is read.
LARGEST = 10 << 20
#: Files that an archive may have, and bytes that its notebooks may have together.
MOST_FILES, MOST_BYTES = 20_000, 4 << 30


class Refused(ValueError):
    """A notebook that cannot be graded; says why, in words for its learner."""


@dataclass(frozen=True)
class Submission:
    """One notebook of one learner.

    Attributes:
        learner: whose it is.
        path: where it lies, as a text that tells it from all others.
        read: gives its bytes; raises :class:`Refused`.
    """

    learner: str
    path: str
    read: Callable[[], bytes] = field(compare=False)


def _around(paths: list[PurePosixPath]) -> int:
    """How many folders stand around all learners, as in an archive of one folder.

    A folder around everything is no learner if there are folders in it, or if the notebooks
    directly in it have learners' names before the chapter's. With a single name inside, the folder
    is taken for the learner.
    """
    count = 0
    while paths and len({path.parts[: count + 1] for path in paths}) == 1:
        inner = [PurePosixPath(*path.parts[count + 1 :]) for path in paths]
        deeper = all(len(path.parts) > 1 for path in inner)
        named = all(len(p.parts) == 1 and _learner(p) != p.stem for p in inner)
        if not (deeper or named) or len(set(map(_learner, inner))) < 2:
            break
        count += 1
    return count


def _inside(path: PurePosixPath, around: int) -> PurePosixPath:
    return PurePosixPath(*path.parts[around:])


def _learner(path: PurePosixPath) -> str:
    """Who a notebook is from: the first folder it lies in, else its name without the chapter's."""
    parts = [part for part in path.parts if part not in ("/", "..")]
    if len(parts) > 1:
        return parts[0]
    name = path.stem
    # A browser's or an LMS's second copy has a number behind its name.
    plain = re.sub(r"(?:-\d+| \(\d+\))$", "", name)
    for chapter in chapters():
        if plain.endswith(chapter.name):
            return plain[: -len(chapter.name)].rstrip("-_. ") or name
    return name


def _wanted(path: PurePosixPath) -> bool:
    hidden = any(
        (part.startswith(".") and part != "..") or part == "__MACOSX" for part in path.parts
    )
    return path.suffix == ".ipynb" and not hidden


def _from_file(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST:
        raise Refused(
            f"the notebook has {size / 1e6:,.0f} MB; {LARGEST / 1e6:.0f} MB are read. "
            "Clear its outputs and hand it in again"
        )
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def _from_zip(archive: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(archive) as opened:
            info = opened.getinfo(name)
            if info.flag_bits & 1:
                raise Refused("the archive is encrypted")
            if info.file_size > LARGEST:
                raise Refused(
                    f"the notebook has {info.file_size / 1e6:,.0f} MB unpacked; "
                    f"{LARGEST / 1e6:.0f} MB are read"
                )
            with opened.open(info) as file:
                data = file.read(LARGEST + 1)
    except Refused:
        raise
    except (zipfile.BadZipFile, OSError, KeyError, NotImplementedError, EOFError) as error:
        raise Refused(f"the archive's entry cannot be read: {error}") from error
    except Exception as error:  # zlib and lzma have exceptions of their own
        raise Refused(f"the archive's entry cannot be read: {type(error).__name__}") from error
    if len(data) > LARGEST:
        raise Refused(f"the notebook is larger than {LARGEST / 1e6:.0f} MB unpacked")
    return data


def find(places: Iterable[Path | str]) -> Iterator[Submission]:
    """All notebooks in some folders, zip archives and files, in order.

    A notebook's learner is the first folder inside the place (``anna/05_dot_attention.ipynb``), or
    its name without the chapter's (``anna_05_dot_attention.ipynb``). One folder around all of them,
    as in many archives, does not count. A link is not followed.

    Raises:
        FileNotFoundError: a place does not exist.
        ValueError: a place is neither a folder, nor a zip, nor a notebook, or has no notebook.
    """
    for place in map(Path, places):
        if not place.exists():
            raise FileNotFoundError(2, "no such file or folder", str(place))
        found: dict[PurePosixPath, Callable[[], bytes]] = {}
        if place.is_dir():
            for path in sorted(place.rglob("*.ipynb")):
                inner = PurePosixPath(path.relative_to(place).as_posix())
                if _wanted(inner) and (path.is_file() or path.is_symlink()):
                    found[inner] = _a_link if path.is_symlink() else partial(_from_file, path)
        elif place.suffix == ".ipynb":
            found[PurePosixPath(place.name)] = partial(_from_file, place)
        elif zipfile.is_zipfile(place):
            for name in _members(place):
                found[PurePosixPath(name)] = partial(_from_zip, place, name)
        else:
            raise ValueError(f"{place}: neither a folder, nor a zip archive, nor a notebook")
        if not found:
            raise ValueError(f"{place}: there is no notebook (.ipynb) in it")
        around = _around(list(found))
        for inner, read in found.items():
            yield Submission(_text(_learner(_inside(inner, around))), _text(str(inner)), read)


def _text(name: str) -> str:
    """A name that can be written: one that is not UTF-8 has bytes that are no letters."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _a_link() -> bytes:
    raise Refused("the notebook is a link to another file; links are not followed")


def _members(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ValueError(f"{archive}: a damaged zip archive: {error}") from error
    if len(entries) > MOST_FILES:
        raise ValueError(f"{archive}: {len(entries):,} files; at most {MOST_FILES:,} are read")
    wanted = [e for e in entries if _wanted(PurePosixPath(e.filename)) and not e.is_dir()]
    if sum(min(e.file_size, LARGEST) for e in wanted) > MOST_BYTES:
        raise ValueError(f"{archive}: more than {MOST_BYTES >> 30} GB of notebooks")
    return sorted({e.filename for e in wanted})


def code_cells(data: bytes) -> list[str]:
    """The sources of a notebook's code cells, in their order.

    Raises:
        Refused: not a notebook, or one for another language than Python.
    """
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Refused("this is not a notebook: the file is not JSON") from error
    if not isinstance(notebook, dict):
        raise Refused("this is not a notebook: the file has no cells")
    language = _language(notebook.get("metadata"))
    if language and not re.match(r"(i?python|xpython)", language):
        raise Refused(
            f"the notebook's kernel is for {language[:30]!r}; the exercises are in Python"
        )
    cells = notebook.get("cells")
    if cells is None and isinstance(notebook.get("worksheets"), list):  # format 3
        sheets = [s for s in notebook["worksheets"] if isinstance(s, dict)]
        cells = [c for s in sheets if isinstance(s.get("cells"), list) for c in s["cells"]]
    if not isinstance(cells, list):
        raise Refused("this is not a notebook: the file has no cells")
    sources = []
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", cell.get("input", ""))
            if isinstance(source, list):
                source = "".join(part for part in source if isinstance(part, str))
            if isinstance(source, str):
                # Half of a surrogate pair is JSON, and no text.
                sources.append(source.encode("utf-8", "replace").decode("utf-8"))
    return sources


def _language(metadata: Any) -> str:
    """The language a notebook says it is in, or nothing."""
    if not isinstance(metadata, dict):
        return ""
    # The name of a kernel says nothing: everybody may give one.
    for part, key in (("language_info", "name"), ("kernelspec", "language")):
        found = metadata.get(part)
        if isinstance(found, dict) and isinstance(found.get(key), str) and found[key]:
            return str(found[key]).lower()
    return ""
