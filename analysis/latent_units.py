"""What amounts in an intervention are measured in: the statistics of a study's latents, or a card of them."""

import json
from itertools import accumulate
from pathlib import Path

from analysis.records import FeatureCard
from analysis.study import Study
from saes.latent_statistics import ActiveValues, LabelUnits, LatentStatistics, statistics_from_data


def statistics_of(study: Study) -> LatentStatistics:
    """Of the latents that the study has a card of, by their histograms (linear within a bar), and of its chosen labels."""
    active = {}
    for card in study.read("cards", FeatureCard):
        total = sum(card.histogram_counts)
        if total:
            levels = [0.0, *(100 * count / total for count in accumulate(card.histogram_counts))]
            active[card.latent] = ActiveValues(tuple(zip(levels, card.histogram_edges, strict=True)))
    labels = {
        label.concept: LabelUnits(
            tuple(label.latents),
            tuple(scale * weight for scale, weight in zip(label.scales, label.weights, strict=True)),
        )
        for label in study.labels()
    }
    return LatentStatistics(str(study.folder), active, labels)


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
