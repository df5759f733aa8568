"""Makes the fonts that the site ships, so that a page is equally wide on every machine.

``make fonts`` calls this. It downloads three families from the package index, each pinned by
version and checksum, keeps the characters of ``TEXT`` and ``SYMBOLS`` and the weights between
regular and bold, and writes woff2 files, their licences and the style sheet that names them into
``book/assets/fonts``. The same packages give the same bytes.

Subsetting changes a font, and the licence of two of the families (SIL Open Font License, with a
Reserved Font Name) lets a changed one not keep its name. So all have names of their own here.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "book" / "assets" / "fonts"


def _characters(*parts: str | tuple[int, int]) -> frozenset[int]:
    """Code points, from strings and from ranges with both ends."""
    found: set[int] = set()
    for part in parts:
        found |= set(map(ord, part)) if isinstance(part, str) else set(range(part[0], part[1] + 1))
    return frozenset(found)


# What nearly every page has; the landing page does without the rest.
LATIN = _characters((0x20, 0x7E), (0xA0, 0xFF), (0x300, 0x308), "‐‑–—‘’‚“”„•…‹›€−→←↑↓↔√∞≈≤≥≠∂αᵀ")
NAMES = _characters((0x100, 0x17F))  # for authors
GREEK = _characters((0x391, 0x3A1), (0x3A3, 0x3A9), (0x3B1, 0x3C9), "ϑϕϵ")
SYMBOLS = GREEK | _characters(
    "⁰ⁱ⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿ₀₁₂₃₄₅₆₇₈₉₊₋ᵀ↔⇐⇒⇔↦∀∃∅∆∇∈∏∑∝∧∨∩∪∫≡⊙⊤∘⋅⋯■□▢▪▫▲△▶▷▼▽◀◆○●★☆✓✗ℓℝ"
)
BLOCKS = _characters((0x2500, 0x257F), (0x2580, 0x2593))  # lines and bars that terminals draw
# No family has the first; its corners are rounded, which at this size nobody sees.
ALIKE = {0x25A2: 0x25A1}

# Superscripts and small capitals by feature, ligatures of code and alternates are left out.
FEATURES = ["ccmp", "kern", "liga", "lnum", "locl", "mark", "mkmk", "tnum"]
NAMES_KEPT = [0, 1, 2, 3, 4, 5, 6, 13, 14]  # of the name table: origin, names, version, licence


@dataclass(frozen=True)
class Family:
    """A family of the package index, under the name that it has here."""

    name: str
    package: str
    version: str
    sha256: str
    size: float = 1.0
    """What its letters are enlarged by, so that x-heights match between families."""


SERIF = Family(
    "Attn Serif", "fontpkg-source-serif-4", "4.4",
    "6c33ac5d27b0396b0ed228e400d9c7ee4445c359ce21b3d8d9b9723e8c5c49a7",
)  # fmt: skip
SANS = Family(
    "Attn Sans", "fontpkg-source-sans-3", "3.52",
    "2e931608ceeaad770916b53a35cf87090e28133875bf770e41b266146126abd8", size=1.08,
)  # fmt: skip
MONO = Family(
    "Attn Mono", "fontpkg-jetbrains-mono", "2.211",
    "546e53afe7048f4c4ac2be8cbc00c42d7208bb5f6cd00f852225aa2797335de4",
)  # fmt: skip
FAMILIES = (SERIF, SANS, MONO)


@dataclass(frozen=True)
class Cut:
    """One file: characters of a family in one style."""

    file: str
    family: Family
    source: str
    characters: Collection[int]
    weights: tuple[int, int] = (400, 700)
    italic: bool = False
    axes: dict[str, float] = field(default_factory=dict)
    extra: bool = False
    """Whether it is a family of its own in the style sheet, asked for what the letters' file lacks.

    One file in several weights and one in a single weight cannot be one family: a browser would
    take the one or the other.
    """

    @property
    def name(self) -> str:
        """What the style sheet calls it."""
        return f"{self.family.name} Symbols" if self.extra else self.family.name


# Source Serif draws small text sturdier; 16 is the size of the book's prose.
_PROSE = {"opsz": 16.0}
CUTS = (
    Cut("serif", SERIF, "SourceSerif4[opsz,wght].ttf", LATIN | NAMES, axes=_PROSE),
    Cut(
        "serif-italic", SERIF, "SourceSerif4-Italic[opsz,wght].ttf", LATIN | NAMES, (400, 400),
        italic=True, axes=_PROSE,
    ),
    Cut(
        "serif-symbols", SERIF, "SourceSerif4[opsz,wght].ttf", SYMBOLS, (400, 400),
        axes=_PROSE, extra=True,
    ),
    Cut("sans", SANS, "SourceSans3[wght].ttf", LATIN | NAMES),
    Cut("sans-italic", SANS, "SourceSans3-Italic[wght].ttf", LATIN, (400, 400), italic=True),
    # The sans has the most symbols, and lends them to the others.
    Cut("sans-symbols", SANS, "SourceSans3[wght].ttf", SYMBOLS, (400, 400), extra=True),
    Cut("mono", MONO, "JetBrainsMono[wght].ttf", LATIN),
    Cut(
        "mono-symbols", MONO, "JetBrainsMono[wght].ttf", SYMBOLS | BLOCKS, (400, 400), extra=True
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Local:
    """A font that may be on a reader's machine, and stands in until the site's own is there."""

    names: tuple[str, ...]
    width: float
    """Mean width of its letters in running English, in em."""


# Widths as the package @capsizecss/metrics 4.3.0 has them; DejaVu's measured with _mean_width.
STAND_INS = {
    SERIF: (
        Local(("Georgia", "Gelasio"), 0.4546),
        Local(("Noto Serif",), 0.482),
        Local(("DejaVu Serif",), 0.5059),
    ),
    SANS: (
        Local(("Arial", "Helvetica", "Liberation Sans", "Arimo"), 0.4458),
        Local(("Roboto",), 0.4482),
        Local(("Noto Sans",), 0.456),
        Local(("DejaVu Sans",), 0.5004),
    ),
}

# How often letters occur in English, per thousand characters of running text.
_FREQUENCY = {
    " ": 175, "e": 98, "t": 71, "a": 66, "o": 60, "i": 60, "n": 58, "s": 54, "r": 51, "h": 40,
    "l": 34, "d": 32, "c": 26, "u": 22, "m": 20, "f": 17, "p": 17, "g": 16, "w": 15, "y": 15,
    "b": 12, "v": 8, "k": 6, ",": 9, ".": 9,
}  # fmt: skip


def _mean_width(font: TTFont) -> float:
    """Mean width of a font's letters in running English, in em."""
    glyphs, widths = font.getBestCmap(), font["hmtx"]
    total = sum(n * widths[glyphs[ord(letter)]][0] for letter, n in _FREQUENCY.items())
    return float(total / sum(_FREQUENCY.values()) / font["head"].unitsPerEm)


