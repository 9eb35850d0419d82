"""Two models read through one SAE: which labels' levels differ on the same prompts."""

from typing import Any

from analysis.cases.figures.canvas import Theme, storeys
from analysis.cases.figures.forest import Line, at_either_end, forest, height_of
from analysis.records import LevelShift
from analysis.study import Study

ABOUT = (
    "Level in the other model less the level in the study's model, paired by prompt, both read through the same SAE; 95 % bootstrap "
    "intervals over prompts. Filled: q \u2264 0.05 and at most 5 % of random groups of latents shift as much; grey: 5th to 95th "
    "percentile of random groups that fire as often."
)


def paint(study: Study, theme: Theme) -> Any:
    shifts = study.read("level_shifts", LevelShift)
    lines, which = at_either_end([
        Line(one.concept, one.shift, one.low, one.high, one.control_low, one.control_high, one.q <= 0.05 and not one.control_share > 0.05,
             f"{one.mean:.2f} \u2192 {one.other_mean:.2f}")
        for one in shifts
    ])  # fmt: skip
    figure, (panel,) = storeys(max(1.6, 0.9 + height_of(len(lines))), (1,), heights=(1,))
    forest(panel, theme, lines, notes="level")
    one = shifts[0]
    panel.set_title(f"{_short(one.other)} less {_short(one.model)}" + (f" ({which})" if which else ""))
    panel.set_xlabel(
        f"shift of the mean level (dose units; n = {one.n_prompts} prompts, {one.n_controls} random groups)"
    )
    return figure


def _short(model: str) -> str:
    """The end of a path, which tells it from others."""
    return "/".join(model.rstrip("/").split("/")[-2:])
