"""Planted truth: labels that move their concept are validated, decoys are not, and a stopped run goes on."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.clamping.journey import validate
from analysis.clamping.trial import TrialRoom
from analysis.labelling.scores import benjamini_hochberg
from analysis.records import CLAIMS, CONTROLS, Writer, clamp_counts

DECOYS = {"moodg": 20, "moodh": 21}
"""Concepts whose label is a latent that raises no word."""
N = 40
"""Controls of each kind."""
DOSES = (0.5, 1.0)
"""At which the words of other concepts are still likely: where a clamp leaves one concept only, so does any direction."""


@pytest.fixture
def world(concept_set, judge_texts, dictionary, word_model):
    return {
        "model": word_model,
        "concept_set": concept_set,
        "dictionary": dictionary,
        "judge_texts": judge_texts,
        "progress": False,
        "controls": N,
        "doses": DOSES,
        "continuations": 1,
    }


@pytest.fixture
def labels(make_label):
    planted = [make_label(f"mood{letter}", [place]) for place, letter in enumerate("abcdef")]
    return planted + [make_label(concept, [latent]) for concept, latent in DECOYS.items()]


def make_writer(concept, latent):
    return Writer(concept, [latent], [1.0], [1.5], 1.0, "max", 0.5, 0.4, 0.6, 8, 8, "candidate")


def test_planted_labels_are_validated_and_decoys_and_controls_are_not(world, labels, make_study):
    study = validate(make_study(labels), seed=3, **world)
    status = {label.concept: label.status for label in study.labels()}
    assert status == {label.concept: "no effect" if label.concept in DECOYS else "validated" for label in labels}
    clamps = study.read("clamps")
    counts = clamp_counts(clamps)
    assert counts["control_tested"] >= 50 * (len(labels) - len(DECOYS))
    assert counts["control_validated"] <= 0.05 * counts["control_tested"]
    of_label = {clamp.concept: clamp for clamp in clamps if clamp.arm == "label"}
    for name in set(of_label) - set(DECOYS):
        one = of_label[name]
        assert one.judge > one.control_judge_max
        assert one.judge > one.detectable > 0
        assert one.own_rank == one.family_rank == 1
        assert one.n_ranked == 8
        assert one.down_judge < one.judge
        assert one.safe_low <= 0 < one.safe_high
        assert one.foreign_share == 0
    rivals = [clamp for clamp in clamps if clamp.arm == "diff_means" and clamp.concept not in DECOYS]
    assert all(clamp.fluency <= max(0, of_label[clamp.concept].fluency) + 1e-6 for clamp in rivals)
    assert {clamp.status for clamp in clamps if clamp.arm == "ablate"} == {"no effect"}


def test_what_writes_is_a_claim_of_its_own_beside_a_label_that_only_detects(world, labels, make_study):
    """Latent 6 writes mood g, latent 30 writes nothing."""
    study = make_study(labels)
    study.write("writers", [make_writer("moodg", 6), make_writer("moodh", 30)])
    study = validate(study, seed=3, **world)
    writers = {one.concept: one for one in study.read("writers")}
    assert {name: one.status for name, one in writers.items()} == {"moodg": "validated", "moodh": "no effect"}
    assert {name: study.label(name).status for name in DECOYS} == dict.fromkeys(DECOYS, "no effect")
    clamps = study.read("clamps")
    counts = clamp_counts(clamps)
    names = ("concepts", "concepts_validated", "tested", "validated", "written_tested", "written_validated")
    assert [counts[name] for name in names] == [8, 7, 8, 6, 2, 1]
    (own,) = [one for one in clamps if (one.concept, one.arm) == ("moodg", "written")]
    assert own.q is not None
    assert own.safe_high > 0
    assert own.down_judge < own.judge
    for sort in CLAIMS:  # each a family of its own for false discoveries
        mine = [one for one in clamps if one.arm == sort]
        assert [one.q for one in mine] == pytest.approx(benjamini_hochberg(np.array([one.p for one in mine])))
    beside = [one for one in clamps if one.concept == "moodg" and one.claim == "written" and one is not own]
    assert {one.arm for one in beside} == {"diff_means", *CONTROLS}
    controls = [one for one in beside if one.arm in CONTROLS]
    assert len(controls) == own.n_controls
    for one in controls:
        assert one.kl == pytest.approx(own.kl, rel=0.3)
    doses = [point.dose for point in study.read("curves") if (point.concept, point.claim) == ("moodg", "written")]
    assert doses == [-2 * own.dose, -own.dose, *DOSES]


def test_controls_are_read_off_where_they_move_the_output_as_far(world, labels, make_study):
    clamps = validate(make_study(labels[:4]), seed=1, **world).read("clamps")
    label = {clamp.concept: clamp for clamp in clamps if clamp.arm == "label"}
    controls = [clamp for clamp in clamps if clamp.arm in CONTROLS]
    assert len({clamp.arm_id for clamp in controls if clamp.arm == "random_direction"}) >= 0.8 * N
    for one in controls:
        assert one.kl == pytest.approx(label[one.concept].kl, rel=0.3)


def test_the_tables_hold_the_whole_tensor(world, labels, make_study):
    study = validate(make_study(labels[:3]), seed=2, **{**world, "controls": 8})
    trials = study.read("trials")
    choosing = {trial.prompt_id for trial in trials if trial.phase == "dose"}
    reporting = {trial.prompt_id for trial in trials if trial.phase == "report"}
    assert not choosing & reporting
    assert (len(choosing), len(reporting)) == (8, 16)
    doses = sorted({trial.dose for trial in trials if trial.arm == "label" and trial.phase == "report"})
    assert doses == list(DOSES)
    of_control = [trial for trial in trials if trial.arm in CONTROLS]
    assert len(of_control) == 16 * 3 * 16
    assert {(trial.concept, trial.judge, trial.readout) for trial in of_control} == {("", None, None)}
    effects = study.read("effects")
    matrix = {(one.arm_id, one.concept): one.judge for one in effects if one.arm == "label"}
    assert len(matrix) == 3 * 8
    for name in ("mooda", "moodb", "moodc"):
        assert max(matrix[name, other] for other in ("mooda", "moodb", "moodc")) == matrix[name, name]
    of_label = {clamp.concept: clamp for clamp in study.read("clamps") if clamp.arm == "label"}
    assert matrix["mooda", "mooda"] == pytest.approx(of_label["mooda"].judge)
    points = [point for point in study.read("curves") if point.concept == "mooda"]
    chosen = of_label["mooda"].dose
    assert [point.dose for point in points] == [-2 * chosen, -chosen, *DOSES]


def test_more_continuations_see_smaller_effects_and_the_prompt_stays_the_unit(world, labels, make_study):
    world = {**world, "controls": 20}
    one, four = (
        validate(make_study(labels[:3], f"study{count}"), **{**world, "continuations": count}) for count in (1, 4)
    )
    once, often = (
        {clamp.concept: clamp for clamp in study.read("clamps") if clamp.arm == "label"} for study in (one, four)
    )
    assert {clamp.n_prompts for clamp in often.values()} == {clamp.n_prompts for clamp in once.values()} == {16}
    for name, clamp in often.items():
        mine = [
            trial
            for trial in four.read("trials")
            if (trial.phase, trial.arm, trial.concept, trial.dose) == ("report", "label", name, clamp.dose)
        ]
        assert len({trial.prompt_id for trial in mine}) == len(mine) == 4 * 16
        assert clamp.judge == pytest.approx(np.mean([trial.judge for trial in mine]), abs=1e-5)
        assert clamp.fluency == pytest.approx(np.mean([trial.fluency for trial in mine]), abs=1e-5)
        assert clamp.judge_high - clamp.judge_low < 0.8 * (once[name].judge_high - once[name].judge_low)


def test_a_latent_that_wakes_every_concept_is_validated_for_none(
    concept_set, judge_texts, dictionary, flooded_model, make_label, make_study
):
    """Its texts show all concepts alike: what a judge sees of its own in them, it sees of the others' too."""
    labels = [make_label(f"mood{letter}", [40 + place]) for place, letter in enumerate("abcd")]
    world = {"model": flooded_model, "concept_set": concept_set, "dictionary": dictionary, "judge_texts": judge_texts}
    study = validate(make_study(labels), doses=DOSES, controls=N, progress=False, **world)
    assert {label.status for label in study.labels()} <= {"no effect", "unspecific"}


