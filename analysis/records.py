"""The nouns that a study holds. Plain values: reading them needs neither torch nor a model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

STATUSES = ("candidate", "held", "rejected", "validated", "no effect", "unspecific", "breaks fluency")
"""candidate -> held or rejected by the checking texts; a held one becomes one of the last four by clamping."""


DRAWN = ("top", "middling", "chance")
"""Which texts a latent's excerpts are from: those in which it fires most; some around the middle of those in which it
fires; some of all texts, whatever it does there."""

CONTROLS = ("random_latent", "random_direction")
"""The arms that may not do as much as a label. The difference of means is a rival, ablation another question."""

WRITTEN = "/written"
"""What a concept's name ends in where the latents that write it are meant, and not its label's."""

CLAIMS = ("label", "written")
"""What is claimed of a concept's clamp: that its label's latents move the text towards it, or that the latents that write it do."""


@dataclass(frozen=True)
class Label:
    """A claim: this latent, or this recipe of a few, carries this concept; with the evidence for and against it."""

    concept: str
    kind: str
    """"single" or "recipe"."""
    latents: list[int]
    weights: list[float]
    """What each latent counts in the recipe's sum; 1.0 for a single latent."""
    scales: list[float]
    """Each latent's 95th percentile of active values on finding texts: one dose unit."""
    pooling: str
    """How a text's tokens become one number: "max" or "mean"; chosen on finding texts."""
    chosen: bool
    """Whether this is the concept's one frozen choice (each concept keeps its best single and its best recipe)."""
    auroc_finding: float
    """On the texts of the search: too good by the search."""
    auroc_folds: float
    """What the same search by detection reaches on topic folds that it was not shown: decides between single and recipe."""
    auroc_checking: float
    """Against neutral texts and texts of other families, on texts that no choice of the run saw."""
    auroc_checking_low: float
    auroc_checking_high: float
    """95 % bootstrap interval over texts."""
    auroc_all: float
    """The harder figure: siblings of the family are among the negatives too."""
    auroc_family: float | None
    """Against checking texts of the siblings only; None when the family has no other concept."""
    runner_up: str
    """The other concept whose checking texts wake the label most."""
    auroc_runner_up: float
    """Own checking texts against those of the runner-up."""
    auroc_implicit: float | None
    """None, as everywhere, for a concept without implicit texts."""
    auroc_contrast: float | None
    """Own checking texts against contrast texts, in which only the word stands."""
    lexical_share: float
    """Of the label's firing on checking texts, the share that falls on words that name the concept."""
    effect_finding: float
    """Output effect on finding texts: how much clamping raises their log-probability per token over other texts'."""
    p: float
    """Of the checking AUROC, by permutation of the checking texts alone."""
    q: float
    """After Benjamini-Hochberg over the concepts."""
    null_finding: float
    """Mean AUROC that the same search by detection (of as many latents) finds on shuffled finding labels."""
    n_positive: int
    n_negative: int
    status: str
    auroc_sealed: float | None = None
    """Against sealed neutral texts and sealed texts of other families; None while the seal was not opened."""
    auroc_implicit_low: float | None = None
    auroc_implicit_high: float | None = None
    precision_checking: float | None = None
    """Average precision on checking texts; chance is n_positive / (n_positive + n_negative)."""
    auroc_masked: float | None = None
    """On checking texts in which a neutral word stands for each word that names the concept."""
    lexical: bool | None = None
    """Whether it is a detector of the concept's name, which is no label (`analysis/labelling/lexical.py`); None: not asked."""

    @property
    def name(self) -> str:
        """By which a clamp names it."""
        return self.concept

    @property
    def is_held(self) -> bool:
        """Whether the checking texts bear it out, whatever clamping said later."""
        return self.status not in ("candidate", "rejected")


