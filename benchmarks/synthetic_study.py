"""A study of many features, made up: cards and excerpts by the million, written column by column, beside the bundled labels.

    python benchmarks/synthetic_study.py FOLDER [--features N] [--excerpts N] [--tokens N]

What the browser is measured on (benchmarks/browser.py). Only the sizes are like a real study's: tokens and firings are drawn
at random. Every table but cards and excerpts is the bundled study's own.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.labelling.firing_words import write_firing_words
from analysis.records import DRAWN, Excerpt, Explanation, FeatureCard
from analysis.study import GROUP, Study, arrow_schema
from commands.places import find_study

FEATURES, EXCERPTS, TOKENS = 131_072, 20, 16
WORDS = 30_000
"""Different tokens; how often each stands follows Zipf's law."""
KEPT = 2**18
"""Excerpts in a batch that is made together."""


def synthetic_study(
    folder: str | Path, features: int = FEATURES, excerpts: int = EXCERPTS, tokens: int = TOKENS, seed: int = 0
) -> Path:
    """Makes the study in a new folder and returns it."""
    folder, bundled = Path(folder), Path(find_study("storyteller-sae"))
    shutil.copytree(bundled, folder)
    rng = np.random.default_rng(seed)
    words = pa.array([f" {word}" for word in _made_up(rng)])
    chance = 1.0 / np.arange(1, WORDS + 1)
    known = np.cumsum(chance / chance.sum())

    def drawn(count: int) -> pa.Array:
        return words.take(pa.array(np.searchsorted(known, rng.random(count)).clip(max=WORDS - 1)))

    concepts = pq.read_table(bundled / "labels.parquet", columns=["concept"])["concept"].unique().to_pylist()
    own = pq.read_table(bundled / "cards.parquet").to_pylist()
    with pq.ParquetWriter(folder / "cards.parquet", arrow_schema(FeatureCard)) as writer:
        for at in range(0, features, GROUP):
            writer.write_table(_cards(np.arange(at, min(features, at + GROUP)), own, features, rng, drawn))
    with pq.ParquetWriter(folder / "excerpts.parquet", arrow_schema(Excerpt)) as writer:
        step = max(1, KEPT // excerpts)
        for at in range(0, features, step):
            latents = np.repeat(np.arange(at, min(features, at + step)), excerpts)
            writer.write_table(_excerpts(latents, concepts, excerpts, tokens, rng, drawn), row_group_size=GROUP)
    write_firing_words(Study.open(folder))
    _explain(folder, rng, words, features)
    return folder


def _made_up(rng: np.random.Generator) -> list[str]:
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    lengths = rng.integers(2, 10, WORDS)
    return ["".join(rng.choice(letters, length)) for length in lengths]


def _lists(values: pa.Array, each: int) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, each, dtype=np.int32)), values)


def _cards(latents: np.ndarray, own: list[dict], features: int, rng: np.random.Generator, drawn) -> pa.Table:
    n = len(latents)
    peak = rng.gamma(4.0, 2.0, n)
    counts = rng.poisson(2000 * 0.7 ** np.arange(20), (n, 20))
    made = pa.table(
        {
            "latent": pa.array(latents),
            "concepts": _empty(n),
            "density": rng.beta(0.5, 60, n),
            "peak": peak,
            "mean_active": 0.3 * peak,
            "histogram_edges": _lists(pa.array((peak[:, None] * np.linspace(0, 1, 21)).ravel()), 21),
            "histogram_counts": _lists(pa.array(counts.ravel().astype(np.int64)), 20),
            "promoted": _lists(drawn(10 * n), 10),
            "suppressed": _lists(drawn(10 * n), 10),
            "nearest": _lists(pa.array(rng.integers(0, features, 5 * n)), 5),
            "nearest_cosine": _lists(pa.array(np.sort(rng.random((n, 5)), axis=1)[:, ::-1].ravel()), 5),
            "valence": pa.nulls(n, pa.float64()),
            "arousal": pa.nulls(n, pa.float64()),
            "valence_r": pa.nulls(n, pa.float64()),
            "arousal_r": pa.nulls(n, pa.float64()),
        }
    ).cast(arrow_schema(FeatureCard))
    labelled = {card["latent"]: card for card in own if latents[0] <= card["latent"] <= latents[-1]}
    if not labelled:
        return made
    return pa.Table.from_pylist([labelled.get(row["latent"], row) for row in made.to_pylist()], schema=made.schema)


def _empty(n: int) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.zeros(n + 1, dtype=np.int32)), pa.array([], pa.string()))


def _excerpts(
    latents: np.ndarray, concepts: list[str], excerpts: int, tokens: int, rng: np.random.Generator, drawn
) -> pa.Table:
    n = len(latents)
    sorts = np.repeat(np.arange(len(DRAWN)), [8 * excerpts // 20, 6 * excerpts // 20, excerpts])[:excerpts]
    fires = rng.random((n, tokens)) < np.array([0.3, 0.15, 0.02])[np.tile(sorts, n // excerpts)][:, None]
    values = np.where(fires, np.round(rng.gamma(3.0, 1.0, (n, tokens)), 4), 0.0)
    return pa.table(
        {
            "latent": pa.array(latents),
            "text": pa.array(rng.integers(0, 20_000, n)),
            "concept": pa.array(concepts).take(pa.array(rng.integers(0, len(concepts), n))),
            "split": pa.array(["finding", "checking"]).take(pa.array(rng.integers(0, 2, n))),
            "tokens": _lists(drawn(n * tokens), tokens),
            "values": _lists(pa.array(values.ravel()), tokens),
            "peak": values.max(axis=1),
            "drawn": pa.array(DRAWN).take(pa.array(np.tile(sorts, n // excerpts))),
        }
    ).cast(arrow_schema(Excerpt))


def _explain(folder: Path, rng: np.random.Generator, words: pa.Array, features: int) -> None:
    """A sentence for one latent in sixteen."""
    schema = arrow_schema(Explanation)
    latents = np.sort(rng.permutation(features)[: features // 16])
    texts = ["fires at" + "".join(words[int(at)].as_py() for at in rng.integers(0, WORDS, 6)) for _ in latents]
    given = {"latent": pa.array(latents), "text": pa.array(texts)}
    plain = {pa.string(): "made up", pa.int64(): 1, pa.float64(): 0.7}
    columns = [given.get(field.name, pa.array([plain[field.type]] * len(latents), field.type)) for field in schema]
    pq.write_table(pa.table(columns, schema=schema), folder / "explanations.parquet", row_group_size=GROUP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--features", type=int, default=FEATURES)
    parser.add_argument("--excerpts", type=int, default=EXCERPTS)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    arguments = parser.parse_args()
    made = synthetic_study(arguments.folder, arguments.features, arguments.excerpts, arguments.tokens)
    print(json.dumps({"study": str(made), "bytes": sum(one.stat().st_size for one in made.iterdir())}))


if __name__ == "__main__":
    main()