def test_a_stopped_run_goes_on_and_loses_nothing(world, labels, make_study, monkeypatch):
    world["controls"] = 6
    whole = validate(make_study(labels[:3], "whole"), **world)
    study = make_study(labels[:3], "stopped")
    batch, ran = TrialRoom._batch, []

    def stopping(room, arms, prompts):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append([arm.key for arm in arms])
        return batch(room, arms, prompts)

    with monkeypatch.context() as patch:
        patch.setattr(TrialRoom, "_batch", stopping)
        with pytest.raises(KeyboardInterrupt):
            validate(study, **world)
    assert {label.status for label in study.labels()} == {"held"}
    stopped, again = [key for keys in ran for key in keys], []

    def noting(room, arms, prompts):
        again.extend(arm.key for arm in arms)
        return batch(room, arms, prompts)

    with monkeypatch.context() as patch:
        patch.setattr(TrialRoom, "_batch", noting)
        validate(study, **world)
        # the doses of the first phase come back at the reporting prompts
        assert len(again) + len(stopped) == len({(t.arm, t.arm_id, t.dose, t.phase) for t in study.read("trials")})
        again.clear()
        validate(study, **world)
        assert again == []
    for table in ("clamps", "trials", "curves", "effects", "necessity"):
        assert study.read(table) == whole.read(table)
    assert not (study.folder / "battery").exists()


