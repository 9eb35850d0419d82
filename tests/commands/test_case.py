"""`saes case`: what is run, what is left in the study, and what cannot be asked."""

import json

import pytest

from analysis.study import Study

MINE = """
name: apology
prompts: ["Nora was proud", "Rain fell all"]
scorers: {sat: {words: [sat, rain]}, runs: {regex: ran}}
concepts: [afraid]
doses: [-1, 1]
controls: 0
tokens: 5
"""


def test_a_case_of_ones_own(run, run_json, study, tmp_path):
    (tmp_path / "mine.yaml").write_text(MINE)
    found = run_json("case", "run", "mine.yaml", "--study", study)
    assert found["case"] == "apology"
    assert {(one["scorer"], one["dose"]) for one in found["effects"]} == {
        (scorer, dose) for scorer in ("sat", "runs", "fluency") for dose in (-1, 1)
    }
    assert len(Study.open(study).read("case_effects")) == len(found["effects"])
    lines = (study / "case_apology.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 2 * 3
    assert run_json("case", "run", "mine.yaml", "--study", study)["effects"] == found["effects"], "nothing is run again"
    assert found["figure"] == str(study / "figures" / "apology.svg")
    assert {path.name for path in (study / "figures").iterdir()} == {"apology.svg", "apology.png"}
    code, out, _ = run("case", "run", "mine.yaml", "--study", study)
    assert code == 0
    assert out.strip().endswith("apology.svg, apology.png")


def test_doses_on_a_file_of_families(run_json, study, tmp_path):
    one = (
        '[[family]]\nname = "a"\ncontrol = "b"\nrole = "danger"\nvalues = [1, 2, 3, 4]\nstory = "For {n} days it rained on the barn."\n'
        'chat = "I have {n} of them."\nrises = ["afraid"]\nfalls = []\nwhy = "x"\n'
    )
    other = one.replace('"a"', '"b"').replace('control = "b"', 'control = ""').replace('"danger"', '"control"')
    (tmp_path / "f.toml").write_text(one + other)
    found = run_json(
        "case", "dose", "--study", study, "--families", "f.toml", "--controls", "0", "--concepts", "afraid"
    )
    (row,) = found["doses"]
    assert (row["concept"], row["n_families"], row["n_controls"]) == ("afraid", 1, 0)
    assert row["low"] is row["high"] is None, "one family tells nothing of how far families differ"
    (trend,) = Study.open(study).read("dose_trends")
    assert trend.values == [1, 2, 3, 4]
    assert len(trend.levels) == len(trend.levels_control) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "needs the case's file"),
        (("dose", "mine.yaml"), "only `saes case run` takes a file"),
        (("run", "gone.yaml"), "there is no spec gone.yaml"),
        (("workshop", "--arm", "code", "--doses", "1,2"), "played at one dose"),
        (("workshop",), "desperate"),
        (("workshop", "--arm", "code", "--unsafe-no-sandbox"), "desperate"),
        (("dose", "--concepts", "joyful"), "it has: afraid, calm"),
        (("tea",), "invalid choice"),
        (("foretell", "--rollouts", "39"), "at least 40 episodes are needed"),
        (("foretell", "--rollouts", "0"), "--rollouts: 0 is no whole number from 1 on"),
        (("harsh-or-sweet", "--rollouts", "-3"), "--rollouts: -3 is no whole number from 1 on"),
        (("dose", "--controls", "-1"), "--controls: -1 is no whole number from 0 on"),
        (("scenes", "--concepts", "afraid"), "--concepts does nothing in `saes case scenes`"),
        (("dose", "--doses", "1,2"), "it is of workshop, workshop --arm code, preference, harsh-or-sweet, run"),
        (
            ("workshop", "--arm", "code", "--concepts", "guilty"),
            "--concepts does nothing in `saes case workshop --arm code`",
        ),
        (("workshop", "--tasks", "folder"), "--tasks does nothing in `saes case workshop`"),
        (("preference", "--doses", "1"), "--doses are those of --clamped labels"),
        (("preference", "--clamped", "calm", "--doses", "1,high"), "'high' in '1,high' is no number"),
        (("dose", "--concepts", ","), "names nothing"),
    ],
)
def test_mistakes_are_one_line(run, study, words, said):
    code, _, err = run("case", *words, "--study", study)
    assert code == 2, err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_two_models_are_not_compared_on_nothing(run, study, tiny_model, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    code, _, err = run("case", "compare", tiny_model, "--study", study, "--prompts", "empty.txt")
    assert code == 2, err
    assert err.strip().splitlines()[-1] == "saes case: there is no prompt to read both models on: empty.txt"


def test_code_is_not_run_without_isolation(run, study, monkeypatch):
    from analysis.cases import sandbox

    monkeypatch.setattr(sandbox, "TOOLS", ())
    sandbox.find_isolation.cache_clear()
    code, _, err = run("case", "workshop", "--arm", "code", "--study", study)
    sandbox.find_isolation.cache_clear()
    assert code != 0
    assert "--unsafe-no-sandbox" in err
    assert json.dumps(err)
