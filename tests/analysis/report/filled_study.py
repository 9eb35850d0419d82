"""A study with something in every table, hostile strings among them."""

from dataclasses import replace

from analysis.records import (
    Ablation,
    Affect,
    Agreement,
    Baseline,
    ClampResult,
    ConceptEffect,
    Confound,
    DosePoint,
    Excerpt,
    FeatureCard,
    GeometryTest,
    Label,
    Necessity,
    Probe,
    StudyInfo,
    Transfer,
    TransferRating,
    Trial,
    WorkshopArm,
    Writer,
)
from analysis.study import SCHEMA, Study

HOSTILE = "<script>alert('x')</script>\"&'"
WRITTEN_BY = {"sad": [61, 62], "desperate": [63, 64]}
"""Latents that write a concept: a claim beside the labels of these."""
WRITTEN_STATUS = {"sad": "validated", "desperate": "unspecific"}
CONCEPTS = {
    "afraid": "rejected",
    "angry": "validated",
    "calm": "validated",
    "desperate": "unspecific",
    "happy": "held",
    "sad": "no effect",
    "proud": "breaks fluency",
    "joyful": "candidate",
}


def info(folder: str = "sae") -> StudyInfo:
    return StudyInfo(
        SCHEMA,
        "storyteller",
        "storyteller/blocks.2.hook_resid_post",
        folder,
        "ab" * 32,
        "emotions",
        "cd" * 8,
        "saes demo",
        "1234567",
        "0.1.0",
        "2026-01-01T00:00:00+00:00",
    )


def label(concept: str, status: str, latents: list[int], chosen: bool = True) -> Label:
    many = len(latents)
    return Label(
        concept=concept,
        kind="single" if many == 1 else "recipe",
        latents=latents,
        weights=[1.0] * many,
        scales=[2.0] * many,
        pooling="mean",
        chosen=chosen,
        auroc_finding=0.95,
        auroc_folds=0.9,
        auroc_checking=0.7 if status == "rejected" else 0.9,
        auroc_checking_low=0.62,
        auroc_checking_high=0.97,
        auroc_all=0.8,
        auroc_family=None,
        runner_up="sad",
        auroc_runner_up=0.71,
        auroc_implicit=0.74,
        auroc_contrast=0.8,
        lexical_share=0.21,
        effect_finding=0.1,
        p=0.001,
        q=0.2 if status == "rejected" else 0.004,
        null_finding=0.66,
        n_positive=12,
        n_negative=180,
        status=status,
    )


def trial(concept: str, dose: float, prompt: int, judge: float, phase: str) -> Trial:
    return Trial(
        concept, "label", concept, dose, f"p{prompt}", f"Mia opened {HOSTILE} and", judge, judge * 2, 0.3, 0.2,
        f" ran {concept} {HOSTILE}", " looked at the <b>tree</b>.", phase,
    )  # fmt: skip


def clamp(concept: str, arm: str, arm_id: str, judge: float, status: str, **changes) -> ClampResult:
    fields = {
        "concept": concept, "arm": arm, "arm_id": arm_id, "latents": [], "dose": 4.0, "push": 0.3, "judge": judge,
        "judge_low": judge - 0.1, "judge_high": judge + 0.1, "readout": 0.8, "readout_low": 0.6, "readout_high": 1.0,
        "fluency": 0.2, "kl": 0.3, "p": 0.0125, "q": None, "n_controls": 79, "control_judge_max": 0.05,
        "control_readout_max": 0.1, "foreign_share": 0.25, "n_foreign": 4, "n_prompts": 6, "status": status,
        "judge_auroc": 0.91, "judge_auroc_low": 0.85,
    }  # fmt: skip
    return ClampResult(**{**fields, **changes})


def point(concept: str, dose: float, band: tuple[float | None, float | None] = (-0.05, 0.08)) -> DosePoint:
    return DosePoint(concept, dose, 0.1 * dose, 0.1 * dose - 0.05, 0.1 * dose + 0.05, 0.2, 0.3, 0.1, *band, 79, 6)


