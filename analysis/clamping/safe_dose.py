"""What an edit of a label or a latent comes to, and the doses at which its text was measured to stay fluent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.records import CLAIMS, ClampResult, Label
from analysis.study import Study
from saes.latent_statistics import LatentStatistics
from saes.written_intervention import Amount, WrittenEdit

HOW = {
    "set": "to", "add": "by adding", "scale": "times", "min": "to at least", "max": "to at most", "ablate": "ablated",
}  # fmt: skip
"""What each mode does to a latent, in words before its value."""


@dataclass(frozen=True)
class Clamp:
    """What one edit came to."""

    name: str
    latents: list[int]
    values: list[float]
    """In activation units, one a latent; what a scale multiplies by."""
    unit: str
    asked: float
    mode: str = "set"
    evidence: str = ""
    """What the label's status is, and on how much."""
    dose: float | None = None
    """The strongest that a latent of a label is pushed, in dose units, whatever the unit it was asked in; of a scale, what
    becomes of a firing of one dose unit."""

    def __str__(self) -> str:
        how = HOW[self.mode]
        if self.mode == "ablate":
            parts = f"{', '.join(map(str, self.latents))} {how}"
        else:
            pairs = zip(self.latents, self.values, strict=True)
            parts = ", ".join(f"{latent} {how} {value:.4g}" for latent, value in pairs)
        if self.unit == "dose":
            push = f"{self.name} {'=' if self.mode == 'set' else how} {self.asked:+g} dose units"
            return f"{push} (latent {parts} in activation units); {self.evidence}"
        return f"latent {parts} in activation units"


def written_edit(name: str, value: float) -> WrittenEdit:
    """What NAME_OR_LATENT=VALUE means: a label set to dose units, or a latent to an activation."""
    if name.isdecimal():
        return WrittenEdit("set", latents=(int(name),), value=Amount(value, "raw"))
    return WrittenEdit("set", label=name, value=Amount(value, "dose"))


def clamp_of(edit: WrittenEdit, study: Study | None, statistics: LatentStatistics | None) -> Clamp:
    """What an edit comes to, to be shown."""
    # a study says what it has; a card has no evidence
    claim = study.claim(edit.label) if edit.label and study else None
    found = edit.resolved(statistics)
    name = edit.label or "+".join(map(str, edit.latents))
    unit = "activation" if edit.value is None or edit.value.unit == "raw" else edit.value.unit
    evidence = "known by a card of statistics alone"
    if claim:
        what = "label" if isinstance(claim, Label) else "latents that write it:"
        evidence = f"{what} {claim.status}, checking AUROC {claim.auroc_checking:.2f} (n = {claim.n_positive})"
    asked, dose = edit.value.number if edit.value else 0.0, None
    if edit.mode == "scale":
        dose = asked
    elif edit.label and statistics and edit.mode != "ablate":
        units = statistics.label(edit.label).units
        dose = max(
            (value / unit for value, unit in zip(found.values, units, strict=True) if unit), key=abs, default=None
        )
    return Clamp(name, list(found.latents), list(found.values), unit, asked, edit.mode, evidence, dose)


def safe_ranges(study: Study) -> dict[str, tuple[float, float]]:
    """By a claim's name the lowest and highest dose at which its text was measured to stay fluent, as far as tried."""
    return {
        one.name: (one.safe_low, one.safe_high)
        for one in study.read("clamps", ClampResult)
        if one.arm in CLAIMS and one.safe_low is not None and one.safe_high is not None
    }


def refuse_unsafe(clamps: Sequence[Clamp], measured: Mapping[str, tuple[float, float]], lift: str) -> None:
    """ValueError for a dose beyond its concept's measured range; ``lift`` says what allows it all the same."""
    for clamp in clamps:
        if clamp.dose is None or clamp.name not in measured:
            continue
        low, high = measured[clamp.name]
        below = clamp.dose < low and clamp.mode != "min"  # at least that little, or at most that much, pushes nowhere
        above = clamp.dose > high and clamp.mode != "max"
        if below or above:
            raise ValueError(
                f"{clamp.name} {HOW[clamp.mode]} {clamp.dose:+g} is outside the safe range of {low:+.2g} to {high:+.2g} dose units in which the text "
                f"was measured to stay fluent: choose a dose within it, or lift the limit with {lift}"
            )
