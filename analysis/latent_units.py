"""What amounts in an intervention are measured in: the statistics of a study's latents, or a card of them."""

import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from analysis.records import FeatureCard, Label, Writer
from analysis.study import Study
from saes.latent_statistics import ActiveValues, LabelUnits, LatentStatistics, statistics_from_data


def statistics_of(study: Study) -> LatentStatistics:
    """Of the latents that the study has a card of, by their histograms (linear within a bar), of its chosen labels and of the
    latents that write concepts (`afraid/written`)."""
    cards = study.read("cards", FeatureCard)
    active = {
        card.latent: active_values(card.histogram_counts, card.histogram_edges)
        for card in cards
        if any(card.histogram_counts)
    }
    claims: list[Label | Writer] = [*study.labels(), *study.read("writers", Writer)]
    return LatentStatistics(
        str(study.folder), active, {one.name: units_of(one.latents, one.scales, one.weights) for one in claims}
    )


def units_of(latents: Sequence[int], scales: Sequence[float], weights: Sequence[float]) -> LabelUnits:
    """What the name of a claim with these latents stands for in a clamp."""
    return LabelUnits(tuple(latents), tuple(scale * weight for scale, weight in zip(scales, weights, strict=True)))


def active_values(counts: Sequence[int], edges: Sequence[float]) -> ActiveValues:
    """What a histogram with one or more firings says, linear within a bar."""
    total = sum(counts)
    levels = [0.0, *(100 * count / total for count in accumulate(counts))]
    return ActiveValues(tuple(zip(levels, edges, strict=True)))


def statistics_at(path: str | Path) -> LatentStatistics:
    """Of a study's folder, of a checkpoint's with a study inside, or in a card as JSON."""
    path = Path(path)
    if path.suffix == ".json" and path.is_file():
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
        return statistics_from_data(data, str(path))
    inside = path / "study"
    return statistics_of(Study.open(inside if (inside / "study.json").exists() else path))
