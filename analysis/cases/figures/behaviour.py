"""Any behaviour under clamps: each score's change against the dose, concept by concept, beside the controls."""

from collections.abc import Sequence
from typing import Any

from analysis.cases.figures.canvas import Theme, sheet
from analysis.cases.figures.curves import Point, apart, controls, curve, dose_axis, room_at
from analysis.records import CaseEffect
from analysis.study import Study

ABOUT = (
    "Change of each score against the dose of the clamp, against no clamp at the same prompt with the same luck; 95 % bootstrap "
    "intervals over prompts. Grey: controls that were pushed as far, random latents that fire as often and random directions, each "
    "a dot, the band their 5th to 95th percentile. Fluency: what the text costs the unclamped model, nats a token."
)
MOST = 7
"""Concepts side by side; of more, the first ones in the case's order."""


def paint(study: Study, theme: Theme, case: str) -> Any:
    effects = [one for one in study.read("case_effects", CaseEffect) if one.case == case]
    scorers = list(dict.fromkeys(one.scorer for one in effects))
    everyone = list(dict.fromkeys(one.concept for one in effects))
    concepts = everyone[:MOST]
    figure, axes = sheet(0.75 + 1.3 * len(scorers), len(scorers), len(concepts), sharex=True, sharey="row")
    for row, scorer in enumerate(scorers):
        for column, concept in enumerate(concepts):
            mine = [one for one in effects if (one.scorer, one.concept) == (scorer, concept)]
            _panel(axes[row, column], theme, mine)
            if not row:
                axes[row, column].set_title(concept)
        base = next(one.base for one in effects if one.scorer == scorer)
        axes[row, 0].set_ylabel(f"{scorer.replace('_', ' ')}\n(unclamped {base:.2g})", fontsize=7.5)
    handles, words = axes[0, 0].get_legend_handles_labels()
    counts = {one.n_prompts for one in effects}
    few, many = min(counts), max(counts)
    figure.legend(
        handles, words, loc="outside lower center", ncols=3,
        title=f"dose of the clamp (dose units); n = {few if few == many else f'{few} to {many}'} prompts, "
        f"{max(one.n_controls for one in effects)} controls a push"
        + (f"; the first {MOST} of {len(everyone)} concepts" if len(everyone) > MOST else ""),
        title_fontsize=7.5,
    )  # fmt: skip
    return figure


def _panel(panel: Any, theme: Theme, effects: Sequence[CaseEffect]) -> None:
    doses = sorted({one.dose for one in effects})
    step = apart(doses)
    controls(
        panel,
        theme,
        [(one.dose, one.effect) for one in effects if one.arm.startswith("random")],
        room_at(doses),
        "controls",
    )
    for arm, words, colour, marker, line, shift in (
        ("label", "label", theme.own, "o", "-", -0.05), ("diff_means", "difference of means", theme.warm, "s", ":", 0.05),
    ):  # fmt: skip
        mine = [Point(one.dose, one.effect, one.low, one.high) for one in effects if one.arm == arm]
        if mine:
            curve(panel, mine, colour, marker, words, shift * step, line, Point(0.0, 0.0, 0.0, 0.0))
    dose_axis(panel, theme, doses)
    panel.axhline(0, color=theme.soft, linewidth=0.8)