def cut(data: bytes, cut: Cut) -> TTFont:
    """A font with no more than a cut asks for, under the name that it has here."""
    # As they are in the package, so that the day it runs leaves no trace.
    font = TTFont(BytesIO(data), recalcTimestamp=False)
    for table in font["cmap"].tables:
        for code, like in ALIKE.items():
            if code in cut.characters and code not in table.cmap and like in table.cmap:
                table.cmap[code] = table.cmap[like]
    options = subset.Options(
        layout_features=FEATURES, name_IDs=NAMES_KEPT, hinting=False, notdef_outline=True
    )
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=cut.characters)
    subsetter.subset(font)
    # The axes after the characters: the other way round takes minutes.
    if "fvar" in font:
        low, high = cut.weights
        weight = low if low == high else (low, high)
        font = instancer.instantiateVariableFont(font, {**cut.axes, "wght": weight})
    for record in font["name"].names:
        if record.nameID in (1, 4):
            record.string = cut.name
        elif record.nameID in (3, 6):
            record.string = f"attnbook-{cut.file}"
    font.flavor = "woff2"
    return font


def ranges(codes: Iterable[int]) -> str:
    """Code points as a style sheet writes them: ``U+20-7E, U+A0``."""
    ordered = sorted(codes)
    starts = [ordered[0], *(b for a, b in pairwise(ordered) if b > a + 1)]
    ends = [*(a for a, b in pairwise(ordered) if b > a + 1), ordered[-1]]
    return ", ".join(
        f"U+{a:X}" if a == b else f"U+{a:X}-{b:X}" for a, b in zip(starts, ends, strict=True)
    )