def filled(folder) -> Study:
    """A study with something in every table, hostile strings among them."""
    study = Study.create(folder, info())
    latents = {name: [10 * place + 1, 10 * place + 2][: 1 + place % 2] for place, name in enumerate(CONCEPTS)}
    labels = [label(name, status, latents[name]) for name, status in CONCEPTS.items()]
    study.write("labels", [*labels, label("happy", "rejected", [71, 72, 73], chosen=False)])
    study.write(
        "writers",
        [
            Writer(name, latents, [0.5, 0.25], [8.0, 4.0], 0.71, "max", 0.66, 0.6, 0.72, 15, 300, WRITTEN_STATUS[name])
            for name, latents in WRITTEN_BY.items()
        ],
    )
    study.write(
        "baselines",
        [
            Baseline(name, method, 0.8, 0.7, 0.7)
            for name in CONCEPTS
            for method in ("diff_means", "probe", "random_sae")
        ],
    )
    study.write(
        "cards",
        [
            FeatureCard(
                latent,
                [name],
                0.0123,
                8.5,
                2.1,
                [0.0, 1.0, 2.0, 3.0],
                [120, 30, 4],
                [" fear", HOSTILE],
                ["\n", " calm"],
                [4, 5],
                [0.5, 0.25],
                3.0,
                5.0,
            )
            for name in CONCEPTS
            for latent in latents[name]
        ],
    )
    study.write(
        "excerpts",
        [
            Excerpt(latents[name][0], 3, name, "checking", ["Mia", " was", HOSTILE, " now"], [0.0, 1.0, 8.5, 2.0], 8.5)
            for name in CONCEPTS
        ],
    )
    trials, clamps, curves, effects, needed = [], [], [], [], []
    for name, status in CONCEPTS.items():
        if status not in ("validated", "unspecific", "no effect", "breaks fluency"):
            continue
        for prompt in range(6):
            trials += [trial(name, dose, prompt, 0.1 * dose, "dose") for dose in (1.0, 2.0, 4.0)]
            trials.append(trial(name, 4.0, prompt, 0.4, "report"))
        about = {"q": 0.02, "own_rank": 2, "n_ranked": 5, "family_rank": 1, "down_judge": -0.2, "down_judge_low": -0.3,
                 "down_judge_high": -0.1, "safe_low": -4.0, "safe_high": 3.3, "detectable": 0.17}  # fmt: skip
        clamps.append(clamp(name, "label", name, 0.4, status, latents=latents[name], **about))
        clamps.append(clamp(name, "diff_means", name, 0.35, "no effect"))
        clamps += [clamp(name, "random_direction", f"direction {n}", 0.01 * n, "no effect") for n in range(3)]
        if name in WRITTEN_BY:
            said = {"latents": WRITTEN_BY[name], "dose": 2.0, "claim": "written"}
            clamps.append(clamp(name, "written", name, 0.6, WRITTEN_STATUS[name], **{**about, **said}))
            clamps.append(clamp(name, "diff_means", name, 0.33, "no effect", claim="written"))
            clamps += [
                clamp(name, "random_direction", f"direction {n}", 0.02 * n, "no effect", claim="written")
                for n in range(3)
            ]
            curves += [replace(point(name, dose), judge=0.2 * dose, claim="written") for dose in (1.0, 2.0)]
        curves += [point(name, dose) for dose in (-4.0, 1.0, 2.0)]
        curves.append(point(name, 4.0, (None, None)))
        effects += [
            ConceptEffect("label", name, 4.0, other, 0.4 if name == other else -0.1, 0.0, 0.5, 0.3, 0.1, 0.5, 6)
            for other in CONCEPTS
        ]
        needed.append(
            Necessity(name, latents[name], ["ran", HOSTILE], 0.2, 0.01, 0.19, 0.1, 0.3, 0.0, 0.02, 0.05, 20, 9, 31)
        )
    checks = ("named", "unnamed", "masked", "contrast")
    study.write("confounds", [Confound(name, check, 0.61, 0.52, 0.73, 7, 181) for name in CONCEPTS for check in checks])
    study.write(
        "probes",
        [
            Probe(name, k, list(range(k)), "mean", 0.83, 0.7, 0.9, 0.8, 0.7, 0.6, 0.8)
            for name in CONCEPTS
            for k in (1, 4)
        ],
    )
    study.write(
        "affect",
        [Affect(number, "mean", 0.31, 0.2, 0.4, 1.5, 0.33, 0.12, 0.0, 0.2, 0.5, 0.15, 90, 8) for number in (1, 11, 99)],
    )
    study.write("transfer", [Transfer("goemotions", "fear", "afraid", "sae", False, 0.77, 0.71, 0.82, 40, 900)])
    study.write(
        "transfer_ratings",
        [TransferRating("emobank", "valence", "sae", 0.31, 0.2, 0.4, 0.33, 0.22, 0.43, 0.09, 8, 500)],
    )
    study.write(
        "ablations",
        [Ablation("loss", "each", "calm", [21], "own", 0.021, 0.01, 0.03, 0.002, -0.01, 0.013, 0.019, 52, 60)],
    )
    study.write(
        "agreements", [Agreement("calm", "a", HOSTILE, True, True, 0.62, 0.3, 0.66, 0.4, 0.71, 0.6, 0.8, 0.25, 300)]
    )
    study.write("geometry_tests", [GeometryTest("labels", "valence", 0.81, 0.4, 0.2, 0.66, 0.001, 20)])
    study.write("trials", trials)
    study.write("clamps", clamps)
    study.write("curves", curves)
    study.write("effects", effects)
    study.write("necessity", needed)
    rates = {"none": 0.5, "desperate_down": 0.2, "desperate_up": 0.7, "calm_down": 0.6, "calm_up": 0.3}
    study.write(
        "workshop",
        [
            WorkshopArm(arm, 4.0, rate, rate - 0.1, rate + 0.1, 0.1, rate + 0.02, 72, 0.3, 0.8, 0.01, 80, 40)
            for arm, rate in rates.items()
        ],
    )
    return study