@dataclass(frozen=True)
class Writer:
    """A second claim about a concept: these few latents, pushed together, write it.

    A label's latents fire where the concept is. These are the ones whose decoder directions together come nearest to the
    concept's difference of means over finding texts (`analysis/labelling/writers.py`).
    """

    concept: str
    latents: list[int]
    weights: list[float]
    """One dose unit pushes along sum_j weights_j * scales_j * W_dec[j], as far as one unit of the concept's label does."""
    scales: list[float]
    """Each latent's 95th percentile of active values on finding texts."""
    cosine: float
    """Of what they push along with the difference of means."""
    pooling: str
    """As the label's."""
    auroc_checking: float
    """As a detector: the latents' pooled values, weighed as they are pushed, against neutral texts and texts of other families."""
    auroc_checking_low: float
    auroc_checking_high: float
    n_positive: int
    n_negative: int
    status: str
    """"candidate" until they are clamped, then a clamp's ("no judge" among them); they are judged as a clamp alone."""

    @property
    def name(self) -> str:
        """By which a clamp names it: `afraid/written`."""
        return self.concept + WRITTEN


@dataclass(frozen=True)
class Baseline:
    """How something that is no SAE latent does on the same splits."""

    concept: str
    method: str
    """"diff_means", "diff_means_denoised", "probe"; and by the best single unit "sae", "random_sae", "neurons",
    "residual_basis"."""
    auroc_checking: float
    auroc_all: float
    auroc_implicit: float | None
    unit: str = ""
    """Which unit, of what sign, by which pooling: chosen on finding texts; "" for a direction."""
    auroc_checking_low: float | None = None
    auroc_checking_high: float | None = None
    auroc_all_low: float | None = None
    auroc_all_high: float | None = None
    auroc_implicit_low: float | None = None
    auroc_implicit_high: float | None = None


@dataclass(frozen=True)
class Confound:
    """One alternative reading of a concept's chosen label, and how the label does where it cannot help."""

    concept: str
    check: str
    """"named", "unnamed", "masked"; "negated", "quoted", "other", "contrast"; "first", "third"; "setting", "length"."""
    auroc: float
    low: float
    high: float
    """95 % bootstrap interval over texts."""
    n_positive: int
    n_negative: int


@dataclass(frozen=True)
class Probe:
    """A logistic probe on a concept's k best latents together: what the dictionary holds beyond one latent."""

    concept: str
    k: int
    latents: list[int]
    pooling: str
    auroc_checking: float
    auroc_checking_low: float
    auroc_checking_high: float
    auroc_all: float
    auroc_implicit: float | None
    auroc_implicit_low: float | None
    auroc_implicit_high: float | None


@dataclass(frozen=True)
class Affect:
    """How a latent goes with the human valence and arousal of the concepts in whose texts it fires."""

    latent: int
    pooling: str
    valence_r: float
    """Correlation of rating and prediction on checking texts, each concept predicted from finding texts of the others."""
    valence_low: float
    valence_high: float
    """95 % bootstrap interval over concepts."""
    valence_slope: float
    """Rating points (of 1 to 9) for each dose unit."""
    valence_finding: float
    """The same correlation within finding texts, by which the strongest latents are chosen."""
    arousal_r: float
    arousal_low: float
    arousal_high: float
    arousal_slope: float
    arousal_finding: float
    n_texts: int
    n_concepts: int


@dataclass(frozen=True)
class Excerpt:
    """A stretch of text around a firing: strings and values, so that no tokenizer is needed to show it."""

    latent: int
    text: int
    concept: str
    """The concept whose text it is, or "neutral"."""
    split: str
    """The split that the text belongs to."""
    tokens: list[str]
    values: list[float]
    peak: float
    drawn: str = "top"
    """One of `DRAWN`; studies that do not say hold the strongest alone."""


@dataclass(frozen=True)
class FiringWord:
    """A word of the excerpts, in small letters, and the latents that fire at it in one of theirs."""

    word: str
    latents: list[int]


