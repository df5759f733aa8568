"""What all figures that move share: one text for script and styles, and tables in their place."""

from __future__ import annotations

import re

import pytest

from attnbook.figures.embedded import LiveFigure, Table, asset
from attnbook.site.figures import FIGURES

every_figure = pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)


def top_names(script: str) -> list[str]:
    """What a JavaScript file declares outside of all functions."""
    return re.findall(r"^(?:export )?(?:const|let|function\*?) (\w+)", script, re.MULTILINE)


@every_figure
def test_a_classic_script_imports_and_exports_nothing(figure: type[LiveFigure]) -> None:
    assert re.findall(r"^\s*(?:import|export)\b.*", figure.script(), re.MULTILINE) == []
    assert f'bringToLife("{figure.name}", embed);' in figure.script()


@every_figure
def test_no_name_is_declared_twice_in_one_script(figure: type[LiveFigure]) -> None:
    """The shared script and the figure's own become one, in which a browser refuses that."""
    names = top_names(figure.module())
    assert "bringToLife" in names
    assert sorted(names) == sorted(set(names))


@every_figure
def test_what_a_script_imports_is_there(figure: type[LiveFigure]) -> None:
    imported = re.search(r"import \{([^}]*)\} from", asset(f"{figure.name}.js"))
    assert imported is not None
    exported = re.findall(r"^export (?:const|function) (\w+)", asset("shared.js"), re.MULTILINE)
    assert {name.strip() for name in imported[1].split(",")} - {""} <= set(exported)


@every_figure
def test_later_styles_overrule_those_of_the_card(figure: type[LiveFigure]) -> None:
    assert figure.sheets[0] == "card"
    assert figure.sheets[-1] == figure.name
    assert figure.styles() == "".join(asset(f"{sheet}.css") for sheet in figure.sheets)


class Small(LiveFigure):
    name = "small"

    def data(self) -> list[float]:
        return [1.5, float("inf")]

    def tables(self) -> list[Table]:
        return [Table(["a", "<b>"], [["x & y", "1"]], "Title <1>", "f(x)")]


def test_a_table_is_escaped_and_stands_below_its_title() -> None:
    (table,) = Small().tables()
    assert table.html() == (
        "<p><strong>Title &lt;1&gt;</strong>: <code>f(x)</code></p>"
        '<table><thead><tr><th scope="col">a</th><th scope="col">&lt;b&gt;</th></tr></thead>'
        '<tbody><tr><th scope="row">x &amp; y</th><td>1</td></tr></tbody></table>'
    )


def test_a_number_that_json_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Small().element()
