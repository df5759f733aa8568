"""Finds learners' notebooks in folders and archives, and reads their code cells. Runs nothing.

Nothing is unpacked: a notebook in a zip is read into memory, after its size has been looked up and
while it is counted again, because the size that an archive states may be a lie.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
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
    return PurePosixPath(*path.parts[min(around, len(path.parts) - 1) :])


def _learner(path: PurePosixPath, place: str = "") -> str:
    """Who a notebook is from: the first folder it lies in, else its name without the chapter's.

    A folder with a chapter's name is nobody's. Where neither tells, it is the place itself.
    """
    known = {chapter.name for chapter in chapters()}
    parts = [part for part in path.parts[:-1] if part not in ("/", "..", *known)]
    if parts:
        return parts[0]
    name = _stem(path.name)
    # A browser's or an LMS's second copy has a number behind its name.
    plain = re.sub(r"(?:-\d+| \(\d+\))$", "", name)
    for chapter in chapters():
        if plain.endswith(chapter.name):
            return plain[: -len(chapter.name)].rstrip("-_. ") or place or name
    return name


# A browser may add an ending of its own to a file that it downloads.
_NOTEBOOK = re.compile(r"\.ipynb(\.txt|\.json)?$", re.IGNORECASE)


def _stem(name: str) -> str:
    return _NOTEBOOK.sub("", name) if _NOTEBOOK.search(name) else PurePosixPath(name).stem


def _hidden(path: PurePosixPath) -> bool:
    """What systems leave beside people's files."""
    return any(
        (part.startswith(".") and part != "..") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")
        for part in path.parts
    )


