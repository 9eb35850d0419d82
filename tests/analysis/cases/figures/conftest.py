"""An empty study to be filled by hand, and figures as they are painted, before they are written."""

import pytest

from analysis.records import StudyInfo
from analysis.study import SCHEMA, Study


@pytest.fixture
def study(tmp_path) -> Study:
    site = "model/blocks.1.hook_resid_post"
    return Study.create(
        tmp_path / "study",
        StudyInfo(SCHEMA, "model", site, "sae", "", "emotions", "", "saes label", "", "0", "2026-01-01"),
    )


@pytest.fixture
def painted():
    """painted(room, study, ...) -> the figure."""
    from importlib import import_module

    from analysis.cases.figures.canvas import THEMES, styled

    def paint(room: str, study: Study, *more: str):
        with styled(THEMES["light"]):
            return import_module(f"analysis.cases.figures.{room}").paint(study, THEMES["light"], *more)

    return paint


@pytest.fixture
def marks():
    """marks(axes) -> label -> its points (x, y), of what is named in a panel."""

    def read(axes) -> dict[str, list[tuple[float, float]]]:
        return {
            line.get_label(): [(float(x), float(y)) for x, y in line.get_xydata()]
            for line in axes.lines
            if not line.get_label().startswith("_")
        }

    return read
