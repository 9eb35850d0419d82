"""The demo's bookkeeping: what summary.json holds, and which stages are done again."""

import json
from pathlib import Path

import pytest

from analysis import demo as journey
from analysis.records import WorkshopArm
from analysis.study import Study

FIELDS = {
    "sae": {"explained_variance", "l0", "dead", "ce_recovered"},
    "labels": {
        "concepts",
        "candidates",
        "held_single",
        "held_recipe",
        "distinct_latents",
        "auroc_checking_median",
        "implicit_auroc_median",
        "diff_means_auroc_median",
        "probe_auroc_median",
        "random_sae_auroc_median",
    },
    "clamps": {"tested", "validated", "control_tested", "control_validated", "diff_means_validated"},
    "workshop": {"cheat_rate", "invalid", "solve_rate", "n"},
}
ARMS = ("none", "desperate_down", "desperate_up", "calm_down", "calm_up")


@pytest.fixture
def stubbed(monkeypatch, tmp_path, tiny_model, make_study, make_clamp):
    """demo() with a real training stage on a tiny model and hand-made later stages; calls are noted in order."""
    calls = []
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n<|endoftext|>\n".join(f"Rain fell on the barn {number} times." * 8 for number in range(200)))

    def label(sae, concepts, model, out, **_):
        calls.append("label")
        return Study.open(make_study(Path(out), Path(sae), tiny_model))

    def validate(study, *_, **__):
        calls.append("validate")
        study.write("clamps", [make_clamp("afraid", "label", "validated", latents=[3])])
        return study

    def workshop(study, *_, **__):
        calls.append("workshop")
        study.write(
            "workshop",
            [WorkshopArm(arm, 2.0, 0.5, 0.4, 0.6, 0.1, 0.5, 18, 0.4, float("nan"), 0.0, 20, 10) for arm in ARMS],
        )

    def most_promising(found, *_, **__):
        calls.append("choose")
        return found[1], {folder.name: float(number == 1) for number, folder in enumerate(found)}

    monkeypatch.setattr("analysis.labelling.candidates.most_promising", most_promising)
    monkeypatch.setattr("analysis.labelling.journey.label", label)
    monkeypatch.setattr("analysis.clamping.journey.validate", validate)
    monkeypatch.setattr("analysis.cases.workshop.workshop", workshop)
    monkeypatch.setattr("commands.__main__.sys.argv", ["saes"])
    monkeypatch.setattr(journey, "load_concepts", lambda _: FakeConcepts())
    small = (
        "tokens=1024",
        "batch_rows=128",
        "buffer_rows=256",
        "d_sae=64",
        "k=4",
        "held_out_tokens=256",
        "scale_batches=1",
        "window_batch=4",
        "hook_name=blocks.1.hook_resid_post",
        f"corpus={corpus}",
    )

    def run(*more: str, **options) -> tuple[dict, list[str]]:
        calls.clear()
        summary = journey.demo(
            tmp_path / "demo", model=str(tiny_model), settings=(*small, *more), progress=False, **options
        )
        return summary, list(calls)

    return run


class FakeConcepts:
    hash = "abc"
    concepts = ("desperate", "calm", "afraid")


def test_the_journey_leaves_what_it_promises(stubbed, tmp_path):
    summary, calls = stubbed()
    assert calls == ["choose", "label", "validate", "workshop"]
    left = {path.name for path in (tmp_path / "demo").iterdir()}
    assert left >= {"saes", "sae", "chosen.json", "study", "report.html", "summary.json", "picture.png"}
    assert json.loads((tmp_path / "demo" / "summary.json").read_text()) == summary
    assert all(set(summary[part]) >= names for part, names in FIELDS.items())
    assert set(summary["seconds"]) == {"train", "choose", "label", "validate", "workshop", "report"}
    chosen = json.loads((tmp_path / "demo" / "chosen.json").read_text())
    assert chosen == {"chosen": "seed-1", "worth": {"seed-0": 0.0, "seed-1": 1.0, "seed-2": 0.0}}
    assert json.loads((tmp_path / "demo" / "sae" / "spec.json").read_text())["seed"] == 1
    assert set(summary["workshop"]["cheat_rate"]) == set(ARMS)
    assert summary["workshop"]["solve_rate"]["none"] is None
    assert summary["clamps"]["validated"] == 1


def test_finished_stages_are_not_done_twice(stubbed):
    first, _ = stubbed()
    again, calls = stubbed()
    assert calls == []
    assert again == first


def test_a_stage_that_was_interrupted_is_done_again_and_those_before_it_are_not(stubbed, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("analysis.cases.workshop.workshop", stop)
        with pytest.raises(KeyboardInterrupt):
            stubbed()
    _, calls = stubbed()
    assert calls == ["workshop"]


def test_other_settings_do_everything_that_they_touch_again(stubbed):
    stubbed()
    assert stubbed(doses=[1.0])[1] == ["validate", "workshop"]
    assert stubbed("k=5", doses=[1.0])[1] == ["choose", "label", "validate", "workshop"]
    assert stubbed("k=5", doses=[1.0], fresh=True)[1] == ["choose", "label", "validate", "workshop"]


def test_the_ending_is_short(stubbed):
    summary, _ = stubbed()
    text = journey.ending(summary, "x")
    assert len(text.splitlines()) <= 8
    assert "report.html" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "./gone"), "there is no model folder"),
        (("--set", "width=3"), "no field 'width'"),
        (("--concepts", "gone"), "no concept set"),
    ],
)
def test_mistakes(run, tiny_model, words, said):
    code, _, err = run("demo", "--model", tiny_model, *words)
    assert code == 2, err
    assert said in err