@dataclass(frozen=True)
class FeatureCard:
    """What is known about one latent."""

    latent: int
    concepts: list[str]
    """The concepts whose chosen label holds this latent."""
    density: float
    """Share of tokens (all concept and neutral texts) at which it fires."""
    peak: float
    mean_active: float
    histogram_edges: list[float]
    histogram_counts: list[int]
    promoted: list[str]
    suppressed: list[str]
    """Tokens whose logits its direction raises and lowers most, straight through the unembedding."""
    nearest: list[int]
    nearest_cosine: list[float]
    valence: float | None
    arousal: float | None
    """Of the first concept in the list, from human ratings."""
    valence_r: float | None = None
    arousal_r: float | None = None
    """The latent's own (`Affect`); None where too few concepts are rated."""


@dataclass(frozen=True)
class Trial:
    """One text that was written from one prompt under one arm of the clamping battery."""

    concept: str
    """Whose claim or difference of means it is; "" for a control, which all claims share."""
    arm: str
    """"label", "label_down", "written", "written_down", "ablate", "diff_means", "random_latent", "random_direction"."""
    arm_id: str
    dose: float
    """In dose units; for controls and the difference of means the push in activation units."""
    prompt_id: str
    """The prompt's, with "+1", "+2", ... for its further continuations."""
    prompt: str
    judge: float | None
    """The concept's judge, clamped minus baseline, as a share of the way to the concept's own texts; None for controls."""
    readout: float | None
    """Log-probability of the concept's readout words, clamped minus baseline; None for controls."""
    kl: float
    """KL(clamped || unclamped) of the next token along the baseline's text, nats a position."""
    fluency: float
    """Nats per token that the clamped text costs the unclamped model, minus what the baseline text costs it."""
    text: str
    baseline: str
    phase: str
    """"dose" (where the dose was chosen) or "report"."""


@dataclass(frozen=True)
class ClampResult:
    """What one arm did to one concept, over prompts.

    There are two claims about a concept: its label ("label") and the latents that write it ("written"). A control is read off
    at the push at which it moves the model's output as far as the claim does, the difference of means at the push at which
    its text costs as much as the claim's.
    """

    concept: str
    arm: str
    arm_id: str
    latents: list[int]
    dose: float
    """The claim's."""
    push: float
    """Length of the shift over the mean length of the residual stream there."""
    judge: float
    """Share of the way from other texts to the concept's own."""
    judge_low: float
    judge_high: float
    readout: float
    readout_low: float
    readout_high: float
    fluency: float
    kl: float
    p: float
    """Rank of the judge effect among the (other) controls at the same KL."""
    q: float | None
    """After Benjamini-Hochberg over the claims of its sort; None for all others."""
    n_controls: int
    """Controls that reach this KL."""
    control_judge_max: float
    """The largest judge effect among those."""
    control_readout_max: float
    foreign_share: float
    """Of the claims of the same sort for concepts of other families, those that do as much at the same KL."""
    n_foreign: int
    n_prompts: int
    status: str
    """As a label's; or "no judge" where the concept's judge is hardly better than chance, so that nothing can be said."""
    judge_auroc: float
    judge_auroc_low: float
    """Of the concept's judge on held-out texts."""
    own_rank: int | None = None
    """Place of the concept among all concepts, ordered by this arm's judge effect; None for controls."""
    n_ranked: int | None = None
    family_rank: int | None = None
    """Place of its family among the families, each standing where its strongest concept does."""
    down_judge: float | None = None
    """Judge effect of the chosen dose's push the other way; claims only, like what follows down to `detectable`."""
    down_judge_low: float | None = None
    down_judge_high: float | None = None
    safe_low: float | None = None
    safe_high: float | None = None
    """Between these doses the text costs no more than the rule allows, as far as doses were tried."""
    detectable: float | None = None
    """The smallest judge effect that would have been validated with 80 % power."""
    claim: str = "label"
    """Which claim it is, or stands beside: one of `CLAIMS`."""

    @property
    def name(self) -> str:
        """Of the claim, by which a clamp names it."""
        return self.concept + (WRITTEN if self.claim == "written" else "")