def test_other_settings_begin_anew(world, labels, make_study):
    world["controls"] = 6
    study = validate(make_study(labels[:2]), **world)
    validate(study, concepts=[labels[0].concept], **{**world, "controls": 30})
    assert {clamp.concept for clamp in study.read("clamps")} == {labels[0].concept}
    assert [label.status for label in study.labels()] == ["validated", "held"]


def test_too_few_controls_validate_nothing(world, labels, make_study):
    study = validate(make_study(labels[:2]), **{**world, "controls": 5})
    assert {label.status for label in study.labels()} == {"unspecific"}
    assert {clamp.detectable for clamp in study.read("clamps") if clamp.arm == "label"} == {float("inf")}


def test_a_judge_that_can_tell_nothing_judges_nothing(world, labels, make_study, tmp_path):
    import json

    lines = [json.loads(line) for line in world["judge_texts"].read_text().splitlines()]
    shuffled = np.random.default_rng(0).permutation([line["concept"] for line in lines])
    path = tmp_path / "shuffled.jsonl"
    path.write_text(
        "".join(json.dumps({**line, "concept": str(name)}) + "\n" for line, name in zip(lines, shuffled, strict=True))
    )
    study = validate(make_study(labels[:3]), **{**world, "judge_texts": path, "controls": 6})
    assert {clamp.status for clamp in study.read("clamps")} == {"no judge"}
    assert {label.status for label in study.labels()} == {"held"}


def test_what_cannot_be_used_is_said(world, labels, make_study):
    study = make_study([labels[0], replace(labels[1], status="rejected")])
    with pytest.raises(ValueError, match="'moodb' is rejected"):
        validate(study, concepts=["moodb"], **world)
    with pytest.raises(ValueError, match="no label for 'moodc'"):
        validate(study, concepts=["moodc"], **world)
    with pytest.raises(ValueError, match="at least 1 control"):
        validate(study, **{**world, "controls": 0})
    with pytest.raises(ValueError, match="too few for 200 controls"):
        validate(study, **{**world, "controls": 200})
    with pytest.raises(ValueError, match="positive"):
        validate(study, **{**world, "doses": [0.0, 2.0]})
    with pytest.raises(ValueError, match="at least 1 text"):
        validate(study, **{**world, "continuations": 0})
    with pytest.raises(ValueError, match="at least 3 prompts"):
        validate(study, prompts=2, **world)
    with pytest.raises(ValueError, match="not the one that"):
        validate(study, **{**world, "concept_set": replace(world["concept_set"], hash="other")})
    with pytest.raises(ValueError, match="no judge exists for mooda: moods has no judge texts"):
        validate(study, **{**world, "judge_texts": None})
