"""The case studies in a report: which a study holds, with their tables, and what their figures show."""

from collections.abc import Callable
from dataclasses import dataclass

from analysis.cases.figures.drawing import FIGURES, about, drawable
from analysis.records import (
    AttemptSlope,
    AttemptTrace,
    CaseEffect,
    DoseTest,
    Foretelling,
    LevelShift,
    PreferenceShift,
    PreferenceTest,
    SceneRead,
    SceneTest,
    WorkshopArm,
    WorkshopControls,
)
from analysis.report import tables
from analysis.report.table import Table
from analysis.study import Study


@dataclass(frozen=True)
class CaseShown:
    name: str
    title: str
    about: str
    """What is seen on its figure."""
    tables: list[Table]


TABLES: dict[str, Callable[[Study], list[Table]]] = {
    "workshop": lambda study: [
        tables.workshop(study.read("workshop", WorkshopArm)),
        tables.workshop_controls(study.read("workshop_controls", WorkshopControls)),
    ],
    "coding": lambda study: [tables.workshop(study.read("coding", WorkshopArm))],
    "foretell": lambda study: [
        tables.attempt_traces(study.read("attempt_traces", AttemptTrace)),
        tables.attempt_slopes(study.read("attempt_slopes", AttemptSlope)),
        tables.foretellings(study.read("foretellings", Foretelling)),
    ],
    "dose": lambda study: [tables.dose_tests(study.read("dose_tests", DoseTest))],
    "scenes": lambda study: [
        tables.scenes(study.read("scenes", SceneRead)),
        tables.scene_tests(study.read("scene_tests", SceneTest)),
    ],
    "preference": lambda study: [
        tables.preference_tests(study.read("preference_tests", PreferenceTest)),
        tables.preference_shifts(study.read("preference_shifts", PreferenceShift)),
    ],
    "compare": lambda study: [tables.level_shifts(study.read("level_shifts", LevelShift))],
}


def case_tables(study: Study, case: str) -> list[Table]:
    """Those of the case that have rows; of a case of one's own, its effects."""
    if case in FIGURES:
        found = TABLES[case](study)
    else:
        found = [tables.case_effects([one for one in study.read("case_effects", CaseEffect) if one.case == case])]
    return [table for table in found if table.rows]


def cases(study: Study) -> list[CaseShown]:
    return [CaseShown(name, title, about(name), case_tables(study, name)) for name, title in drawable(study).items()]
