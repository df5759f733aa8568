"""Where pairs come from, and what is refused on the way."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pooch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbook import corpora
from attnbook.corpora import (
    SentencePair,
    join_captions,
    multi30k,
    read_lines,
    read_parallel,
    split_lines,
)

# --- pairs ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("as_user")
def test_a_pair_by_hand():
    pair = SentencePair(["a", "b"], ["c"], {(1, 0)})  # type: ignore[arg-type]  # the test is that lists become tuples
    assert pair.source == ("a", "b")
    assert pair.links == frozenset({(1, 0)})
    assert SentencePair(("a",), ("b",)).links is None


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("a b", ("c",)), "source: expected a tuple of tokens, got the string 'a b'"),
        ((("a",), ()), "target: an empty sentence"),
        ((("a", ""), ("b",)), "source: token 1 is ''"),
        ((("a", 3), ("b",)), "source: token 1 is 3"),
        ((("a",), ("b",), {(1, 0)}), r"\(1, 0\)"),
        ((("a",), ("b",), {(0, -1)}), r"\(0, -1\)"),
    ],
)
def test_impossible_pairs(values, message):
    with pytest.raises(ValueError, match=message):
        SentencePair(*values)


# --- files ----------------------------------------------------------------------------------------


def write(tmp_path, source, target):
    files = tmp_path / "text.de", tmp_path / "text.en"
    for file, content in zip(files, (source, target), strict=True):
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return files


@pytest.mark.parametrize("last", ["", "\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_parallel_files(tmp_path, end, last):
    files = write(tmp_path, f"Ich bin's!{end}Ja{last}", f"It's me!{end}Yes{last}")
    assert read_parallel(*files) == [
        SentencePair(("ich", "bin's", "!"), ("it's", "me", "!")),
        SentencePair(("ja",), ("yes",)),
    ]


def test_lines_end_at_line_feeds_and_nowhere_else():
    assert split_lines("a\u2028b\x0cc\x85d\re\nf".encode(), "x") == ["a\u2028b\x0cc\x85d\re", "f"]
    assert split_lines(b"a\n\n\nb\n", "x") == ["a", "", "", "b"]
    assert split_lines(b" a \t\r\nb\r\r\n\r\n", "x") == [" a \t", "b\r", ""]
    assert split_lines(b"", "x") == []
    assert split_lines(b"\n", "x") == [""]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(encoding):
    content = "Ein Mann mit Hut.\nZwei Hunde spielen.\n".encode(encoding)
    with pytest.raises(ValueError, match=r"x: UTF-16, not UTF-8.*iconv -f UTF-16 -t UTF-8"):
        split_lines(content, "x")


def test_nul_bytes_are_no_text():
    with pytest.raises(ValueError, match="x, line 3: holds a NUL byte"):
        split_lines(b"Ein Mann\nmit Hut\nund\0 Hund\n", "x")


def test_a_byte_order_mark_is_no_word(tmp_path):
    files = write(tmp_path, b"\xef\xbb\xbfJa\n", "Yes\n")
    assert read_parallel(*files) == [SentencePair(("ja",), ("yes",))]


@given(
    st.lists(st.text(st.characters(exclude_characters="\0\n\r\ufeff", codec="utf-8")), min_size=1)
)
def test_lines_round_trip(lines):
    assert split_lines("".join(line + "\n" for line in lines).encode(), "x") == lines


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("a\nb\n", "c\n", r"text\.de has 2 lines and .*text\.en has 1; line i of one"),
        ("a\n\nb\n", "c\nd\ne\n", r"text\.de, line 2: an empty sentence"),
        ("a\nb\n", "c\n \t\r\n", r"text\.en, line 2: an empty sentence"),
        ("", "", r"text\.de and .*text\.en are empty"),
        (b"a\nsch\xf6n\n", "b\nc\n", r"text\.de, line 2: not UTF-8 .* iconv"),
        ("a\n", "b\n".encode("utf-16"), r"text\.en: UTF-16, not UTF-8"),
    ],
)
def test_files_that_are_refused(tmp_path, source, target, message):
    with pytest.raises(ValueError, match=message):
        read_parallel(*write(tmp_path, source, target))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_lines(tmp_path / "nothing")


# --- joined captions ------------------------------------------------------------------------------


def numbered(count, *, links=False):
    return [
        SentencePair((f"s{number}", "."), (f"t{number}",), frozenset({(0, 0)}) if links else None)
        for number in range(count)
    ]


@given(st.integers(0, 40), st.integers(1, 5), st.integers(0, 3))
def test_joining_uses_each_caption_once(count, most, seed):
    joined = join_captions(numbered(count), most=most, seed=seed)
    sources = [word for pair in joined for word in pair.source if word != "."]
    assert sorted(sources) == sorted(f"s{number}" for number in range(count))
    assert all(1 <= len(pair.target) <= most for pair in joined)
    for pair in joined:
        assert [word[1:] for word in pair.source if word != "."] == [w[1:] for w in pair.target]


def test_group_sizes_are_equally_frequent_and_the_seed_decides():
    joined = join_captions(numbered(60), most=3, seed=1)
    sizes = [len(pair.target) for pair in joined]
    rounds = {tuple(sizes[start : start + 3]) for start in range(0, 30, 3)}
    assert all(sorted(each) == [1, 2, 3] for each in rounds)
    assert len(rounds) > 1
    assert joined == join_captions(numbered(60), most=3, seed=1)
    assert joined != join_captions(numbered(60), most=3, seed=2)


def test_links_are_shifted():
    joined = join_captions(numbered(6, links=True), most=3, seed=0)
    for pair in joined:
        assert pair.links == {(2 * number, number) for number in range(len(pair.target))}
    half_known = [numbered(1, links=True)[0], numbered(2)[1]]
    assert all(
        (pair.links is None) == ("t1" in pair.target)
        for pair in join_captions(half_known, most=2, seed=3)
    )
    with pytest.raises(ValueError, match="most must be at least 1, got 0"):
        join_captions(numbered(2), most=0)


# --- Multi30k -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "count"), [("train", 29_000), ("val", 1_014), ("test", 1_000)])
def test_multi30k_itself(data_folder, split, count):
    pairs = multi30k(split)
    assert len(pairs) == count
    assert all(pair.links is None for pair in pairs)


def test_the_first_pair_of_multi30k(data_folder):
    first = multi30k("train")[0]
    assert " ".join(first.source) == (
        "zwei junge weiße männer sind im freien in der nähe vieler büsche ."
    )
    assert " ".join(first.target) == "two young , white males are outside near many bushes ."
    french, english = multi30k("test", source="fr")[0], multi30k("test")[0]
    assert french.target == english.target
    assert " ".join(french.source) == "un homme avec un chapeau orange regardant quelque chose ."


class Mirror:
    """A server on this machine that has gzipped files, and can be told to misbehave."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests = 0
        self.cut = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                content = outer.files[self.path.removeprefix("/")]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: outer.cut])

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