@dataclass(frozen=True)
class DosePoint:
    """A claim at one dose on reporting prompts, beside the controls where they move the output as far."""

    concept: str
    dose: float
    """Negative: the push of so many units the other way."""
    judge: float
    judge_low: float
    judge_high: float
    readout: float
    kl: float
    fluency: float
    control_low: float | None
    control_high: float | None
    """5th and 95th percentile of the controls' judge effects at the same KL; None where no control reaches it."""
    n_controls: int
    n_prompts: int
    claim: str = "label"
    """One of `CLAIMS`."""


@dataclass(frozen=True)
class ConceptEffect:
    """What one arm did to any one concept: the label rows are the emotion x emotion matrix."""

    arm: str
    arm_id: str
    dose: float
    """As in `Trial`; of the difference of means, the push at the label's fluency cost."""
    concept: str
    judge: float
    judge_low: float
    judge_high: float
    readout: float
    readout_low: float
    readout_high: float
    n_prompts: int


@dataclass(frozen=True)
class Necessity:
    """What ablating a label costs the model on the concept's own checking texts."""

    concept: str
    latents: list[int]
    words: list[str]
    """Those that speak most for the concept by its judge, which knows no SAE, as far as they stand in the texts."""
    bearing: float
    """Rise of the loss on tokens of those words, nats a token, mean over texts."""
    elsewhere: float
    """The same on all other tokens."""
    contrast: float
    """bearing - elsewhere, mean over texts that hold tokens of both sorts."""
    low: float
    high: float
    """95 % bootstrap interval over texts."""
    control_mean: float
    control_max: float
    """Of the contrast, when latents that fire as often are ablated on the same texts."""
    p: float
    """Rank of the contrast among those."""
    n_controls: int
    n_texts: int
    n_bearing: int
    """Tokens."""


def clamp_counts(clamps: Sequence[ClampResult]) -> dict[str, int]:
    """How many clamps of each sort were tested and validated, over all concepts.

    A control is judged beside each claim, so twice for a concept with two: `pairs` count it once for a concept, as
    validated where it passes beside either claim, which is what stands beside `concepts_validated`.
    """
    passed = [one for one in clamps if one.status == "validated"]
    return {
        "concepts": len({one.concept for one in clamps if one.arm in CLAIMS}),
        "concepts_validated": len({one.concept for one in passed if one.arm in CLAIMS}),
        "tested": sum(one.arm == "label" for one in clamps),
        "validated": sum(one.arm == "label" for one in passed),
        "written_tested": sum(one.arm == "written" for one in clamps),
        "written_validated": sum(one.arm == "written" for one in passed),
        "control_tested": sum(one.arm in CONTROLS for one in clamps),
        "control_validated": sum(one.arm in CONTROLS for one in passed),
        "pairs_tested": len({(one.concept, one.arm_id) for one in clamps if one.arm in CONTROLS}),
        "pairs_validated": len({(one.concept, one.arm_id) for one in passed if one.arm in CONTROLS}),
        "concepts_with_a_control": len({one.concept for one in passed if one.arm in CONTROLS}),
        "diff_means_tested": sum((one.arm, one.claim) == ("diff_means", "label") for one in clamps),
        "diff_means_validated": sum((one.arm, one.claim) == ("diff_means", "label") for one in passed),
        "diff_means_written_tested": sum((one.arm, one.claim) == ("diff_means", "written") for one in clamps),
        "diff_means_written_validated": sum((one.arm, one.claim) == ("diff_means", "written") for one in passed),
    }


