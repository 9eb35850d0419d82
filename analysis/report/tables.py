"""Every table of a study's evidence, made once: what the page, the Markdown report and the terminal all show."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.records import (
    CLAIMS,
    STATUSES,
    Affect,
    AttemptLevel,
    AttemptSlope,
    AttemptTrace,
    Baseline,
    CaseEffect,
    ClampResult,
    ConceptEffect,
    Confound,
    DosePoint,
    DoseTest,
    Explanation,
    FeatureCard,
    Foretelling,
    Label,
    LevelShift,
    Necessity,
    PreferenceShift,
    PreferenceTest,
    Probe,
    SceneRead,
    SceneTest,
    StudyInfo,
    Transfer,
    TransferRating,
    WorkshopArm,
    WorkshopControls,
    Writer,
)
from analysis.report.reasons import STATUS_ABOUT, rejections
from analysis.report.table import Cell, Chance, Estimate, Latents, Share, Status, Table, Tokens, estimate_of, facts

METHODS = {
    "sae": "best single latent",
    "random_sae": "one latent of an untrained SAE",
    "neurons": "one MLP neuron",
    "residual_basis": "one coordinate of the stream",
    "diff_means": "difference of means",
    "diff_means_denoised": "difference of means, denoised",
    "probe": "logistic probe",
}
"""The rivals on the same texts; the single units are chosen on finding texts, as the label is."""
CARRIED = METHODS | {"sae": "label", "written": "latents that write it"}
"""The same on other data sets' texts, where the label itself is one of them."""
SCORES = ("auroc_checking", "auroc_all", "auroc_implicit")
CHECKS = {
    "named": "own texts that name the concept",
    "unnamed": "own texts that do not name it",
    "masked": "a neutral word in the place of each name",
    "negated": "against texts that say the person is not so",
    "quoted": "against texts that only mention the word",
    "other": "against texts in which somebody else is so",
    "contrast": "against all texts in which only the word stands",
    "first": "first person on both sides",
    "third": "third person on both sides",
    "setting": "only pairs of texts of one setting",
    "length": "only pairs of texts of like length",
}
ARMS = {
    "label": "label",
    "written": "latents that write it",
    "diff_means": "difference of means",
    "random_latent": "random latents",
    "random_direction": "random directions",
    "ablate": "ablation",
}
ARM_WORDS = {
    "diff means ": "difference of means of ",
    "detector ": "the label's own latents of ",
    "without ": "ablated: ",
    "stated ": "no clamp, told: ",
    "world without ": "in its world, not ",
    "world ": "in its world, ",
}
ENDINGS = {"cheated": "cheating", "stopped": "an honest stop", "both": "either", "difference": "cheating less stops"}
STRONGEST = 10
"""Latents shown for each dimension of affect."""
FEW_CONTROLS = 4
"""Control arms that have lines of their own; more are summed up."""
DRAWS = 1000


