"""Which figure each case has, and how it is written: `draw` for pages, `save` for files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from analysis.cases.figures.canvas import THEMES, as_png, as_svg, styled
from analysis.records import CaseEffect
from analysis.study import Study, write_whole


@dataclass(frozen=True)
class CaseFigure:
    title: str
    tables: tuple[str, ...]
    """It is drawn from these; there is nothing to draw where all of them are empty."""
    room: str
    """The module here whose `paint(study, theme)` draws it and whose ABOUT says what is seen."""
    command: str


FIGURES = {
    "workshop": CaseFigure("Workshop: endings against the dose", ("workshop",), "workshop", "saes case workshop"),
    "coding": CaseFigure(
        "Workshop in code: endings against the dose", ("coding",), "coding", "saes case workshop --arm code"
    ),
    "foretell": CaseFigure(
        "Levels before the ending, and whether they foretell it",
        ("attempt_traces", "foretellings"),
        "attempts",
        "saes case foretell",
    ),
    "dose": CaseFigure("Doses: the danger, or the number?", ("dose_tests",), "doses", "saes case dose"),
    "scenes": CaseFigure("Scenes beside their twins", ("scenes",), "scenes", "saes case scenes"),
    "preference": CaseFigure(
        "Preference, and clamps on what is mentioned",
        ("preference_tests", "activity_scores"),
        "preference",
        "saes case preference",
    ),
    "compare": CaseFigure("Levels in two models", ("level_shifts",), "compare", "saes case compare MODEL"),
}
"""By the case's name; a case of one's own has the figure of `behaviour`."""
OWN = CaseFigure("What clamps change", ("case_effects",), "behaviour", "saes case run FILE.yaml")


def drawable(study: Study) -> dict[str, str]:
    """case -> title, of the cases that the study has rows of."""
    found = {
        case: figure.title for case, figure in FIGURES.items() if any(study.read(table) for table in figure.tables)
    }
    own = dict.fromkeys(one.case for one in study.read("case_effects", CaseEffect) if one.case not in FIGURES)
    return {**found, **{case: f"{case}: {OWN.title.lower()}" for case in own}}


def about(case: str) -> str:
    """What is seen on the case's figure, as its caption."""
    return import_module(f"analysis.cases.figures.{FIGURES.get(case, OWN).room}").ABOUT


def draw(study: Study, case: str, theme: str = "light") -> bytes:
    """The case's figure as SVG without a background, in the theme's colours; the same rows give the same bytes.

    Raises ValueError, in one line, where the study holds nothing of the case, or where the theme is unknown.
    """
    with _painted(study, case, theme) as (figure, title):
        return as_svg(figure, title, f"{case}-{theme}".replace(" ", "-"))


def inline(study: Study, case: str) -> str:
    """The figure for a page that has the report's CSS variables: it follows the page from light to dark."""
    light = THEMES["light"]
    text = draw(study, case).decode()
    for name, colour in {
        "ink": light.ink, "soft": light.soft, "grid": light.grid, "band": light.band, "card": light.paper,
        **dict(zip(("own", "warm", "good", "plum", "gold"), light.cycle, strict=False)),
    }.items():  # fmt: skip
        text = text.replace(f'"{colour}"', f'"var(--{name})"')
    return text


def save(study: Study, case: str) -> tuple[Path, Path]:
    """Writes `figures/CASE.svg` and `figures/CASE.png` into the study, each whole or not at all; their paths."""
    folder = study.folder / "figures"
    paths = folder / f"{case}.svg", folder / f"{case}.png"
    with _painted(study, case, "light") as (figure, title):
        contents = as_svg(figure, title, case.replace(" ", "-")), as_png(figure, THEMES["light"].paper)
    folder.mkdir(exist_ok=True)
    for path, content in zip(paths, contents, strict=True):
        write_whole(path, content)
    return paths


@contextmanager
def _painted(study: Study, case: str, theme: str) -> Iterator[tuple[Any, str]]:
    if theme not in THEMES:
        raise ValueError(f"a figure's theme is one of {', '.join(THEMES)}, got {theme!r}")
    shown = drawable(study)
    if case not in shown:
        kind = FIGURES.get(case, OWN)
        raise ValueError(f"{study.folder} holds nothing of the case {case!r} to draw: run `{kind.command}`")
    kind = FIGURES.get(case, OWN)
    room = import_module(f"analysis.cases.figures.{kind.room}")
    with styled(THEMES[theme]):
        yield room.paint(study, THEMES[theme], *(() if case in FIGURES else (case,))), shown[case]