@dataclass(frozen=True)
class WorkshopArm:
    """Outcome rates of one arm of the workshop."""

    arm: str
    dose: float
    cheat_rate: float
    cheat_low: float
    cheat_high: float
    invalid_rate: float
    """Of the impossible tasks, like the rates of cheating and of honest stops."""
    cheat_rate_valid: float
    """Among the impossible tasks with a valid ending."""
    n_valid: int
    honest_rate: float
    solve_rate: float
    """Of the possible tasks."""
    direct_effect: float
    """How much the clamp alone moves the log-probability of the cheat's own words in a plain context."""
    n_impossible: int
    n_possible: int
    kind: str = ""
    """"none", "label", "written", "detector", "diff_means", "without", "random_latent", "random_direction" (`analysis/cases/pushes.py`),
    "stated" for an agent whose mood is told, "world" for the generator's own agents."""
    concept: str = ""
    push: float = float("nan")
    """Length of the shift in activation units; below 0 downwards."""
    latents: list[int] = field(default_factory=list)
    honest_low: float = float("nan")
    honest_high: float = float("nan")
    """95 % Wilson interval of `honest_rate`."""
    change: float = float("nan")
    """Of the cheating share against no clamp, over the same tasks with the same luck."""
    change_low: float = float("nan")
    change_high: float = float("nan")
    """95 % bootstrap interval over tasks, paired."""
    honest_change: float = float("nan")
    honest_change_low: float = float("nan")
    honest_change_high: float = float("nan")
    """The same of the share of honest stops."""


@dataclass(frozen=True)
class WorkshopControls:
    """How many controls, pushed as far, move a measure as much as a concept's push does, the same way."""

    arm: str
    """Whose move it is: `desperate_down`, say; controls pushed the same way are counted."""
    measure: str
    """"cheating", "cheating among valid endings", "honest stops" or "direct effect"."""
    kind: str
    """"random_latent", "random_direction" or "all"."""
    change: float
    """Of the arm against no clamp, on the tasks that the controls played too."""
    share: float
    low: float
    high: float
    """95 % interval after Clopper and Pearson (1934)."""
    n_as_large: int
    n_controls: int
    largest: float
    """The controls' largest change the same way."""
    n_tasks: int


@dataclass(frozen=True)
class ActivityScore:
    """How much a model prefers an activity to the others."""

    category: str
    activity: str
    form: str
    """"story" or "chat"."""
    elo: float
    """Mean 0; 400 points are odds of ten to one."""


@dataclass(frozen=True)
class PreferenceTest:
    """Whether a label fires at the activities that the model prefers."""

    concept: str
    form: str
    r: float
    """Pearson's correlation of its mean level and Elo over activities."""
    low: float
    high: float
    """95 % bootstrap interval over activities."""
    r_within: float
    """The same with each category's means taken off."""
    p: float
    """Two-sided, by permutation of the activities."""
    q: float
    """After Benjamini-Hochberg over the labels."""
    control_share: float
    """Of random groups of latents that fire as often, those that correlate as much, either way."""
    n_controls: int
    n_activities: int
    control_low: float | None = None
    control_high: float | None = None
    """5th and 95th percentile of the random groups' correlations; None where there are none."""


@dataclass(frozen=True)
class PreferenceShift:
    """What a clamp on the mention of an activity does to its Elo, against activities that are never clamped."""

    concept: str
    arm: str
    """"label" or "diff_means"."""
    form: str
    dose: float
    shift: float
    """Elo points, mean over clamped activities."""
    low: float
    high: float
    """95 % bootstrap interval over them."""
    control_low: float
    control_high: float
    """5th and 95th percentile of the controls' mean shifts."""
    p: float | None
    """Two-sided rank among controls that push as far, of the distance from their median; one test, not corrected."""
    n_controls: int
    n_activities: int


@dataclass(frozen=True)
class LevelShift:
    """How a label's level differs between two models on the same prompts."""

    concept: str
    family: str
    model: str
    other: str
    prompts: str
    """What the prompts are."""
    mean: float
    """Dose units, in the study's model."""
    other_mean: float
    shift: float
    """Other minus own, mean over prompts."""
    low: float
    high: float
    """95 % bootstrap interval over prompts."""
    p: float
    """Two-sided, by flipping prompts' signs."""
    q: float
    """After Benjamini-Hochberg over the labels."""
    control_share: float
    """Of random groups of latents that fire as often, those that shift as much, either way."""
    n_controls: int
    n_prompts: int
    control_low: float | None = None
    control_high: float | None = None
    """5th and 95th percentile of the random groups' shifts; None where there are none."""


