"""The report shows every status, escapes what it is given, and says so where a table is empty."""

from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from analysis.records import (
    STATUSES,
    Baseline,
    ClampResult,
    ConceptEffect,
    DosePoint,
    Excerpt,
    Explanation,
    FeatureCard,
    Label,
    Necessity,
    StudyInfo,
    Trial,
    WorkshopArm,
)
from analysis.report.content import content, headline
from analysis.report.report import render, write_report
from analysis.report.svg import dose_plot, heat_map
from analysis.study import SCHEMA, Study

HOSTILE = "<script>alert('x')</script>\"&'"
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
        curves += [point(name, dose) for dose in (-4.0, 1.0, 2.0)]
        curves.append(point(name, 4.0, (None, None)))
        effects += [
            ConceptEffect("label", name, 4.0, other, 0.4 if name == other else -0.1, 0.0, 0.5, 0.3, 0.1, 0.5, 6)
            for other in CONCEPTS
        ]
        needed.append(
            Necessity(name, latents[name], ["ran", HOSTILE], 0.2, 0.01, 0.19, 0.1, 0.3, 0.0, 0.02, 0.05, 20, 9, 31)
        )
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


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def study(tmp_path) -> Study:
    return filled(tmp_path / "study")


def test_hostile_strings_are_shown_and_not_obeyed(study):
    page = Page(render(study))
    assert "script" not in page.tags
    assert "b" not in [tag for tag in page.tags if tag == "b"][8:] or "<b>tree</b>" in "".join(page.words)
    assert HOSTILE in "".join(page.words)
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_nothing_comes_from_outside(study):
    text = render(study)
    page = Page(text)
    addresses = [value for name, value in page.attributes if name in ("href", "src")]
    assert addresses
    assert all(value.startswith("#") for value in addresses)
    assert not {"link", "img", "iframe", "script"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text


def test_every_link_to_a_card_arrives_where_there_is_one(study):
    page = Page(render(study))
    ids = {value for name, value in page.attributes if name == "id"}
    assert {f"latent-{card.latent}" for card in study.read("cards")} <= ids


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_can_be_drawn_and_named(tmp_path, status):
    study = Study.create(tmp_path, info())
    study.write("labels", [label("calm", status, [3])])
    words = " ".join(Page(render(study)).words)
    assert f" {status}" in words


def test_a_rejected_label_says_why(study):
    row = next(row for row in content(study).rows if row.label.concept == "afraid")
    assert "0.70 is below 0.80" in row.why
    assert "q = 0.200" in row.why


def test_an_empty_study_renders(tmp_path):
    text = render(Study.create(tmp_path, info()))
    assert "no labels yet" in text
    assert "Nothing was clamped" in text


def test_a_study_without_clamps_renders(study):
    for table in ("trials", "clamps", "curves", "effects", "necessity", "workshop"):
        (study.folder / f"{table}.parquet").unlink()
    text = render(study)
    assert "Nothing was clamped" in text
    assert "workshop was not run" in text


def test_missing_numbers_become_dashes(study):
    study.write("workshop", [WorkshopArm("none", 0.0, *[float("nan")] * 5, 0, *[float("nan")] * 3, 0, 0)])
    assert "nan" not in render(study).lower().replace("finance", "")


def test_the_dose_curve_has_its_controls_and_its_rival(study):
    curve = next(one for one in content(study).curves if one.concept == "calm")
    assert [point.dose for point in curve.points] == [-4.0, 1.0, 2.0, 4.0]
    assert curve.chosen.judge == 0.4
    assert curve.rival.judge == 0.35
    drawn = dose_plot(curve)
    assert drawn.count("<polygon") == 2, "a band on either side of no dose"
    assert drawn.count("own-dot") == 4


def test_controls_are_summed_up(study):
    one = next(one for one in content(study).controls if one.concept == "calm")
    assert (one.n, one.middle, one.strongest.arm_id, one.validated) == (3, 0.01, "direction 2", [])


def test_the_matrix_is_drawn_with_every_label_on_every_concept(study):
    found = content(study).matrix
    assert len(found.labels) == 5
    assert set(found.concepts) == set(CONCEPTS)
    assert found.effects[found.labels.index("calm")][found.concepts.index("calm")] == 0.4
    assert heat_map(found).count("<rect") == 5 * len(CONCEPTS)
    assert heat_map(found).count("own-cell") == 5


def test_the_page_says_the_rule_the_power_and_what_the_judge_could_not_tell(study):
    rule = {
        "least_judge_auroc": 0.6,
        "least_effect": 0.05,
        "most_fluency_cost": 0.7,
        "most_q": 0.05,
        "most_foreign": 0.5,
    }
    study.update_info(settings={"validate": {"rule": rule}})
    labels = study.read("labels")
    study.write("labels", [replace(one, status="held") if one.concept == "calm" else one for one in labels])
    clamps = study.read("clamps")
    study.write("clamps", [replace(one, status="no judge") if one.concept == "calm" else one for one in clamps])
    words = " ".join(" ".join(Page(render(study)).words).split())
    assert "must reach 0.05 of the way" in words
    assert "0.17 to 0.17 of the way with 80 % power" in words
    assert "the judge of calm is hardly better than chance" in words
    assert "\u22124.0 to +3.3" in words


def test_the_headline_counts_failures_and_never_a_rival_as_a_control(study):
    found = headline(study.read("labels"), study.read("baselines"), study.read("clamps"))
    assert found["labels"]["concepts"] == len(CONCEPTS)
    assert found["labels"]["held_single"] == 3
    assert found["clamps"] == {
        "tested": 5,
        "validated": 2,
        "control_tested": 15,
        "control_validated": 0,
        "concepts_with_a_control": 0,
        "diff_means_tested": 5,
        "diff_means_validated": 0,
    }


def test_the_old_page_survives_a_failed_write(study, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_report(study, path)
    before = path.read_text()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(study, path, {"seconds": {"train": 1.0}})
    assert path.read_text() == before
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".part"] == []


def test_extra_facts_are_shown(study):
    quality = {
        "explained_variance": 0.8765,
        "l0": 32.0,
        "dead": 0.01,
        "ce_recovered": 0.97,
        "tokens_trained": 2_000_000,
        "rows": 32768,
    }
    text = render(study, {"quality": quality, "seconds": {"train": 120.0}})
    assert "0.876" in text
    assert "2,000,000" in text


def test_an_explanation_stands_on_its_card_with_its_scores(study):
    numbers = {"float": 0.25, "float | None": 0.75, "int": 13, "int | None": 5}
    row = {
        field.name: numbers.get(str(getattr(field.type, "__name__", field.type)), HOSTILE)
        for field in fields(Explanation)
    }
    study.write(
        "explanations",
        [Explanation(**{**row, "latent": study.read("cards")[0].latent, "detection": 0.875, "fuzzing": None})],
    )
    page = Page(render(study))
    assert "script" not in page.tags
    words = "".join(page.words)
    assert f"{HOSTILE} ({HOSTILE}; detection 0.88 [0.75, 0.75]" in words
    assert "fuzzing \u2013" in words, "what was not scored is no number"


def test_lines_differ_by_more_than_colour(study):
    marks = content(study).marks
    assert {mark.status for mark in marks} >= {"validated", "rejected"}
    assert replace(marks[0], status="held") != marks[0]
