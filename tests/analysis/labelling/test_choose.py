"""Planted truth: latents that carry a concept are found, decoys and chance are not."""

import numpy as np
import pytest

from analysis.firings import Firings
from analysis.labelling.choose import Pools, Rules, choose_labels
from analysis.labelling.lexical import lexical_share, naming_tokens
from analysis.labelling.split import TextTable, topic_folds

CONCEPTS = {"afraid": ["afraid", "anxious"], "anxious": ["afraid", "anxious"], "happy": ["happy"], "proud": ["proud"]}
COUNTS = {"finding": 20, "checking": 15, "implicit": 10, "contrast": 6}
D_SAE, TOKENS = 400, 12


def table() -> TextTable:
    rows = [
        (name, "fear" if name in CONCEPTS["afraid"] else name, split)
        for name in CONCEPTS
        for split, n in COUNTS.items()
        for _ in range(n)
    ]
    rows += [("neutral", "neutral", split) for split in ("finding", "checking") for _ in range(24)]
    concept, family, split = (np.array(column) for column in zip(*rows, strict=True))
    return TextTable(
        [f"text {place}" for place in range(len(rows))],
        concept,
        family,
        split,
        np.array([f"topic {place % 37}" for place in range(len(rows))]),
    )


def firings(
    texts: TextTable, rng: np.random.Generator, planted: dict[str, list[int]], decoys: dict[str, int]
) -> Firings:
    """Noise everywhere; planted latents fire at their concept's texts; a decoy does so on finding texts only."""
    cells = []
    for text in range(len(texts.texts)):
        for latent in np.flatnonzero(rng.random(D_SAE) < 0.08):
            cells.append((text, rng.integers(TOKENS), latent, rng.exponential()))
        name = str(texts.concept[text])
        for latent in planted.get(name, []):
            if texts.split[text] != "contrast" and rng.random() < (0.9 if len(planted[name]) == 1 else 0.7):
                cells.append((text, rng.integers(TOKENS), latent, 4 + rng.exponential()))
        if name in decoys and texts.split[text] == "finding":
            cells.append((text, rng.integers(TOKENS), decoys[name], 4 + rng.exponential()))
    columns = list(zip(*cells, strict=True))
    return Firings(
        *(np.array(column) for column in columns[:3]), np.array(columns[3]), np.full(len(texts.texts), TOKENS), D_SAE
    )


@pytest.mark.parametrize("seed", range(20))
def test_planted_latents_are_held_and_decoys_rejected(seed):
    rng = np.random.default_rng(seed)
    texts = table()
    seen = firings(texts, rng, planted={"afraid": [17], "happy": [101, 102, 103]}, decoys={"proud": 55})
    labels = {label.concept: label for label in choose_labels(Pools(seen), texts, CONCEPTS, rng) if label.chosen}
    assert labels["afraid"].status == "held"
    assert labels["afraid"].latents[0] == 17
    assert labels["happy"].status == "held"
    assert labels["happy"].latents[0] in (101, 102, 103)
    assert labels["proud"].latents[0] == 55  # the search is taken in by the decoy
    assert labels["proud"].auroc_finding > 0.95
    assert labels["proud"].status == "rejected"  # the held-out texts are not
    assert labels["anxious"].status == "rejected"


def test_a_recipe_beats_each_of_its_latents_where_a_concept_is_split_up():
    better = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        texts = table()
        seen = firings(texts, rng, planted={"happy": [101, 102, 103]}, decoys={})
        single, recipe = choose_labels(Pools(seen), texts, {"happy": ["happy"]}, rng)
        better.append(recipe.auroc_checking - single.auroc_checking)
    assert np.mean(better) > 0.02


class OnlyOneWrites:
    """The effect of a model in which one latent raises the concept's words."""

    def __init__(self, writer):
        self.writer = writer

    def __call__(self, concept, latents, scales):
        return float(latents == [self.writer])

    def estimates(self, concept, latents, scales):
        return np.array([float(latent == self.writer) for latent in latents])


def test_output_effect_decides_between_latents_that_detect_alike():
    rng = np.random.default_rng(0)
    texts = table()
    seen = firings(texts, rng, planted={"afraid": [17]}, decoys={})
    twin = Firings(*(np.concatenate([part, part[seen.latent == 17] if name != "latent" else np.full((seen.latent == 17).sum(), 18)])
                     for name, part in (("text", seen.text), ("token", seen.token), ("latent", seen.latent), ("value", seen.value))),
                   seen.n_tokens, D_SAE)  # fmt: skip
    for writer in (17, 18):
        labels = choose_labels(
            Pools(twin),
            texts,
            {"afraid": ["afraid"]},
            rng,
            Rules(recipe_size=1),
            OnlyOneWrites(writer),
        )
        assert labels[0].latents == [writer]
        assert labels[0].effect_finding == 1.0


def test_chance_holds_nothing():
    texts = table()
    for seed in range(5):
        rng = np.random.default_rng(100 + seed)
        labels = choose_labels(Pools(firings(texts, rng, {}, {})), texts, CONCEPTS, rng)
        assert not [label for label in labels if label.status == "held"]
        for label in labels[::2]:  # the null is that of single latents
            assert label.null_finding == pytest.approx(label.auroc_finding, abs=0.15)


def test_topics_stay_within_a_fold():
    topics = np.array([f"t{n % 9}" for n in range(60)])
    fold = topic_folds(topics, 4, np.random.default_rng(0))
    assert all(len(set(fold[topics == topic])) == 1 for topic in set(topics))
    assert set(fold) == {0, 1, 2, 3}


def test_lexical_share_counts_the_word_itself():
    strings = ["<s>", "She", " was", " afra", "id", " of", " dogs", "."]
    np.testing.assert_array_equal(naming_tokens(strings, ["afraid"]), [0, 0, 0, 1, 1, 0, 0, 0])
    texts = table()
    label = choose_labels(
        Pools(firings(texts, np.random.default_rng(0), {"afraid": [17]}, {})),
        texts,
        {"afraid": ["afraid"]},
        np.random.default_rng(0),
        Rules(recipe_size=1),
    )[0]
    one = Firings(
        np.zeros(4, int),
        np.array([3, 4, 6, 6]),
        np.array([17, 17, 17, 2]),
        np.array([1.0, 1.0, 2.0, 9.0]),
        np.array([7]),
        D_SAE,
    )
    assert lexical_share(one, label, np.array([0]), [naming_tokens(strings, ["afraid"])]) == pytest.approx(0.5)