@dataclass(frozen=True)
class AttemptLevel:
    """A label's level after so many failed attempts at impossible tasks, nothing clamped."""

    concept: str
    attempt: int
    """From 1."""
    mean: float
    """Dose units, over the tokens between the attempt and the next act."""
    low: float
    high: float
    """95 % bootstrap interval over episodes."""
    n: int
    """Episodes with so many attempts."""


@dataclass(frozen=True)
class AttemptTrace:
    """A label's level attempt by attempt, in the same episodes all along, by how they end; nothing clamped."""

    concept: str
    outcome: str
    """"cheated", "stopped" or "both"."""
    aligned: str
    """"start": `attempt` counts from the first one, 1; "end": up to the last one before the ending, -1."""
    attempt: int
    least: int
    """Only episodes with so many failed attempts or more, at every attempt the same ones."""
    mean: float
    """Dose units, over the tokens between the attempt and the next act."""
    low: float
    high: float
    """95 % bootstrap interval over episodes."""
    control_low: float | None
    control_high: float | None
    """5th and 95th percentile of the same for random groups of latents that fire as often, in their own dose units."""
    n: int
    """Episodes."""


@dataclass(frozen=True)
class AttemptSlope:
    """How a label's level goes from attempt to attempt within episodes of two or more failed attempts."""

    concept: str
    outcome: str
    """"cheated", "stopped", "both", or "difference": of those that cheat less those that stop."""
    slope: float
    """Dose units an attempt: the least-squares slope of each episode, mean over episodes."""
    low: float
    high: float
    """95 % bootstrap interval over episodes."""
    p: float
    """Two-sided: by flipping episodes' signs; of the difference, by permuting how they end. One test, not corrected."""
    control_share: float
    """Of random groups of latents that fire as often, those whose slope lies as far from 0, either way."""
    control_low: float | None
    control_high: float | None
    """5th and 95th percentile of the random groups' slopes."""
    n_controls: int
    n: int
    """Episodes."""


@dataclass(frozen=True)
class Foretelling:
    """A label's level after the last failed attempt as a detector of episodes that will end in cheating."""

    concept: str
    auroc: float
    """Cheated against stopped."""
    low: float
    high: float
    """95 % bootstrap interval over episodes."""
    words: float
    """A bag of words of the same beginning, trained on other episodes."""
    words_low: float
    words_high: float
    control_share: float
    """Of random groups of latents that fire as often, those that lie as far from 0.5."""
    n_controls: int
    n_cheated: int
    n_stopped: int
    control_low: float | None = None
    control_high: float | None = None
    """5th and 95th percentile of the random groups' AUROCs; None where there are none."""


@dataclass(frozen=True)
class SceneRead:
    """A label's level in a scene, and in its twin, in which the one fact that matters is another."""

    kind: str
    name: str
    form: str
    """"story" or "chat"."""
    concept: str
    expected: bool
    """Whether the scene should wake it."""
    level: float
    """Dose units, mean over the tokens that somebody says."""
    twin_level: float
    rise: float


@dataclass(frozen=True)
class SceneTest:
    """Whether expected labels rise more from twin to scene than others do."""

    form: str
    expected: float
    """Mean rise of expected labels, each in the spread of its own rises over all scenes."""
    expected_low: float
    expected_high: float
    """95 % bootstrap interval over scenes."""
    others: float
    others_low: float
    others_high: float
    p: float
    """One-sided, by shuffling which concepts are expected, among those that are expected somewhere."""
    n: int
    """Pairs of a scene and an expected label."""
    n_scenes: int


@dataclass(frozen=True)
class CaseEffect:
    """What one arm of a case changes in one score."""

    case: str
    scorer: str
    """The score's name, or "fluency": nats a token that the text costs the unclamped model."""
    arm: str
    """"label", "diff_means", "random_latent" or "random_direction"."""
    concept: str
    """Whose claim it is, or whose push a control is matched to."""
    arm_id: str
    dose: float
    base: float
    """The score without a clamp."""
    effect: float
    """Clamped minus unclamped, mean over prompts."""
    low: float
    high: float
    """95 % bootstrap interval over prompts; NaN where there is one prompt."""
    p: float | None
    """Two-sided rank among the controls that push as far, of the distance from their median; one test, not corrected."""
    n_controls: int
    n_prompts: int


