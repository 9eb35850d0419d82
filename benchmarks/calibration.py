"""Planted truth through the whole pipeline: how much of it is found, and how much that is not there is held.

    python benchmarks/calibration.py [--worlds N] [--finding 4,8,16,32] [--causal N] [--shuffled N] [--figure PNG] [--json] [--record]

Three parts, each with its n and exact 95 % intervals (Clopper & Pearson 1934), `[rate, low, high, n]`:

- worlds of firings (`analysis/planted/world.py`), labelled as `saes label` does it, but by detection alone, at several
  numbers of finding texts a concept (checking texts: 12 at each). A false discovery is a held label that the world does not
  bear out; `power` is the share of concepts with a latent of AUROC 0.95 whose label is held and has that latent in it.
  `lexical_caught`: of labels with a detector of the concept's name in them, the share that is marked as lexical. At the top
  stand the highest false discovery rate of all sizes, and `lexical_caught` over all of them;
- worlds of words (`analysis/planted/word_world.py`), through label and validate: latents that detect and write, a latent that
  only detects, decoys, and the controls beside them (a world's labels share its controls);
- with `--shuffled`, a real SAE (`--checkpoint`) with the concepts shuffled over the texts of each split, so that no latent
  carries any of them: the share of runs that hold any label, with its upper 95 % bound. `significant_rate` is the share of runs with
  any q <= 0.05, whatever the AUROC. The output effect is left out: it could only choose among latents that are chance anyway.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from record import record
from tqdm import tqdm

from analysis.clamping.journey import validate
from analysis.concepts.concept import NEUTRAL, load_concepts
from analysis.figures import calibration
from analysis.labelling.choose import Pools, Rules, choose_labels
from analysis.labelling.journey import label
from analysis.labelling.split import TextTable, text_table
from analysis.observe import observe
from analysis.planted import outcome
from analysis.planted.outcome import Outcome, Share, label_world, outcomes, share
from analysis.planted.word_world import IDLE, WRITERS, word_world
from analysis.planted.world import KINDS, Design, draw_world
from analysis.records import clamp_counts
from saes.opening import open_dictionary
from training.language_models.opening import open_model

RULES = replace(Rules(), shuffles=0)  # the null beside the labels is not looked at here
STRENGTH = 0.95
POWER, FALSE = "Planted concepts found", "False discoveries"
BARS = {POWER: 0.9, FALSE: 0.05}


def world_outcomes(finding: int, worlds: int, seed: int, bar: tqdm) -> list[Outcome]:
    found: list[Outcome] = []
    for number in range(worlds):
        rng = np.random.default_rng([seed, finding, number])
        world = draw_world(Design(finding=finding), rng)
        found += outcomes(number, world, label_world(world, rng, RULES))
        bar.update()
    return found


def figures_of(found: Sequence[Outcome]) -> dict:
    strengths = sorted({one.strength for one in found if one.kind == "carried"}, reverse=True)
    kin = [one.auroc_family for one in found if one.kind == "kin" and one.held and one.auroc_family is not None]
    return {
        "false_discovery_rate": outcome.false_discoveries(found).figures(),
        "worlds_with_false": outcome.worlds_with_false(found).figures(),
        "power": {str(strength): outcome.power(found, strength).figures() for strength in strengths},
        "lexical_caught": outcome.lexical_caught(found).figures(),
        "held": {kind: outcome.held(found, kind).figures() for kind in KINDS},
        "whole": {kind: outcome.whole(found, kind).figures() for kind in ("split", "absorbed")},
        "strays": outcome.strays(found).figures(),
        "kin_auroc_family": float(np.median(kin)) if kin else None,
    }


def causal(seeds: int) -> dict:
    """Label and validate on worlds of words."""
    status: list[tuple[str, str]] = []
    second: list[tuple[str, str]] = []
    controls = Share(0, 0)
    for seed in tqdm(range(seeds), unit="world of words", disable=not seeds):
        with TemporaryDirectory() as folder:
            world = word_world(Path(folder), seed)
            study = label(world.sae, world.concept_set, world.model, seed=seed, progress=False)
            validate(study, model=world.model, concept_set=world.concept_set, judge_texts=world.judge_texts, new_tokens=12, continuations=1,
                     doses=(1.0, 2.0), seed=seed, progress=False)  # fmt: skip
            status += [(one.concept, one.status) for one in study.labels()]
            second += [(one.concept, one.status) for one in study.read("writers") if one.status != "candidate"]
            counts = clamp_counts(study.read("clamps"))
        controls = Share(controls.hits + counts["control_validated"], controls.n + counts["control_tested"])

    def validated(names: Sequence[str], claims: Sequence[tuple[str, str]] = status) -> list:
        return share(how == "validated" for name, how in claims if name in names).figures()

    decoys = sorted({name for name, _ in status} - {*WRITERS, IDLE})
    return {
        "worlds": seeds, "writers_validated": validated(WRITERS), "detectors_validated": validated([IDLE]),
        "decoys_validated": validated(decoys), "controls_validated": controls.figures(),
        "second_claim": {"writers_validated": validated(WRITERS, second), "detectors_validated": validated([IDLE], second)},
    }  # fmt: skip


def shuffled(table: TextTable, rng: np.random.Generator) -> TextTable:
    """The same texts, each with the concept and family of another text of its split."""
    order = np.arange(len(table.texts))
    for split in np.unique(table.split):
        mine = np.flatnonzero(table.split == split)
        order[mine] = rng.permutation(mine)
    return replace(table, concept=table.concept[order], family=table.family[order])


def shuffled_labels(checkpoint: str, runs: int, seed: int) -> dict:
    """The search and its check on a real SAE, where nothing is to be found."""
    dictionary, site, _ = open_dictionary(checkpoint)
    concepts = load_concepts("emotions")
    table = text_table(concepts)
    pools = Pools(observe(open_model(site.model), dictionary, site.hook_name, table.texts).firings)
    families = {name: concepts.family_of(name) for name in concepts.concepts if name != NEUTRAL}
    held, significant, highest = [], [], []
    for run in tqdm(range(runs), unit="shuffled run"):
        rng = np.random.default_rng([seed, run])
        labels = choose_labels(pools, shuffled(table, rng), families, rng, RULES)
        held.append(sum(one.status == "held" for one in labels))
        significant.append(any(one.q <= RULES.most_q for one in labels if one.chosen))
        highest.append(max(one.auroc_checking for one in labels))
    any_held = share(count > 0 for count in held)
    return {
        "false_discovery_rate": any_held.rate, "upper_95": any_held.interval(level=0.90)[1], "runs": runs,
        "labels_a_run": 2 * len(families), "labels_held": sum(held), "significant_rate": float(np.mean(significant)),
        "highest_auroc_checking": float(max(highest)),
    }  # fmt: skip


def draw(path: str, found: dict[int, dict]) -> None:
    def curve(*keys: str) -> list[list[float]]:
        points = []
        for figures in found.values():
            for key in keys:
                figures = figures[key]
            points.append(figures[:3] if figures[0] is not None else [float("nan")] * 3)  # type: ignore[index]
        return points

    strengths = next(iter(found.values()))["power"]
    panels = {
        POWER: {f"AUROC {strength}": curve("power", strength) for strength in strengths},
        FALSE: {
            "of held labels": curve("false_discovery_rate"),
            "worlds with any (no bar)": curve("worlds_with_false"),
        },
    }
    calibration(path, list(found), panels, BARS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=50, help="of firings, at each number of finding texts")
    parser.add_argument("--finding", default="4,8,16,32", help="finding texts a concept")
    parser.add_argument("--causal", type=int, default=20, help="worlds of words")
    parser.add_argument("--shuffled", type=int, default=0, help="runs with shuffled concepts on a real SAE")
    parser.add_argument("--checkpoint", default="checkpoints/storyteller-sae", help="the real SAE")
    parser.add_argument("--figure", help="where to write the curves, as a PNG")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.finding.split(",")]
    began = time.perf_counter()
    with tqdm(total=len(sizes) * arguments.worlds, unit="world") as bar:
        found = {size: world_outcomes(size, arguments.worlds, arguments.seed, bar) for size in sizes}
    by_size = {size: figures_of(mine) for size, mine in found.items()}
    result = {
        "false_discovery_rate": max(figures["false_discovery_rate"][0] or 0.0 for figures in by_size.values()),
        "power": {str(size): figures["power"][str(STRENGTH)][0] for size, figures in by_size.items()},
        "lexical_caught": outcome.lexical_caught([one for mine in found.values() for one in mine]).rate,
        "worlds": arguments.worlds,
        "by_finding_texts": {str(size): figures for size, figures in by_size.items()},
    }
    if arguments.causal:
        result["causal"] = causal(arguments.causal)
    result["seconds"] = round(time.perf_counter() - began)
    if arguments.shuffled:
        result["shuffled"] = shuffled_labels(arguments.checkpoint, arguments.shuffled, arguments.seed)
    if arguments.figure:
        draw(arguments.figure, by_size)
    if arguments.record:
        record("calibration", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
