"""How a study was made, in words, with the settings that it was made with."""

import inspect
from collections.abc import Sequence
from math import isfinite
from statistics import median
from typing import NamedTuple

from analysis.records import CLAIMS, ClampResult, StudyInfo
from analysis.report.table import number


class Passage(NamedTuple):
    title: str
    paragraphs: list[str]


def method(info: StudyInfo, clamps: Sequence[ClampResult]) -> list[Passage]:
    """What was chosen where, what a label had to show, what it stands beside, and the rule of the clamps."""
    passages = [
        Passage("What is claimed", [CLAIM]),
        Passage("What was chosen where", _choosing(info)),
        Passage("What a label had to show", _checking(info)),
        Passage("What it stands beside", [BESIDE]),
    ]
    if clamps:
        passages.append(Passage("The rule of the clamps", [*verdict_rule(), *_clamping(info), power(clamps)]))
    return passages


CLAIM = (
    "A label says that a latent of a sparse autoencoder, or a recipe of at most a few, represents a concept, as far as the "
    "shown evidence goes. Nothing here says that a model has experiences."
)
BESIDE = (
    "Rivals are scored on the same texts by the same statistics: the one latent that detects the concept best, the best latent "
    "of an untrained SAE of the same shape, the best MLP neuron, the best coordinate of the stream, the difference of means "
    "(plain, and with the components that carry half of the variance of neutral texts taken out), a logistic probe on the whole "
    "activation, and sparse probes on the best 1, 2, 4, 8 and 16 latents. Everything that is chosen or fitted in them is chosen "
    "and fitted on finding texts."
)


def _choosing(info: StudyInfo) -> list[str]:
    rules = info.settings.get("rules") or {}
    found = [
        "Latent, recipe, pooling over tokens and dose unit (the 95th percentile of active values) were chosen on finding texts: "
        "by detection first, and among latents that detect nearly as well by output effect. Whether a single latent or a recipe "
        "is put forward was decided on topic folds of the finding texts that the search was not shown.",
        "The latents that write a concept were chosen on finding texts, too: the difference between the mean activation of the "
        "concept's texts and of others is taken apart by orthogonal matching pursuit into at most four decoder directions with "
        "coefficients above zero. How well they detect the concept chose nothing.",
    ]
    if rules:
        found.append(
            f"The search took {rules.get('candidates', '?')} candidates a concept, counted latents as near the best within "
            f"{rules.get('slack', '?')} AUROC, allowed recipes of at most {rules.get('recipe_size', '?')} latents from "
            f"{rules.get('recipe_pool', '?')}, and was repeated {rules.get('shuffles', '?')} times on shuffled finding labels for "
            f"its null. Seed {info.settings.get('seed', '?')}."
        )
    return found


def _checking(info: StudyInfo) -> list[str]:
    from analysis.labelling.lexical_rule import is_lexical

    rules = info.settings.get("rules") or {}
    opened = "were opened for this study" if info.opened_sealed else "were not opened"
    return [
        f"Held: an AUROC of at least {number(rules.get('least_auroc', 0.8))} on checking texts, which no choice of the run saw, against "
        "neutral texts and texts of other families; and q, the permutation p on checking texts after Benjamini-Hochberg over "
        f"the concepts, of at most {number(rules.get('most_q', 0.05))}. Texts are compared with texts of the same style only.",
        "A label is rejected as a detector of its concept's name where "
        + " ".join((is_lexical.__doc__ or "").split()).removeprefix("The rule: "),
        "Implicit texts (the situation without the word), contrast texts (the word without the concept) and the confound panel "
        f"are reported and decide nothing. The sealed texts {opened}.",
    ]


def verdict_rule() -> list[str]:
    """The rule as its own file says it."""
    from analysis.clamping import verdict

    return inspect.cleandoc(verdict.__doc__ or "").split("\n\n")


def _clamping(info: StudyInfo) -> list[str]:
    settings = info.settings.get("validate") or {}
    rule = settings.get("rule") or {}
    found = []
    if rule:
        found.append(
            "In numbers: "
            + ", ".join(f"{name} {value:g}" for name, value in rule.items() if isinstance(value, (int, float)))
            + "."
        )
    fewer = ""
    if settings.get("curve_continuations"):
        fewer = (
            f" ({settings['curve_continuations']} at the doses that are not judged themselves: they draw the curve, say where text "
            "stops being fluent, and are what other families' claims are compared at)"
        )
    if settings.get("continuations"):
        found.append(
            f"{settings['continuations']} texts of {settings['new_tokens']} tokens are written from each prompt under each clamp{fewer}, with the "
            f"same luck in all arms; a prompt counts by their mean, and n is the number of prompts."
        )
    if settings.get("judge_auroc_median") is not None:
        found.append(
            f"The judges, one classifier a concept, were trained on texts that no label ever saw; their median AUROC on held-out "
            f"texts is {number(settings['judge_auroc_median'])} (least {number(settings['judge_auroc_least'])}), among "
            f"{settings['judge_concepts']} concepts."
        )
    return found


def power(clamps: Sequence[ClampResult]) -> str:
    """What effect the design could have seen."""
    labels = [one for one in clamps if one.arm in CLAIMS]
    known = sorted(one.detectable for one in labels if one.detectable is not None and isfinite(one.detectable))
    if not known:
        return "Power: with so few controls or prompts no effect, however large, would have been validated."
    never = len(labels) - len(known)
    return (
        f"Power: with these prompts, controls and claims, the design would have seen an effect of {number(known[0])} to "
        f"{number(known[-1])} of the way with 80 % power, median {number(median(known))} (n = {len(known)} "
        "claims); smaller effects may have gone unseen."
        + (f" For {never} claims no effect, however large, would have passed." if never else "")
    )