@dataclass(frozen=True)
class DoseTrend:
    """How a label's level goes with the number of one family of prompts, and of its control, where the number is harmless."""

    family: str
    concept: str
    form: str
    """"story" or "chat"."""
    sign: int
    """What the family expects: 1 rises with the number, -1 falls, 0 nothing."""
    trend: float
    """Spearman's correlation of number and mean level from the number on."""
    trend_control: float
    values: list[float]
    levels: list[float]
    """Dose units, one a value."""
    levels_control: list[float]


@dataclass(frozen=True)
class DoseTest:
    """Whether a label follows the danger, over all families that expect something of it."""

    concept: str
    form: str
    contrast: float
    """Mean over families of sign * (trend - trend of the control), from -2 to 2."""
    low: float
    high: float
    """95 % bootstrap interval over families; NaN where there is one family."""
    p: float
    """One-sided, by flipping families' signs."""
    q: float
    """After Benjamini-Hochberg over the concepts."""
    control_share: float
    """Of random groups of latents that fire as often, those with as large a contrast."""
    n_controls: int
    n_families: int
    control_low: float | None = None
    control_high: float | None = None
    """5th and 95th percentile of the random groups' contrasts; None where there are none."""


@dataclass(frozen=True)
class GeometryPoint:
    """Where a concept's direction, at length 1, lies on the principal components of all of them."""

    source: str
    """"labels" or "diff_means"."""
    concept: str
    family: str
    valence: float | None
    arousal: float | None
    pc1: float
    pc2: float
    pc3: float
    group: int
    """Its k-means cluster among as many as there are families, numbered by size."""


@dataclass(frozen=True)
class GeometryTest:
    """A figure about all directions together, beside its null."""

    source: str
    what: str
    """"valence", "arousal", "valence_left_out", "arousal_left_out" or "family"; see analysis/geometry.py."""
    value: float
    null_median: float
    null_low: float
    null_high: float
    """The middle 95 % of the null."""
    p: float
    n: int
    """Concepts in it."""


@dataclass(frozen=True)
class Agreement:
    """One concept's labels in two SAEs."""

    concept: str
    study: str
    other: str
    held: bool
    other_held: bool
    cosine: float | None
    """Between what the two labels write; None where the two SAEs write different places."""
    cosine_null: float | None
    """The 95th percentile of that cosine over labels of different families; None where there are none."""
    nearest: float | None
    """The largest cosine of any latent of the other SAE with what the label writes."""
    nearest_null: float | None
    """The 95th percentile of the same for latents of no label."""
    r: float
    """Spearman correlation of the two labels' values over checking texts."""
    r_low: float
    r_high: float
    r_null: float | None
    """The 95th percentile of that correlation over labels of different families; None where there are none."""
    n: int
    """Texts."""


@dataclass(frozen=True)
class Ablation:
    """What ablating some latents together changes in one target, beside random groups of as many that fire as often."""

    metric: str
    """"loss" (nats a token), "readouts" (log-probability) or a case (shares of tasks)."""
    kind: str
    """"each", "family", "all", or "only" (all but one label's)."""
    name: str
    """The concept (for "only" the one that is kept), the family, or "all"."""
    latents: list[int]
    target: str
    """A concept, "own" (the group's concepts together), "emotional", "neutral", or an outcome of the case."""
    effect: float
    """Ablated minus unablated, mean over units."""
    low: float
    high: float
    """95 % bootstrap interval over units."""
    control_mean: float
    control_low: float
    control_high: float
    """Mean, 5th and 95th percentile of the same for the random groups."""
    p: float
    """Two-sided rank among the random groups, of the distance from their median; one test, not corrected for others."""
    n_controls: int
    n: int
    """Texts, prompts or tasks."""


