"""Says what a concept set holds, and how far words alone give its texts away.

A bag of words is trained on finding texts and scored on the other splits, and on checking texts whose emotion words are
masked; a label is worth what it has beyond that. Sealed texts stay closed.
"""

import argparse
from collections import Counter
from dataclasses import asdict

from analysis.concepts.concept import ConceptSet, load_concepts
from commands.answer import Answer

EXAMPLE = "saes concepts core"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to look at")
    group.add_argument(
        "concepts", nargs="?", default="emotions", metavar="SET", help="a bundled name, a folder or a column map"
    )
    group.add_argument("--guessed", action="store_true", help="list the implicit texts that the bag of words guesses")


def run(arguments: argparse.Namespace) -> Answer:
    from analysis.concepts.leakage import leakage, medians

    concepts = load_concepts(arguments.concepts)
    found, guessed = leakage(concepts)
    middle, counts = medians(found), texts_by_split(concepts)
    rated = sum(concept.valence is not None for concept in concepts.concepts.values())
    lines = [
        f"{concepts.name}: {len(concepts.concepts)} concepts in {len(concepts.families)} families, "
        f"{rated} with a rated valence, {sum(counts.values())} texts",
        *(f"  {family:<10} {', '.join(names)}" for family, names in sorted(concepts.families.items())),
        "  " + ", ".join(f"{split} {count}" for split, count in counts.items()),
        "",
        "a bag of words trained on finding texts, median AUROC over concepts: "
        + ", ".join(f"{split} {value:.2f}" for split, value in middle.items()),
        f"implicit texts that it sees through: {len(guessed)}",
    ]
    if arguments.guessed:
        lines += [f"  {one.above:.3f} {one.concept}: {one.text}" for one in guessed]
    data = {
        "concepts": len(concepts.concepts), "families": concepts.families, "rated": rated, "texts": counts,
        "hash": concepts.hash, "median_auroc": middle, "leakage": [asdict(one) for one in found],
        "guessed": [asdict(one) for one in guessed],
    }  # fmt: skip
    return Answer("\n".join(lines), data)


def texts_by_split(concepts: ConceptSet) -> dict[str, int]:
    """How many texts each split holds; neutral ones are counted apart."""
    counts: Counter[str] = Counter()
    for concept in concepts.concepts.values():
        counts.update({split: len(texts) for split, texts in concept.texts.items()})
    counts["neutral"] = sum(len(texts) for texts in concepts.neutral.values())
    return dict(counts)
