"""What speaks for and against one concept's label: each check with its interval, rivals, controls, clamps and texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.browser.queries.shown_table import ShownTable, shown_table, with_rows
from analysis.browser.queries.store import Store
from analysis.records import CLAIMS, ClampResult, Label, Trial, Writer
from analysis.report import card, svg, tables
from analysis.report.content import DoseCurve, dose_curve, shown_texts
from analysis.report.reasons import STATUS_ABOUT, why, why_clamped

TEXTS = 4
"""Prompts shown under the clamp."""


@dataclass(frozen=True)
class Evidence:
    """One chosen label and all that was measured about it."""

    concept: str
    label: Label
    about: str
    """What its status means."""
    why: str
    """The rule and the numbers behind its status."""
    detection: list[ShownTable]
    """Its checks, its rivals on the same texts."""
    confounds: ShownTable | None
    clamping: list[ShownTable]
    writing: list[ShownTable]
    """The second claim, that a few latents write the concept; empty where the study makes none."""
    writer: Writer | None
    why_written: str
    """The rule and the numbers behind the second claim's status."""
    doses: DoseCurve
    """Both claims against the dose, with their controls' span and the difference of means at the label's fluency cost."""
    texts: list[Trial]
    """The first prompts in order, not the best ones, at the dose that is reported."""
    texts_written: list[Trial]
    """The same along the latents that write it."""

    @property
    def curve(self) -> Markup:
        """The dose curve with its controls, drawn."""
        return Markup(svg.dose_plot(self.doses) if self.doses.points else "")


def evidence(store: Store, label: Label) -> Evidence:
    """All that the study holds about a chosen label."""
    concept = label.concept
    clamps = clamps_of(store, concept)
    points = store.records("curves", "concept = ?", [concept])
    moved = store.records("effects", "arm = 'label' AND arm_id = ?", [concept])
    writers = store.records("writers", "concept = ?", [concept])
    verdict = next((one for one in clamps if one.arm == "written"), None)
    needed = store.records("necessity", "concept = ?", [concept])
    panel = store.records("confounds", "concept = ?", [concept])
    rivals = card.beside(
        label,
        store.records("baselines", "concept = ?", [concept]),
        store.records("probes", "concept = ?", [concept]),
    )
    own = {
        "transfer": store.records("transfer", "concept = ?", [concept]),
        "agreements": store.records("agreements", "concept = ?", [concept]),
        "ablations": store.records("ablations", "name = ? AND kind IN ('each', 'only')", [concept]),
    }
    curve = dose_curve(concept, points, clamps)
    texts: list[list[Trial]] = []
    for claim, chosen in zip(CLAIMS, (curve.chosen, curve.written), strict=True):
        found = []
        if chosen:
            found = store.records("trials", "concept = ? AND arm = ? AND dose = ?", [concept, claim, chosen.dose])
        texts.append(shown_texts(concept, claim, found, clamps, TEXTS))
    clamped = card.clamping(clamps, points, moved, needed)
    further = tables.beside(lambda name: own.get(name, []))
    return Evidence(
        concept=concept,
        label=label,
        about=STATUS_ABOUT.get(label.status, ""),
        why=why(label, clamps, store.info.settings.get("rules") or {}),
        detection=with_rows([card.detection(label), rivals]),
        confounds=shown_table(card.confounds(panel)) if panel else None,
        clamping=with_rows([*clamped, *further.values()]),
        writing=with_rows(card.writing(clamps, writers, points)),
        writer=writers[0] if writers else None,
        why_written=why_clamped(verdict) if verdict else "",
        doses=curve,
        texts=texts[0],
        texts_written=texts[1],
    )


def clamps_of(store: Store, concept: str) -> list[ClampResult]:
    return store.records("clamps", "concept = ?", [concept])


def not_chosen(store: Store, labels: Sequence[Label]) -> ShownTable | None:
    """Labels that were put forward and not taken, with the reason."""
    others = [one for one in labels if not one.chosen]
    rules = store.info.settings.get("rules") or {}
    return shown_table(tables.not_chosen([(one, why(one, (), rules)) for one in others])) if others else None