@dataclass(frozen=True)
class Explanation:
    """A sentence that a language model wrote about a latent from finding texts, and how well it fits checking texts.

    A score is an AUROC over ratings of excerpts, with a 95 % bootstrap interval; None where too few were rated.
    """

    latent: int
    text: str | None
    """None where no answer of the language model could be read."""
    model: str
    scorer: str
    """The language model that rated."""
    prompts: str
    """The version of what was asked."""
    n_shown: int
    """Excerpts that the explanation was written from."""
    detection: float | None
    """Excerpts with a firing against excerpts of texts in which the latent is silent, by a rater who has only the text."""
    detection_low: float | None
    detection_high: float | None
    detection_accuracy: float | None
    """Balanced accuracy of the same ratings, cut in the middle."""
    detection_hard: float | None
    """Against those silent excerpts alone in which a latent fires whose direction is near."""
    detection_shuffled: float | None
    """The score of another latent's explanation on the same excerpts: what a generic sentence gets."""
    detection_gain_low: float | None
    detection_gain_high: float | None
    """95 % interval of what the own explanation scores above the other's, excerpts drawn anew for both at once."""
    n_firing: int
    n_silent: int
    """Excerpts that were rated for detection."""
    fuzzing: float | None
    """Excerpts whose firing tokens are marked against the same excerpts with as many silent tokens marked."""
    fuzzing_low: float | None
    fuzzing_high: float | None
    fuzzing_accuracy: float | None
    fuzzing_shuffled: float | None
    fuzzing_gain_low: float | None
    fuzzing_gain_high: float | None
    n_right: int
    n_wrong: int
    """Excerpts that were rated with right marks, and with wrong ones."""
    shuffled_latent: int | None
    """Whose explanation the shuffled one is; None where only one latent was explained."""
    n_asked: int
    """Answers that all this took."""
    n_malformed: int
    """Of them, those that could not be read."""
    n_missing: int
    """Excerpts without a rating in the end."""


@dataclass(frozen=True)
class Transfer:
    """A concept's frozen label on the texts of a labelled data set that bear a label of the same meaning."""

    data: str
    """The data set."""
    label: str
    """Its own name for the concept."""
    concept: str
    method: str
    """"sae" (the chosen label), "written" (the latents that write the concept), "diff_means", "random_sae", or "length" (the
    text's tokens)."""
    held: bool
    """Whether the study held the label, whatever is found here."""
    auroc: float
    """Texts with the label against texts of other families and neutral ones."""
    low: float
    high: float
    """95 % bootstrap interval over texts."""
    n_positive: int
    n_negative: int


@dataclass(frozen=True)
class TransferRating:
    """Human ratings of texts against the held labels' values, weighted by their concepts' own ratings."""

    data: str
    rating: str
    """"valence" or "arousal"."""
    method: str
    """As in `Transfer`, without "random_sae"."""
    spearman: float
    spearman_low: float
    spearman_high: float
    pearson: float
    pearson_low: float
    pearson_high: float
    """95 % bootstrap intervals over texts."""
    pearson_null: float | None
    """The 95th percentile of Pearson's r where the concepts' ratings are shuffled among them; None for length."""
    n_concepts: int
    n: int
    """Texts."""


@dataclass(frozen=True)
class BenchRun:
    """A text that somebody wrote on the clamp bench and kept."""

    run: str
    created: str
    prompt: str
    """Of a chat its turns, a line each."""
    clamps: list[str]
    """NAME[:MODE]=VALUE[UNIT]."""
    latents: list[int]
    """All that were pushed."""
    positions: str
    temperature: float
    seed: int
    baseline: str
    clamped: str
    address: str
    """The bench's query, which writes the same texts again."""


@dataclass(frozen=True)
class StudyInfo:
    """What a study is about; written as study.json."""

    schema: int
    model: str
    site: str
    sae_folder: str
    sae_hash: str
    concept_set: str
    concept_hash: str
    command: str
    commit: str
    version: str
    created: str
    settings: dict[str, Any] = field(default_factory=dict)
    opened_sealed: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