TEXTS = {"val.de": "Ja .\nNein .\n", "val.en": "Yes .\nNo .\n"}
PAIRS = [SentencePair(("ja", "."), ("yes", ".")), SentencePair(("nein", "."), ("no", "."))]


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    mirror = Mirror()
    for name, text in TEXTS.items():
        packed = gzip.compress(text.encode())
        mirror.files[f"{name}.gz"] = packed
        sums = (hashlib.sha256(packed).hexdigest(), hashlib.sha256(text.encode()).hexdigest())
        monkeypatch.setitem(corpora._CHECKSUMS, name, sums)
    monkeypatch.setattr(corpora, "_ADDRESS", f"http://127.0.0.1:{mirror.server.server_port}/")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.delenv("ATTNBOOK_DATA", raising=False)
    yield mirror
    mirror.close()


def test_a_download_is_made_once(mirror):
    assert multi30k("val") == PAIRS
    assert mirror.requests == 2
    mirror.close()
    assert multi30k("val") == PAIRS


def test_a_download_with_a_wrong_checksum(mirror, tmp_path):
    mirror.files["val.de.gz"] = gzip.compress(b"something else\n")
    with pytest.raises(ValueError, match="hash"):
        multi30k("val")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_interrupted_download_leaves_the_good_copies(mirror, tmp_path):
    multi30k("val")
    good = {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()}
    (tmp_path / "cache" / "multi30k-val.en.gz").unlink()
    mirror.cut = 5
    with pytest.raises(
        ConnectionError, match=r"val\.en\.gz could not be downloaded .* ATTNBOOK_DATA"
    ):
        multi30k("val")
    left = {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()}
    assert left == {name: content for name, content in good.items() if name.endswith("de.gz")}
    mirror.cut = None
    assert multi30k("val") == PAIRS


def test_a_local_copy(mirror, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "multi30k"
    folder.mkdir(parents=True)
    monkeypatch.setenv("ATTNBOOK_DATA", str(folder.parent))
    with pytest.raises(FileNotFoundError, match=r"val\.de does not exist; put the file there, or"):
        multi30k("val")
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert multi30k("val") == PAIRS
    assert mirror.requests == 0
    (folder / "val.en").write_text("Yes .\nNo !\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"val\.en is not the Multi30k file .* SHA-256"):
        multi30k("val")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "split must be one of train, val, test; got 'dev'"),
        ({"target": "cs"}, "two of de, en, fr; got 'de' and 'cs'"),
        ({"target": "de"}, "two of de, en, fr"),
    ],
)
def test_unknown_splits_and_languages(arguments, message):
    with pytest.raises(ValueError, match=message):
        multi30k(**arguments)