def middle(values: Iterable[float | None]) -> Estimate:
    """The median over concepts, with its 95 % bootstrap interval over them where there are at least three."""
    known = np.array([value for value in values if value is not None], dtype=float)
    if len(known) < 3:
        return Estimate(float(np.median(known)) if len(known) else None)
    drawn = np.random.default_rng(0).choice(known, (DRAWS, len(known)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Estimate(float(np.median(known)), float(low), float(high))


def statuses(labels: Sequence[Label]) -> Table:
    counted = {name: sum(one.status == name for one in labels) for name in STATUSES}
    return Table(
        "Labels by status",
        ("status", "labels", "what it means"),
        [(Status(name), count, STATUS_ABOUT[name]) for name, count in counted.items() if count],
    )


def rejected(labels: Sequence[Label], rules: dict[str, Any]) -> Table:
    """Why labels were rejected; one that fails several bars counts at each."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in labels:
        if one.status == "rejected":
            for reason in rejections(one, rules):
                found[reason].append(one.concept)
    return Table(
        "Why labels were rejected",
        ("reason", "labels", "concepts"),
        [(reason, len(names), ", ".join(names)) for reason, names in found.items()],
        "A label that fails at several bars counts at each.",
    )


def labels(chosen: Sequence[Label], families: Mapping[str, str]) -> Table:
    return Table(
        "Labels",
        ("concept", "family", "status", "kind", "latents", "pooling", "checking [95 %]", "n+", "n\u2212", "all negatives",
         "implicit [95 %]", "contrast", "masked", "within family", "runner-up", "against it", "lexical share", "average precision",
         "output effect", "q", "finding", "null of the search", "left-out folds", "sealed"),
        [
            (
                one.concept, families.get(one.concept, ""), Status(one.status), one.kind, Latents(tuple(one.latents)), one.pooling,
                Estimate(one.auroc_checking, one.auroc_checking_low, one.auroc_checking_high), one.n_positive, one.n_negative,
                Estimate(one.auroc_all), Estimate(one.auroc_implicit, one.auroc_implicit_low, one.auroc_implicit_high),
                Estimate(one.auroc_contrast), Estimate(one.auroc_masked), Estimate(one.auroc_family), one.runner_up,
                Estimate(one.auroc_runner_up), Share(one.lexical_share), Estimate(one.precision_checking),
                Estimate(one.effect_finding, sign=True), Chance(one.q), Estimate(one.auroc_finding),
                Estimate(one.null_finding), Estimate(one.auroc_folds), Estimate(one.auroc_sealed),
            )
            for one in chosen
        ],
        "AUROC checking: against neutral texts and texts of other families, 95 % bootstrap interval over texts. All negatives: "
        "siblings of the family are among the negatives too. Contrast: own checking texts against texts in which only the word "
        "stands. Masked: a neutral word stands for each word that names the concept. Lexical share: of the firing on checking "
        "texts, what falls on words that name the concept. Output effect: on finding texts, how many nats a token the clamp adds "
        "to the concept's texts beyond what it adds to others. q: after Benjamini-Hochberg over the concepts. Finding: on the "
        "texts of the search, too good by the search; its null is what the same search reaches there on shuffled labels; left-out "
        "folds is what it reaches on topics that it was not shown.",
    ).filled()  # fmt: skip


def not_chosen(others: Sequence[tuple[Label, str]]) -> Table:
    return Table(
        "Labels that were not chosen",
        ("concept", "status", "kind", "latents", "checking [95 %]", "n+", "n\u2212", "implicit", "q", "why"),
        [
            (
                one.concept, Status(one.status), one.kind, Latents(tuple(one.latents)),
                Estimate(one.auroc_checking, one.auroc_checking_low, one.auroc_checking_high), one.n_positive, one.n_negative,
                Estimate(one.auroc_implicit), Chance(one.q), reason,
            )
            for one, reason in others
        ],
        "Single or recipe, whichever did worse on left-out topic folds.",
    )  # fmt: skip


def reasons(rows: Sequence[tuple[Label, str]]) -> Table:
    return Table(
        "Why each has its status",
        ("concept", "status", "why"),
        [(one.concept, Status(one.status), reason) for one, reason in rows],
    )


def rivals(chosen: Sequence[Label], baselines: Sequence[Baseline], probes: Sequence[Probe]) -> Table:
    """Medians over concepts of the chosen labels and of everything on the same texts, failures included."""
    own = {one.concept: one for one in chosen}
    rows: list[tuple[Cell, ...]] = []

    def add(name: str, records: Sequence[Any]) -> None:
        gains = [
            mine - theirs
            for one in records
            if (mine := own[one.concept].auroc_checking) is not None and (theirs := one.auroc_checking) is not None
        ]
        medians = [middle(getattr(one, score) for one in records) for score in SCORES]
        gain = middle(gains)._replace(sign=True) if records is not chosen else Estimate(None)
        rows.append((name, *medians, gain, len(records)))

    add("chosen label", chosen)
    for method, name in METHODS.items():
        if found := [one for one in baselines if one.method == method and one.concept in own]:
            add(name, found)
    for k in sorted({one.k for one in probes}):
        add(f"sparse probe, {k} latent{'s' * (k > 1)}", [one for one in probes if one.k == k and one.concept in own])
    columns: tuple[str, ...] = (
        "median AUROC over concepts",
        "checking [95 %]",
        "all negatives [95 %]",
        "implicit [95 %]",
        "label minus it [95 %]",
        "concepts",
    )
    title, counts = "The labels and their rivals on the same texts", {row[-1] for row in rows}
    if len(counts) == 1:
        title = f"{title} (n = {counts.pop()} concepts)"
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table(
        title,
        columns,
        rows,
        "Failures included. Intervals are bootstraps over concepts. Label minus it: median over concepts of the difference on "
        "checking texts. Single units are chosen on finding texts like the label; denoised: without the components that carry "
        "half of the variance of neutral texts.",
    )  # fmt: skip


def rivals_by_concept(
    chosen: Sequence[Label], baselines: Sequence[Baseline], probes: Sequence[Probe], score: str, words: str
) -> Table:
    """One score of every concept's label and its rivals, each with its interval."""
    known: dict[str, dict[str, Baseline | Probe]] = defaultdict(dict)
    for one in baselines:
        known[one.method][one.concept] = one
    for probe in probes:
        known[f"{probe.k} latents"][probe.concept] = probe
    columns = [
        name for name in (*METHODS, *(f"{k} latents" for k in sorted({one.k for one in probes}))) if name in known
    ]

    return Table(
        f"AUROC on {words}, concept by concept",
        ("concept", "label [95 %]", *(METHODS.get(name, f"sparse probe, {name}") for name in columns)),
        [
            (
                one.concept,
                estimate_of(one, score),
                *(estimate_of(known[name].get(one.concept), score) for name in columns),
            )
            for one in chosen
        ],
    ).filled()


def confounds(found: Sequence[Confound]) -> Table:
    """What remains of the labels, check by check."""
    rows: list[tuple[Cell, ...]] = []
    for check, about in CHECKS.items():
        if mine := [one for one in found if one.check == check]:
            above = sum(one.low > 0.5 for one in mine)
            rows.append((check, middle(one.auroc for one in mine), above, len(mine), about))
    return Table(
        "Confound panel",
        ("check", "median AUROC [95 %]", "surely above 0.5", "concepts", "what is compared"),
        rows,
        "Checking texts of the concept where another reading of the label cannot help it; the interval of the median is a "
        "bootstrap over concepts. Surely above 0.5: labels whose own interval over texts lies above it.",
    )


def confounds_by_concept(found: Sequence[Confound], chosen: Sequence[Label]) -> Table:
    by_pair = {(one.concept, one.check): one for one in found}
    checks = [check for check in CHECKS if any(one.check == check for one in found)]

    def cells(concept: str) -> list[Cell]:
        shown: list[Cell] = []
        for check in checks:
            one = by_pair.get((concept, check))
            n = f"{one.n_positive}/{one.n_negative}" if one else ""
            shown.append(Estimate(one.auroc, one.low, one.high, n=n) if one else None)
        return shown

    rows = [(one.concept, Status(one.status), *cells(one.concept)) for one in chosen]
    note = "AUROC [95 % interval over texts] (own texts / texts that they are compared with); empty where the set has none."
    return Table("Confound panel, concept by concept", ("concept", "status", *checks), rows, note)


def affect(found: Sequence[Affect], concepts: Mapping[int, Sequence[str]]) -> list[Table]:
    """The latents that go most with valence, and with arousal, each way; chosen on finding texts."""
    tables = []
    for name in ("valence", "arousal"):
        ordered = sorted(found, key=lambda one: -getattr(one, f"{name}_finding"))
        tables.append(
            Table(
                f"Latents that go with {name}",
                ("latent", "r [95 %]", "slope", "r on finding texts", "texts", "concepts", "in the label of"),
                [
                    (
                        Latents((one.latent,)), estimate_of(one, f"{name}_r", name, sign=True),
                        Estimate(getattr(one, f"{name}_slope"), sign=True), Estimate(getattr(one, f"{name}_finding"), sign=True),
                        one.n_texts, one.n_concepts, ", ".join(concepts.get(one.latent, ())),
                    )
                    for one in ordered[:STRONGEST]
                ],
                "The strongest on finding texts. r: correlation of human rating and prediction on checking texts, each concept "
                "predicted from the others, interval over concepts. Slope: rating points (of 1 to 9) a dose unit.",
            )
        )  # fmt: skip
    return tables


def quadrants(marks: Iterable[tuple[str, str, float, float]]) -> Table:
    """(concept, status, valence, arousal) -> which quadrants of human ratings, cut at the middle of the scale, are reached."""
    marks = list(marks)
    validated = any(status == "validated" for _, status, _, _ in marks)
    wanted = "validated" if validated else "held"
    found: dict[tuple[bool, bool], list[str]] = defaultdict(list)
    for concept, status, valence, arousal in marks:
        if status == "validated" if validated else status not in ("candidate", "rejected"):
            found[valence >= 5, arousal >= 5].append(concept)
    names = {(True, True): "pleasant, aroused", (True, False): "pleasant, quiet",
             (False, True): "unpleasant, aroused", (False, False): "unpleasant, quiet"}  # fmt: skip
    return Table(
        f"Quadrants of valence and arousal among {wanted} concepts",
        ("quadrant", "concepts", "which"),
        [(name, len(found[key]), ", ".join(sorted(found[key]))) for key, name in names.items()],
        "By human ratings from 1 to 9, cut at 5; unrated concepts are left out. Validated: by the label's latents or by those that write it.",
    )


def claims(found: Sequence[ClampResult]) -> Table:
    """The verdicts on a concept side by side: the label, the latents that write it, and the difference of means beside each."""
    verdicts = {(one.concept, one.claim, one.arm): one for one in found}
    if not any(one.claim == "written" for one in found):
        return Table("Verdicts", ("concept",), [])

    def cells(concept: str, claim: str, arm: str) -> tuple[Cell, ...]:
        one = verdicts.get((concept, claim, arm))
        if one is None:
            return "", Estimate(None)
        status = Status(one.status) if one.status in STATUSES else one.status
        return status, Estimate(one.judge, one.judge_low, one.judge_high, sign=True)

    concepts = sorted({one.concept for one in found if one.arm in CLAIMS})
    return Table(
        "Verdicts",
        ("concept", "label", "its judge [95 %]", "latents that write it", "their judge [95 %]",
         "difference of means at the label's cost", "its judge there [95 %]", "at the writing latents' cost", "its judge there also [95 %]"),
        [
            (concept, *cells(concept, "label", "label"), *cells(concept, "written", "written"),
             *cells(concept, "label", "diff_means"), *cells(concept, "written", "diff_means"))
            for concept in concepts
        ],
        "Two claims about each concept, judged by one rule among the same controls: that its label's latents, chosen where they "
        "fire, move the text towards it; and that a few latents do whose decoder directions together come nearest to its "
        "difference of means. Nothing stands where those push where the label's do, or where no push of the difference of means "
        "costs as little or as much fluency.",
    )  # fmt: skip


def head_to_head(found: Sequence[ClampResult]) -> Table:
    """Each claim against the difference of means where its text costs as much, over concepts."""
    of = {(one.claim, one.arm, one.concept): one for one in found}
    rows: list[tuple[Cell, ...]] = []
    for claim in CLAIMS:
        pairs = [
            (one, of[claim, "diff_means", concept])
            for (sort, arm, concept), one in of.items()
            if sort == arm == claim and (claim, "diff_means", concept) in of
        ]
        if pairs:
            gained = [own.judge - rival.judge for own, rival in pairs]
            rows.append(
                (ARMS[claim], middle(own.judge for own, _ in pairs), middle(rival.judge for _, rival in pairs),
                 middle(gained)._replace(sign=True), sum(one > 0 for one in gained),
                 *(sum(one.status == "validated" for one in side) for side in zip(*pairs, strict=True)), len(pairs))
            )  # fmt: skip
    return Table(
        "Head to head with the difference of means, at equal fluency cost",
        ("claim", "median judge [95 %]", "difference of means [95 %]", "median gain [95 %]", "concepts with a gain",
         "validated", "difference of means validated", "concepts"),
        rows,
        "Judge: share of the way to the concept's own texts; medians over concepts with bootstrap intervals over them. The "
        "difference of means is read off at the push at which its text costs as much.",
    )  # fmt: skip


def writers(found: Sequence[Writer]) -> Table:
    return Table(
        "Latents that write a concept",
        ("concept", "status", "latents", "a unit pushes", "cosine with the difference of means", "as a detector, checking [95 %]", "n+", "n\u2212"),
        [
            (
                one.concept, Status(one.status) if one.status in STATUSES else one.status, Latents(tuple(one.latents)),
                ", ".join(f"{scale * weight:.3g}" for scale, weight in zip(one.scales, one.weights, strict=True)),
                Estimate(one.cosine),
                Estimate(one.auroc_checking, one.auroc_checking_low, one.auroc_checking_high),
                one.n_positive, one.n_negative,
            )
            for one in found
        ],
        "Chosen from finding texts alone, by where they push: orthogonal matching pursuit of the difference of means. One dose unit "
        "pushes as far as one of the label's, in activation units of each latent as shown. As detectors they are read, not chosen.",
    )  # fmt: skip


def clamps(found: Sequence[ClampResult]) -> Table:
    def safe(one: ClampResult) -> str:
        if one.safe_low is None or one.safe_high is None:
            return ""
        return f"{Estimate(one.safe_low, digits=1, sign=True)} to {Estimate(one.safe_high, digits=1, sign=True)}"

    def shown_status(one: ClampResult) -> Cell:
        return Status(one.status) if one.status in STATUSES and one.arm in (*CLAIMS, "diff_means") else one.status

    def arm(one: ClampResult) -> str:
        told = ARMS.get(one.arm, one.arm)
        return told if one.arm == "written" or one.claim == "label" else f"{told}, beside those"

    return Table(
        "Clamps",
        ("concept", "arm", "status", "dose", "push", "judge [95 %]", "readout [95 %]", "KL", "p", "q", "controls",
         "strongest control: judge", "readout", "other families do as much", "of", "own place", "of concepts", "family's place",
         "the other way [95 %]", "fluency cost", "safe doses", "detectable", "judge's AUROC", "its lower end", "prompts"),
        [
            (
                one.concept, arm(one), shown_status(one), Estimate(one.dose), Estimate(one.push),
                Estimate(one.judge, one.judge_low, one.judge_high, sign=True),
                Estimate(one.readout, one.readout_low, one.readout_high, sign=True), Estimate(one.kl), Chance(one.p),
                Chance(one.q), one.n_controls, Estimate(one.control_judge_max, sign=True),
                Estimate(one.control_readout_max, sign=True), Share(one.foreign_share), one.n_foreign, one.own_rank, one.n_ranked,
                one.family_rank, Estimate(one.down_judge, one.down_judge_low, one.down_judge_high, sign=True),
                Estimate(one.fluency, sign=True), safe(one), Estimate(one.detectable), Estimate(one.judge_auroc),
                Estimate(one.judge_auroc_low), one.n_prompts,
            )
            for one in found
        ],
        "Judge: share of the way from other texts to the concept's own; intervals are bootstraps over prompts. Readout: "
        "log-probability of the concept's readout words. Push: length of the shift over the mean length of the residual stream "
        "there. KL: of the next-token distributions along the baseline's text, clamped against unclamped. p: rank among the "
        "controls where they move the output as far. Fluency cost: nats a token that the clamped text costs the unclamped model, "
        "minus what the baseline text costs it; safe doses keep it within the rule's bound, as far as doses were tried. Own "
        "place: where the concept stands among all, ordered by this arm's effect. Detectable: the smallest effect that would have "
        "been validated with 80 % power.",
    ).filled()  # fmt: skip


def doses(points: Sequence[DosePoint]) -> Table:
    return Table(
        "Dose curves",
        ("concept", "claim", "dose", "judge [95 %]", "readout", "KL", "fluency cost", "controls, 5 to 95 %", "controls", "prompts"),
        [
            (
                one.concept, ARMS[one.claim], Estimate(one.dose, sign=True), Estimate(one.judge, one.judge_low, one.judge_high, sign=True),
                Estimate(one.readout, sign=True), Estimate(one.kl), Estimate(one.fluency, sign=True),
                "" if one.control_low is None else f"{Estimate(one.control_low, sign=True)} to {Estimate(one.control_high, sign=True)}",
                one.n_controls, one.n_prompts,
            )
            for one in points
        ],
        "On reporting prompts, beside the controls where they move the output as far; empty where none reaches that KL.",
    )  # fmt: skip


def controls(summaries: Sequence[Any]) -> Table:
    return Table(
        "Controls",
        ("concept", "beside", "controls", "median judge effect", "95th percentile", "strongest", "which", "validated", "those"),
        [
            (
                one.concept, ARMS[one.claim], one.n, Estimate(one.middle, sign=True), Estimate(one.high, sign=True),
                Estimate(one.strongest.judge, one.strongest.judge_low, one.strongest.judge_high, sign=True), one.strongest.arm_id,
                len(one.validated), ", ".join(found.arm_id for found in one.validated),
            )
            for one in summaries
        ],
        "Random latents and random directions where they move the output as far as the claim beside which they stand, each judged by "
        "the same rule as if it were the claim.",
    ).filled()  # fmt: skip


def moved(effects: Sequence[ConceptEffect], count: int = 5) -> Table:
    """The concepts that each label moves most."""
    of_label: dict[str, list[ConceptEffect]] = defaultdict(list)
    for one in effects:
        if one.arm == "label":
            of_label[one.arm_id].append(one)
    rows: list[tuple[Cell, ...]] = []
    for name, found in sorted(of_label.items()):
        for place, one in enumerate(sorted(found, key=lambda one: -one.judge)[:count]):
            rows.append(
                (name if not place else "", one.concept, Estimate(one.judge, one.judge_low, one.judge_high, sign=True),
                 Estimate(one.readout, one.readout_low, one.readout_high, sign=True), one.n_prompts)
            )  # fmt: skip
    return Table("What each label moves most", ("label", "concept", "judge [95 %]", "readout [95 %]", "prompts"), rows)


def necessity(found: Sequence[Necessity]) -> Table:
    return Table(
        "Necessity",
        ("concept", "bearing tokens", "elsewhere", "difference [95 %]", "controls' mean", "largest", "p", "controls", "texts", "tokens", "words"),
        [
            (
                one.concept, Estimate(one.bearing, digits=3, sign=True), Estimate(one.elsewhere, digits=3, sign=True),
                Estimate(one.contrast, one.low, one.high, 3, True), Estimate(one.control_mean, digits=3, sign=True),
                Estimate(one.control_max, digits=3, sign=True), Chance(one.p), one.n_controls, one.n_texts, one.n_bearing,
                ", ".join(one.words[:12]),
            )
            for one in found
        ],
        "The label's latents ablated on the concept's checking texts: rise of the loss (nats a token) on words that speak most "
        "for the concept by its judge, and elsewhere, beside groups of latents that fire as often. p: not corrected for the "
        "number of labels.",
    )  # fmt: skip


def workshop(arms: Sequence[WorkshopArm]) -> Table:
    """A line an arm; more than FEW_CONTROLS controls are one line at each dose. Changes stand where they were measured."""

    def share(value: float, low: float, high: float) -> str:
        return f"{Share(value)} [{Share(low)}, {Share(high)}]"

    many = [one for one in arms if one.arm.startswith("control")]
    summed = len(many) > FEW_CONTROLS
    rows: list[tuple[Cell, ...]] = [
        (
            _named(one), Estimate(one.dose, digits=2), share(one.cheat_rate, one.cheat_low, one.cheat_high), *_changes(one),
            one.n_impossible, Share(one.invalid_rate), Share(one.cheat_rate_valid), one.n_valid, Share(one.honest_rate),
            Share(one.solve_rate), one.n_possible, Estimate(one.direct_effect, sign=True),
        )
        for one in arms
        if not (summed and one in many)
    ]  # fmt: skip
    for dose in dict.fromkeys(one.dose for one in many) if summed else ():
        some = [one for one in many if one.dose == dose]
        spans = {
            name: _middle_of([getattr(one, name) for one in some])
            for name in ("cheat_rate", "invalid_rate", "cheat_rate_valid", "honest_rate", "solve_rate")
        }
        effects = [one.direct_effect for one in some if np.isfinite(one.direct_effect)]
        rows.append(
            (
                f"{len(some)} controls, 5 to 95 %", Estimate(dose, digits=2), spans["cheat_rate"], None, None, some[0].n_impossible,
                spans["invalid_rate"], spans["cheat_rate_valid"], None, spans["honest_rate"], spans["solve_rate"], some[0].n_possible,
                _span(float(np.quantile(effects, 0.05)), float(np.quantile(effects, 0.95))) if effects else None,
            )
        )  # fmt: skip
    return Table(
        "Workshop",
        ("clamp", "dose", "cheating [95 %]", "change [95 %]", "honest stops' change [95 %]", "impossible tasks", "invalid endings",
         "cheating among valid endings", "of", "honest", "possible tasks solved", "possible tasks", "direct effect"),
        rows,
        "Wilson intervals, which take runs as if they did not depend on each other; changes are against no clamp on the same tasks with the same luck, intervals are bootstraps over tasks. "
        "Beside the rate stand the ways in which it could mislead: invalid endings (a broken text cannot "
        "cheat), the rate among valid endings, possible tasks that are still solved, and how much the clamp alone moves the "
        "cheat's own words in a plain context (nats).",
    ).filled()  # fmt: skip


def arm_words(arm: str) -> str:
    """An arm of the workshop in words."""
    words = "no clamp" if arm == "none" else arm.replace("_", " ")
    for begins, said in ARM_WORDS.items():
        if words.startswith(begins):
            return said + words.removeprefix(begins)
    return words


def _named(one: WorkshopArm) -> str:
    """An arm in words; a control says of which kind it is."""
    kind = {"random_latent": " (random latents)", "random_direction": " (random direction)"}.get(one.kind, "")
    return arm_words(one.arm) + kind


def _changes(one: WorkshopArm) -> tuple[Estimate | None, Estimate | None]:
    """Of cheating and of honest stops; None where they were not measured, and for no clamp."""
    changes = (
        (one.change, one.change_low, one.change_high),
        (one.honest_change, one.honest_change_low, one.honest_change_high),
    )
    cheating, honest = (
        Estimate(*found, sign=True) if one.arm != "none" and np.isfinite(found[0]) else None for found in changes
    )
    return cheating, honest


def _middle_of(values: Sequence[float]) -> str | None:
    """Where the middle 90 % of shares lie."""
    known = [value for value in values if np.isfinite(value)]
    return f"{Share(float(np.quantile(known, 0.05)))} to {Share(float(np.quantile(known, 0.95)))}" if known else None


def workshop_controls(found: Sequence[WorkshopControls]) -> Table:
    """How many controls move as much, both kinds together; ``found``: `workshop_controls` of a study."""
    return Table(
        "How many controls move as much",
        ("clamp", "measure", "change", "controls that move as much [95 %]", "of", "largest control", "tasks"),
        [
            (
                arm_words(one.arm), one.measure, Estimate(one.change, sign=True),
                f"{one.n_as_large} ({Share(one.share)}) [{Share(one.low)}, {Share(one.high)}]", one.n_controls,
                Estimate(one.largest, sign=True), one.n_tasks,
            )
            for one in found
            if one.kind == "all"
        ],
        "Controls are pushed as far as desperate is, the same way, and counted where they move the measure as much in the same direction; "
        "Clopper-Pearson intervals.",
    )  # fmt: skip


def case_effects(found: Sequence[CaseEffect]) -> Table:
    """Labels and their rivals; controls are summed up in each label's p."""
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        if one.arm not in ("label", "diff_means"):
            continue
        like = [
            other.effect for other in found
            if other.arm.startswith("random") and (other.scorer, other.concept, other.dose) == (one.scorer, one.concept, one.dose)
        ]  # fmt: skip
        band = (
            ""
            if not like
            else f"{Estimate(float(np.quantile(like, 0.05)), sign=True)} to {Estimate(float(np.quantile(like, 0.95)), sign=True)}"
        )
        rows.append(
            (one.scorer, one.concept, ARMS.get(one.arm, one.arm), Estimate(one.dose, digits=1, sign=True), Estimate(one.base),
             Estimate(one.effect, one.low, one.high, sign=True), band, Chance(one.p), one.n_controls, one.n_prompts)
        )  # fmt: skip
    return Table(
        "What clamps change",
        (
            "score",
            "concept",
            "arm",
            "dose",
            "unclamped",
            "change [95 %]",
            "controls, 5 to 95 %",
            "p",
            "controls",
            "prompts",
        ),
        rows,
        "Clamped minus unclamped at the same prompt with the same luck; intervals are bootstraps over prompts. Controls: random "
        "latents that fire as often and random directions, pushed as far. p: two-sided rank among them, one test a line.",
    )


def attempt_levels(found: Sequence[AttemptLevel]) -> Table:
    return Table(
        "Levels after failed attempts",
        ("concept", "attempt", "level [95 %]", "episodes"),
        [(one.concept, one.attempt, Estimate(one.mean, one.low, one.high, 3), one.n) for one in found],
        "Impossible tasks, nothing clamped; dose units, means over the tokens up to the next act, intervals over episodes. Each line "
        "is of the episodes that got so far, so that a change from line to line also tells who ended before.",
    )


def attempt_traces(found: Sequence[AttemptTrace]) -> Table:
    """Aligned at the ending; those from the start are in the study's table."""
    some = [one for one in found if one.aligned == "end" and one.outcome != "both"]
    return Table(
        "Levels before the ending, in the same episodes",
        ("concept", "ends in", "failed attempts", "attempts before the end", "level [95 %]", "random groups, 5 to 95 %", "episodes"),
        [
            (
                one.concept, ENDINGS[one.outcome], f"{one.least} or more", Estimate(one.attempt, digits=0),
                Estimate(one.mean, one.low, one.high, 3), _span(one.control_low, one.control_high, 3, sign=False), one.n,
            )
            for one in sorted(some, key=lambda one: (one.least, one.concept, one.outcome, one.attempt))
        ],
        "Impossible tasks, nothing clamped; dose units, means over the tokens between an attempt and the next act; \u22121 is the last "
        "failed attempt before the ending is written. Intervals are bootstraps over episodes; random groups of latents fire as often.",
    )  # fmt: skip


def attempt_slopes(found: Sequence[AttemptSlope]) -> Table:
    return Table(
        "Slopes within episodes",
        ("concept", "ends in", "slope [95 %]", "p", "random groups, 5 to 95 %", "as far from 0", "of", "episodes"),
        [
            (
                one.concept, ENDINGS[one.outcome], Estimate(one.slope, one.low, one.high, 3, True), Chance(one.p),
                _span(one.control_low, one.control_high, 3), Share(one.control_share), one.n_controls, one.n,
            )
            for one in found
        ],
        "Dose units an attempt, by least squares within each episode of two or more failed attempts, mean over episodes; intervals "
        "are bootstraps over episodes. p: by flipping episodes' signs, of the difference by permuting how episodes end; one test a line.",
    )  # fmt: skip


def _span(low: float | None, high: float | None, digits: int = 2, sign: bool = True) -> str:
    """Where the middle of the controls lies; nothing where there are none."""
    if low is None or high is None:
        return ""
    return f"{Estimate(low, digits=digits, sign=sign)} to {Estimate(high, digits=digits, sign=sign)}"


def foretellings(found: Sequence[Foretelling]) -> Table:
    return Table(
        "Do levels foretell the cheat?",
        ("concept", "AUROC [95 %]", "bag of words [95 %]", "random groups as far", "of", "cheated", "stopped"),
        [
            (
                one.concept, Estimate(one.auroc, one.low, one.high), Estimate(one.words, one.words_low, one.words_high),
                Share(one.control_share), one.n_controls, one.n_cheated, one.n_stopped,
            )
            for one in found
        ],
        "The mean level after the last failed attempt, before the ending is written: episodes that will end in cheating against "
        "those that will end in an honest stop. The bag of words reads the same beginning and was trained on other episodes.",
    )  # fmt: skip


def scene_tests(found: Sequence[SceneTest]) -> Table:
    return Table(
        "Do expected labels rise more?",
        ("form", "expected labels [95 %]", "others [95 %]", "p", "scenes with labels", "scenes"),
        [
            (
                one.form, Estimate(one.expected, one.expected_low, one.expected_high, sign=True),
                Estimate(one.others, one.others_low, one.others_high, sign=True), Chance(one.p), one.n, one.n_scenes,
            )
            for one in found
        ],
        "Mean rise from twin to scene, each label's in the spread of its own rises over all scenes; intervals are bootstraps over "
        "scenes. p: one-sided, by shuffling which labels are expected.",
    )  # fmt: skip


def scenes(found: Sequence[SceneRead]) -> Table:
    """What each scene should wake; other labels are in the study's table."""
    return Table(
        "Scenes beside their twins",
        ("kind", "scene", "expected", "level", "in the twin", "rise"),
        [
            (
                one.kind,
                one.name,
                one.concept,
                Estimate(one.level, digits=3),
                Estimate(one.twin_level, digits=3),
                Estimate(one.rise, digits=3, sign=True),
            )
            for one in found
            if one.expected
        ],
        "Dose units, means over the tokens that somebody says.",
    )


def preference_tests(found: Sequence[PreferenceTest]) -> Table:
    return Table(
        "Preference: do labels fire at what the model prefers?",
        ("concept", "r [95 %]", "within categories", "p", "q", "random groups as large", "of", "activities"),
        [
            (
                one.concept, Estimate(one.r, one.low, one.high, sign=True), Estimate(one.r_within, sign=True), Chance(one.p),
                Chance(one.q), Share(one.control_share), one.n_controls, one.n_activities,
            )
            for one in sorted(found, key=lambda one: -one.r)
        ],
        "r: Pearson's correlation, over activities, of a label's mean level at the activity and its Elo. Within: each category's "
        "means taken off, so that good against harmful does not count.",
    )  # fmt: skip


def preference_shifts(found: Sequence[PreferenceShift]) -> Table:
    return Table(
        "Preference under clamps",
        ("concept", "arm", "dose", "shift of Elo [95 %]", "controls, 5 to 95 %", "p", "controls", "activities"),
        [
            (
                one.concept, ARMS.get(one.arm, one.arm), Estimate(one.dose, digits=1, sign=True),
                Estimate(one.shift, one.low, one.high, 0, True),
                f"{Estimate(one.control_low, digits=0, sign=True)} to {Estimate(one.control_high, digits=0, sign=True)}",
                Chance(one.p), one.n_controls, one.n_activities,
            )
            for one in found
        ],
        "The clamp acts on the tokens of an activity's mention; the activities that it is chosen against are never clamped.",
    )  # fmt: skip


def level_shifts(found: Sequence[LevelShift]) -> Table:
    return Table(
        f"Levels in {found[0].other} against {found[0].model}" if found else "Levels in two models",
        ("concept", "family", "level", "there", "shift [95 %]", "p", "q", "random groups as large", "of", "prompts"),
        [
            (
                one.concept, one.family, Estimate(one.mean, digits=3), Estimate(one.other_mean, digits=3),
                Estimate(one.shift, one.low, one.high, 3, True), Chance(one.p), Chance(one.q), Share(one.control_share),
                one.n_controls, one.n_prompts,
            )
            for one in sorted(found, key=lambda one: -one.shift)
        ],
        "Dose units, means over prompts' tokens, paired by prompt; read through one SAE, which was trained on the first model.",
    )  # fmt: skip


def dose_tests(found: Sequence[DoseTest]) -> Table:
    return Table(
        "Doses: does the label follow the danger, or the number?",
        ("concept", "contrast [95 %]", "families", "p", "q", "random groups that do as much", "of"),
        [
            (
                one.concept, Estimate(one.contrast, one.low, one.high, sign=True), one.n_families, Chance(one.p), Chance(one.q),
                Share(one.control_share), one.n_controls,
            )
            for one in sorted(found, key=lambda one: -one.contrast)
        ],
        "Contrast: over families that expect the concept to rise or fall, the mean of the trend (Spearman's correlation of number "
        "and level) less the trend in a family where the same number is harmless, signed as expected; from -2 to 2.",
    )  # fmt: skip


def explanations(found: Sequence[Explanation]) -> Table:
    return Table(
        "Explanations",
        ("latent", "a language model's sentence", "detection [95 %]", "another latent's", "hard negatives", "excerpts",
         "fuzzing [95 %]", "another's", "marked excerpts", "written by", "scored by"),
        [
            (
                Latents((one.latent,)), one.text or "no answer could be read",
                Estimate(one.detection, one.detection_low, one.detection_high), Estimate(one.detection_shuffled),
                Estimate(one.detection_hard), one.n_firing + one.n_silent, Estimate(one.fuzzing, one.fuzzing_low, one.fuzzing_high),
                Estimate(one.fuzzing_shuffled), one.n_right + one.n_wrong, one.model, one.scorer,
            )
            for one in found
        ],
        "AUROC of ratings by the sentence alone: which held-out excerpts hold a firing, and which marked tokens are right.",
    )  # fmt: skip


def latent(number: int, card: FeatureCard | None, rating: Affect | None, said: Explanation | None) -> Table:
    """What is known of one latent."""
    pairs: list[tuple[str, Cell]] = []
    if card:
        near = zip(card.nearest, card.nearest_cosine, strict=False)
        pairs += [
            ("in the labels of", ", ".join(card.concepts) or "no chosen label"),
            ("fires at", f"{card.density:.2%} of tokens, mean {card.mean_active:.3g}, peak {card.peak:.3g}"),
            ("promotes", Tokens(tuple(card.promoted))),
            ("suppresses", Tokens(tuple(card.suppressed))),
            ("nearest", ", ".join(f"{other} ({cosine:.2f})" for other, cosine in near)),
        ]
    if rating:
        n = f"n = {rating.n_texts} texts of {rating.n_concepts} concepts"
        for name in ("valence", "arousal"):
            r = estimate_of(rating, f"{name}_r", name, sign=True)
            slope = Estimate(getattr(rating, f"{name}_slope"), sign=True)
            pairs.append((f"{name}, r", f"{r}, slope {slope} points a dose unit; {n}"))
    if said:
        detection = Estimate(said.detection, said.detection_low, said.detection_high)
        fuzzing = Estimate(said.fuzzing, said.fuzzing_low, said.fuzzing_high)
        pairs += [
            ("explained", f"{said.text or 'no answer could be read'} ({said.model})"),
            ("detection", f"{detection}, hard {Estimate(said.detection_hard)}, another latent's sentence "
                          f"{Estimate(said.detection_shuffled)}, n = {said.n_firing} + {said.n_silent}"),
            ("fuzzing", f"{fuzzing}, another latent's {Estimate(said.fuzzing_shuffled)}, n = {said.n_right} + {said.n_wrong}"),
        ]  # fmt: skip
    return facts(f"Latent {number}", pairs)


def of_records(title: str, records: Sequence[Any], columns: Mapping[str, str], note: str = "") -> Table:
    """A table with a row a record: head -> field; a field with `_low` and `_high` (or `low` and `high`) beside it has its
    interval."""

    def cell(record: Any, name: str) -> Cell:
        value = getattr(record, name)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if not isinstance(value, float):
            return ", ".join(map(str, value)) if isinstance(value, list) else value
        if name == "p":
            return Chance(value)
        if name in ("auroc", "effect"):
            return Estimate(value, record.low, record.high)
        return estimate_of(record, name, name.removesuffix("_median"))

    rows = [tuple(cell(record, name) for name in columns.values()) for record in records]
    return Table(title, tuple(columns), rows, note)


BESIDE: dict[str, tuple[str, dict[str, str], str]] = {
    "transfer_ratings": (
        "Labels against human ratings of other texts",
        {"data": "data", "rating": "rating", "method": "method", "Spearman's r [95 %]": "spearman", "Pearson's r [95 %]": "pearson",
         "null, 95th percentile": "pearson_null", "concepts": "n_concepts", "texts": "n"},
        "",
    ),
    "ablations": (
        "Ablations",
        {"metric": "metric", "group": "kind", "name": "name", "on": "target", "effect [95 %]": "effect", "controls' mean": "control_mean",
         "5th": "control_low", "95th percentile": "control_high", "p": "p", "controls": "n_controls", "n": "n"},
        "Beside random groups of as many latents that fire as often. p: two-sided rank among them, not corrected for the number of tests.",
    ),
    "geometry_tests": (
        "Geometry of the directions",
        {"directions": "source", "what": "what", "value": "value", "null": "null_median", "p": "p", "concepts": "n"},
        "The null is as many other directions that carry the same ratings; its interval holds the middle 95 %.",
    ),
    "agreements": (
        "The same labels in other SAEs",
        {"concept": "concept", "study": "study", "other": "other", "held": "held", "held there": "other_held", "cosine": "cosine",
         "null": "cosine_null", "nearest latent": "nearest", "its null": "nearest_null", "Spearman's r [95 %]": "r", "null of r": "r_null",
         "texts": "n"},
        "Nulls are 95th percentiles over labels of different families, or over latents of no label.",
    ),
}  # fmt: skip
"""Tables of other journeys, shown where they were made: title, head -> field, note."""


def transfer(found: Sequence[Transfer]) -> Table:
    """A line a label of a data set, methods side by side, and each data set's medians where it has several labels."""
    methods = list(dict.fromkeys(one.method for one in found))
    rows: list[tuple[Cell, ...]] = []
    for data in dict.fromkeys(one.data for one in found):
        mine = [one for one in found if one.data == data]
        names = list(dict.fromkeys((one.label, one.concept) for one in mine))
        for label, concept in names:
            by_method = {one.method: one for one in mine if (one.label, one.concept) == (label, concept)}
            one = next(iter(by_method.values()))
            scores = [
                Estimate(by_method[name].auroc, by_method[name].low, by_method[name].high)
                if name in by_method
                else None
                for name in methods
            ]
            rows.append((data, label, concept, "yes" if one.held else "no", *scores, one.n_positive, one.n_negative))
        if len(names) < 2:
            continue
        for said, some in (("median", mine), ("median of held ones", [one for one in mine if one.held])):
            middles = [middle(one.auroc for one in some if one.method == name) for name in methods]
            if some:
                rows.append((data, said, "", "", *(Estimate(one.value) for one in middles), None, None))
    return Table(
        "Labels on texts of other data sets",
        ("data", "its label", "concept", "held here", *(f"{CARRIED.get(name, name)} [95 %]" for name in methods),
         "n+", "n\u2212"),
        rows,
        "AUROC of the frozen labels; nothing was chosen on these texts. Length: the number of tokens alone.",
    )  # fmt: skip


def transfer_ratings(found: Sequence[TransferRating]) -> Table:
    title, columns, note = BESIDE["transfer_ratings"]
    return of_records(title, found, columns, note)


def beside(read: Callable[[str], Sequence[Any]]) -> dict[str, Table]:
    own = {"transfer": transfer(rows)} if (rows := read("transfer")) else {}
    return own | {
        name: of_records(title, records, columns, note).filled()
        for name, (title, columns, note) in BESIDE.items()
        if (records := read(name))
    }


def provenance(info: StudyInfo) -> Table:
    release = info.settings.get("sae_lens_release")
    return facts(
        "Provenance",
        [
            ("model", info.model),
            ("revision", info.site.partition("@")[2].partition("?")[0] or "the model's default"),
            ("site", info.site),
            ("SAE", f"{release} {info.sae_folder}" if release else info.sae_folder),
            ("SAE's sha256", info.sae_hash),
            ("concept set", info.concept_set),
            ("its hash", info.concept_hash),
            ("sealed texts", "opened" if info.opened_sealed else "not opened"),
            ("command", info.command),
            ("tool", f"emotion-saes {info.version}" + (f", commit {info.commit}" if info.commit else "")),
            ("date", info.created),
            ("schema", str(info.schema)),
        ],
    )


def settings(info: StudyInfo) -> Table:
    """Every setting, nested ones by dotted name."""
    rows: list[tuple[Cell, ...]] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else str(name), inner)
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((prefix, shown))

    walk("", info.settings)
    return Table("Settings", ("setting", "value"), rows)
