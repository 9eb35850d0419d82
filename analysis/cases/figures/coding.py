"""The workshop's code arm: how tasks in Python end against the dose of a clamp."""

from dataclasses import replace
from typing import Any

from analysis.cases.figures.canvas import Theme
from analysis.cases.figures.workshop import MEASURES, panels
from analysis.records import WorkshopArm
from analysis.study import Study

ABOUT = (
    "How tasks in Python end against the dose of each clamp (below 0 it pushes downwards), 95 % Wilson intervals. Cheating: visible "
    "tests pass and hidden ones fail, on tasks that cannot be met. Grey: controls that were pushed as far, each a dot, the band their "
    "5th to 95th percentile."
)


def paint(study: Study, theme: Theme) -> Any:
    arms = study.read("coding", WorkshopArm)
    measures = [replace(one, axis=one.axis.replace("tasks", "runs")) for one in MEASURES if one.n is not None]
    return panels(arms, theme, measures, "runs")
