"""`saes label` and `saes validate`: what is wrong is said before anything is loaded; what scripts get."""

import json

import pytest

from commands import label, validate


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone",), "there is no checkpoint or study gone"),
        (("{sae}", "--concepts", "gone"), "no concept set 'gone'"),
        (("{sae}", "--model", "./gone"), "there is no model folder"),
        (("{sae}", "--sae-lens", "release", "id"), "not both"),
        (("--sae-lens", "gpt2-small-res-jp", "x"), "did you mean gpt2-small-res-jb?"),
        (("{sae}", "--hook-name", "blocks.2.hook_resid_post"), "was trained at blocks.1.hook_resid_post"),
        (("{sae}", "--read", "before_reply"), "is no chat model"),
    ],
)
def test_mistakes_of_label(run, sae, words, said):
    code, out, err = run("label", *(word.format(sae=sae) for word in words))
    assert code == 2, err
    assert said in err
    assert out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone",), "there is no checkpoint or study gone"),
        (("{sae}",), "is no study"),
        (("{study}", "--concepts", "joyful"), "it has: afraid, calm"),
        (("{study}", "--controls", "0"), "at least 1"),
        (("{study}", "--doses", "1,x"), "x"),
    ],
)
def test_mistakes_of_validate(run, sae, study, words, said):
    code, out, err = run("validate", *(word.format(sae=sae, study=study) for word in words))
    assert code == 2, err
    assert said in err
    assert out == ""


def test_a_study_of_another_schema(run, study):
    info = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**info, "schema": 0}))
    code, _, err = run("validate", study)
    assert code == 2
    assert "schema 0" in err


def test_what_scripts_get_of_a_label(study):
    from analysis.study import Study

    found = label.shown(Study.open(study).label("afraid"))
    promised = {
        "latents",
        "auroc_finding",
        "auroc_checking",
        "auroc_family",
        "runner_up",
        "auroc_implicit",
        "q",
        "lexical_share",
        "status",
    }
    assert promised <= set(found)


def test_rivals_and_ablations_are_no_controls(make_clamp):
    clamps = [
        make_clamp("calm", "label", "validated"),
        make_clamp("calm", "diff_means", "validated"),
        make_clamp("calm", "random_latent", "validated"),
        make_clamp("calm", "ablate", "no effect"),
    ]
    assert validate.shown(clamps)["counts"] == {
        "concepts": 1,
        "concepts_validated": 1,
        "written_tested": 0,
        "written_validated": 0,
        "diff_means_written_tested": 0,
        "diff_means_written_validated": 0,
        "tested": 1,
        "validated": 1,
        "control_tested": 1,
        "control_validated": 1,
        "pairs_tested": 1,
        "pairs_validated": 1,
        "concepts_with_a_control": 1,
        "diff_means_tested": 1,
        "diff_means_validated": 1,
    }
    assert "1 of 1 labels validated" in validate.table(clamps)