def _face(**rules: str) -> str:
    lines = "".join(f"  {name.replace('_', '-')}: {value};\n" for name, value in rules.items())
    return f"@font-face {{\n{lines}}}\n"


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def face(cut: Cut, font: TTFont) -> str:
    """The rule by which a page finds a cut."""
    low, high = cut.weights
    rules = {
        "font_family": f'"{cut.name}"',
        # A cut in one weight serves all: the browser thickens it where bold is asked for.
        "font_weight": f"{low}" if low == high else f"{low} {high}",
        "font_style": "italic" if cut.italic else "normal",
        "font_display": "swap",
        "src": f'url("{cut.file}.woff2") format("woff2")',
        "unicode_range": ranges(font.getBestCmap()),
    }
    if cut.family.size != 1:
        rules["size_adjust"] = _percent(cut.family.size)
    return _face(**rules)


def stand_ins(family: Family, font: TTFont) -> str:
    """Rules that give fonts of the reader's machine the widths and the lines of a family."""
    em, head = font["head"].unitsPerEm, font["hhea"]
    width = _mean_width(font) * family.size
    rules = []
    for local in STAND_INS.get(family, ()):
        size = width / local.width
        rules.append(
            _face(
                font_family=f'"{family.name} {local.names[0]}"',
                src=", ".join(f'local("{name}")' for name in local.names),
                size_adjust=_percent(size),
                # Of the size after the adjustment, hence the division.
                ascent_override=_percent(head.ascent / em * family.size / size),
                descent_override=_percent(-head.descent / em * family.size / size),
                line_gap_override="0%",
            )
        )
    return "".join(rules)


def download(family: Family, folder: Path) -> zipfile.ZipFile:
    """A family's package; pip refuses one with another checksum."""
    pinned = folder / f"{family.package}.txt"
    pinned.write_text(f"{family.package}=={family.version} --hash=sha256:{family.sha256}\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
         "--only-binary=:all:", f"--dest={folder}", f"--requirement={pinned}"],
        check=True,
    )  # fmt: skip
    (wheel,) = folder.glob(f"{family.package.replace('-', '_')}-*.whl")
    return zipfile.ZipFile(wheel)


def main() -> None:
    """Download, cut, write."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    style = ["/* Written by tools/fonts.py (make fonts). */\n"]
    total = 0
    with tempfile.TemporaryDirectory() as temporary:
        packages = {family: download(family, Path(temporary)) for family in FAMILIES}
        for family, package in packages.items():
            inside = family.package.replace("-", "_")
            licence = package.read(f"{inside}/LICENSE")
            (FOLDER / f"OFL-{family.name.split()[1].lower()}.txt").write_bytes(licence)
        for piece in CUTS:
            inside = piece.family.package.replace("-", "_")
            font = cut(packages[piece.family].read(f"{inside}/files/{piece.source}"), piece)
            path = FOLDER / f"{piece.file}.woff2"
            font.save(path)
            total += path.stat().st_size
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
            style.append(face(piece, font))
            if piece.file in ("serif", "sans"):
                style.append(stand_ins(piece.family, font))
    (FOLDER / "fonts.css").write_text("\n".join(style), encoding="utf-8")
    print(f"in all {total:,} bytes")


if __name__ == "__main__":
    main()