def _refusing(why: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise Refused(why)

    return read


def _no_notebook(path: PurePosixPath) -> Callable[[], bytes]:
    what = f"a file of the kind {path.suffix[:20]}" if path.suffix else "a file without an ending"
    return _refusing(f"{path.name[:80]} is {what} and no notebook; hand in the .ipynb")


def _from_file(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST:
        raise Refused(
            f"the notebook has {size / 1e6:,.0f} MB; {LARGEST / 1e6:.0f} MB are read. "
            "Clear its outputs and hand it in again"
        )
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def _from_zip(archive: Path, inner: str | None, name: str) -> bytes:
    try:
        with _opened(archive, inner) as opened:
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
    except (ValueError, OSError, KeyError, EOFError) as error:
        raise Refused(f"the archive's entry cannot be read: {error}") from error
    except Exception as error:  # zlib and lzma have exceptions of their own
        raise Refused(f"the archive's entry cannot be read: {type(error).__name__}") from error
    if len(data) > LARGEST:
        raise Refused(f"the notebook is larger than {LARGEST / 1e6:.0f} MB unpacked")
    return data


Reader = Callable[[], bytes]


def find(places: Iterable[Path | str]) -> Iterator[Submission]:
    """All notebooks in some folders, zip archives and files, in order.

    A notebook's learner is the first folder inside the place (``anna/05_dot_attention.ipynb``), or
    its name without the chapter's (``anna_05_dot_attention.ipynb``), or the place itself where both
    are the chapter's. One folder around all of them, as in many archives, does not count, nor do
    folders with a chapter's name. Archives in a folder or an archive are read as well, one level
    deep. A link is not followed. Somebody who handed in other files alone is found with one of
    them, which says what it is when it is read.

    Raises:
        FileNotFoundError: a place does not exist.
        ValueError: a place is neither a folder, nor a zip, nor a notebook, or has no notebook.
    """
    for place in map(Path, places):
        if not place.exists():
            raise FileNotFoundError(2, "no such file or folder", str(place))
        if place.is_dir():
            notebooks, others = _in_folder(place)
        elif _NOTEBOOK.search(place.name):
            notebooks, others = {PurePosixPath(place.name): partial(_from_file, place)}, {}
        elif zipfile.is_zipfile(place):
            notebooks, others = _in_zip(place)
        else:
            raise ValueError(f"{place}: neither a folder, nor a zip archive, nor a notebook")
        if not notebooks:
            raise ValueError(f"{place}: there is no notebook (.ipynb) in it")
        around = _around(list(notebooks))
        name = place.resolve().name if place.is_dir() else _stem(place.name)
        # Beside folders of learners lie an instructor's own files; beside their notebooks, theirs.
        if all(len(_inside(path, around).parts) > 1 for path in notebooks):
            others = {p: read for p, read in others.items() if len(_inside(p, around).parts) > 1}
        found: dict[str, list[Submission]] = {}
        for files in (notebooks, others):
            for inner, read in files.items():
                learner = _text(_learner(_inside(inner, around), name))
                if files is notebooks or learner not in found:
                    # As it would be called in the folder of a class.
                    path = PurePosixPath(name, inner) if learner == _text(name) else inner
                    submission = Submission(learner, _text(str(path)), read)
                    found.setdefault(learner, []).append(submission)
        for handed_in in found.values():
            yield from handed_in


def _text(name: str) -> str:
    """A name as everybody writes it: umlauts as one letter, and what is no UTF-8 as its bytes."""
    written = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return unicodedata.normalize("NFC", written)


Found = tuple[dict[PurePosixPath, Reader], dict[PurePosixPath, Reader]]


def _in_folder(place: Path) -> Found:
    """The notebooks in a folder, and its other files."""
    notebooks: dict[PurePosixPath, Reader] = {}
    others: dict[PurePosixPath, Reader] = {}
    for path in sorted(place.rglob("*")):
        inner = PurePosixPath(path.relative_to(place).as_posix())
        named = _NOTEBOOK.search(path.name)
        if _hidden(inner) or (path.is_dir() and not named):
            continue
        if named and path.is_symlink():
            notebooks[inner] = _refusing(
                "the notebook is a link to another file; links are not followed"
            )
        elif named:
            notebooks[inner] = (
                partial(_from_file, path)
                if path.is_file()
                else _refusing("this has a notebook's name and is no file")
            )
        elif path.suffix.lower() == ".zip" and not path.is_symlink() and path.is_file():
            _add_archive(inner, path, None, notebooks, others)
        else:
            others[inner] = _no_notebook(inner)
    return notebooks, others


def _in_zip(archive: Path, inner: str | None = None) -> Found:
    """The notebooks in an archive, or in an archive inside it, and its other files."""
    notebooks: dict[PurePosixPath, Reader] = {}
    others: dict[PurePosixPath, Reader] = {}
    with _opened(archive, inner) as opened:
        entries = [e for e in opened.infolist() if not e.is_dir()]
    if len(entries) > MOST_FILES:
        raise ValueError(f"{archive}: {len(entries):,} files; at most {MOST_FILES:,} are read")
    size = 0
    for entry in sorted(entries, key=lambda e: e.filename):
        path = PurePosixPath(_spelled(entry))
        if _hidden(path):
            continue
        if _NOTEBOOK.search(path.name):
            notebooks[path] = partial(_from_zip, archive, inner, entry.filename)
            size += min(entry.file_size, LARGEST)
        elif path.suffix.lower() == ".zip" and inner is None:
            _add_archive(path, archive, entry.filename, notebooks, others)
        else:
            others[path] = _no_notebook(path)
    if size > MOST_BYTES:
        raise ValueError(f"{archive}: more than {MOST_BYTES >> 30} GB of notebooks")
    return notebooks, others


def _add_archive(
    place: PurePosixPath,
    archive: Path,
    inner: str | None,
    notebooks: dict[PurePosixPath, Reader],
    others: dict[PurePosixPath, Reader],
) -> None:
    """What an archive among the files holds, as if a folder of its name lay in its place."""
    try:
        inside, beside = _in_zip(archive, inner)
    except Refused as why:
        others[place] = _refusing(f"{place.name[:80]} cannot be read: {why}")
        return
    except ValueError:
        others[place] = _refusing(
            f"{place.name[:80]} cannot be read: a damaged archive, or one of too many files"
        )
        return
    folder = place.with_suffix("")
    notebooks |= {folder / path: read for path, read in inside.items()}
    others |= {folder / path: read for path, read in beside.items()}
    if not inside:
        others[place] = _refusing(f"{place.name[:80]} is an archive without a notebook")


def _spelled(entry: zipfile.ZipInfo) -> str:
    """An entry's name. Without the mark for UTF-8 it is read as cp437, and mostly was UTF-8."""
    if entry.flag_bits & 0x800:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return entry.filename


@contextmanager
def _opened(archive: Path, inner: str | None) -> Iterator[zipfile.ZipFile]:
    """An archive, or one inside it, which is read into memory within the limits of a notebook."""
    try:
        with zipfile.ZipFile(archive) as outer:
            if inner is None:
                yield outer
                return
        with zipfile.ZipFile(BytesIO(_from_zip(archive, None, inner))) as opened:
            yield opened
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{archive}: a damaged zip archive: {error}") from error


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
