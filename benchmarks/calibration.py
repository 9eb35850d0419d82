"""What labelling finds where nothing is: the whole search and its check on shuffled concept labels.

    python benchmarks/calibration.py [--checkpoint DIR] [--runs N] [--json] [--record]

Reads the concept texts through the model and the SAE once. In each run the concepts are shuffled over the texts (within
each split, whole topics keeping together no longer), so that no latent carries any of them, and all labels are chosen and
checked as `saes label` does it. The figure is the share of runs that hold any label, with its upper 95 % bound
(Clopper & Pearson 1934); `significant_rate` is the share of runs with any q <= 0.05, whatever the AUROC. The output effect is left out: it could only choose among latents that are chance anyway.
"""

import argparse
import json
from dataclasses import replace

import numpy as np
from record import record
from scipy.stats import beta
from tqdm import tqdm

from analysis.concepts.concept import NEUTRAL, load_concepts
from analysis.labelling.choose import Pools, Rules, choose_labels
from analysis.labelling.split import TextTable, text_table
from analysis.observe import observe
from saes.opening import open_dictionary
from training.language_models.opening import open_model


def shuffled(table: TextTable, rng: np.random.Generator) -> TextTable:
    """The same texts, each with the concept and family of another text of its split."""
    order = np.arange(len(table.texts))
    for split in np.unique(table.split):
        mine = np.flatnonzero(table.split == split)
        order[mine] = rng.permutation(mine)
    return replace(table, concept=table.concept[order], family=table.family[order])


def upper_bound(hits: int, runs: int, level: float = 0.95) -> float:
    """One-sided: with a larger true share, so few hits would come in less than 5 % of all trials."""
    return float(beta.ppf(level, hits + 1, runs - hits)) if hits < runs else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="checkpoints/storyteller-sae")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    dictionary, site, _ = open_dictionary(arguments.checkpoint)
    concepts = load_concepts("emotions")
    table = text_table(concepts)
    pools = Pools(observe(open_model(site.model), dictionary, site.hook_name, table.texts).firings)
    families = {name: concepts.family_of(name) for name in concepts.concepts if name != NEUTRAL}
    rules = replace(Rules(), shuffles=1)  # the null beside the labels is not looked at here
    held, significant, highest = [], [], []
    for run in tqdm(range(arguments.runs), unit="run"):
        rng = np.random.default_rng([arguments.seed, run])
        labels = choose_labels(pools, shuffled(table, rng), families, rng, rules)
        held.append(sum(label.status == "held" for label in labels))
        significant.append(any(label.q <= rules.most_q for label in labels if label.chosen))
        highest.append(max(label.auroc_checking for label in labels))
    hits = sum(count > 0 for count in held)
    result = {
        "false_discovery_rate": hits / arguments.runs,
        "upper_95": upper_bound(hits, arguments.runs),
        "runs": arguments.runs,
        "labels_a_run": 2 * len(families),
        "labels_held": sum(held),
        "significant_rate": float(np.mean(significant)),
        "highest_auroc_checking": float(max(highest)),
    }
    if arguments.record:
        record("calibration", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
