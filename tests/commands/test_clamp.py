"""Clamped beside baseline; names through the study; units said aloud."""

import json

import pytest
import yaml

from commands.clamp import parse, side_by_side
from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.checkpoint import save_sae
from saes.site import Site

WRITE = ("--prompt", "Nora was", "--tokens", "6", "--temperature", "0")


def test_a_name_is_resolved_through_the_study_in_dose_units(run_json, study):
    found = run_json("clamp", study, *WRITE, "--clamp", "afraid=+8")
    assert found["clamps"] == [
        {"name": "afraid", "mode": "set", "asked": 8.0, "unit": "dose", "latents": [3], "values": [16.0]}
    ]
    assert found["texts"][0]["prompt"] == "Nora was"


def test_a_number_is_a_latent_in_activation_units(run_json, sae):
    found = run_json("clamp", sae, *WRITE, "--clamp", "5=40", "--clamp", "6=0")
    assert [(one["latents"], one["values"], one["unit"]) for one in found["clamps"]] == [
        ([5], [40.0], "activation"),
        ([6], [0.0], "activation"),
    ]
    assert found["texts"][0]["baseline"] != found["texts"][0]["clamped"]


def test_the_same_seed_gives_the_same_texts(run_json, sae):
    words = ("clamp", sae, "--prompt", "Rain", "--tokens", "6", "--clamp", "5=3", "--seed", "4")
    assert run_json(*words)["texts"] == run_json(*words)["texts"]


def test_the_text_says_the_unit_and_stands_side_by_side(run, study):
    _, out, _ = run("clamp", study, *WRITE, "--clamp", "afraid=2")
    assert "dose units" in out
    assert "baseline" in out
    assert " | " in out


def test_a_spec_file_holds_the_same(run_json, study, tmp_path):
    (tmp_path / "spec.yaml").write_text("prompts: [Rain, Nora]\nclamps: {afraid: 2, 7: 0}\ntokens: 4\ntemperature: 0\n")
    found = run_json("clamp", study, "--spec", "spec.yaml")
    assert [text["prompt"] for text in found["texts"]] == ["Rain", "Nora"]
    assert [one["name"] for one in found["clamps"]] == ["afraid", "7"]


def test_what_flags_meant_is_saved_and_does_the_same(run_json, study, tmp_path):
    flags = ("--clamp", "afraid=2", "--clamp", "7=3", "--positions", "generated")
    told = run_json("clamp", study, *WRITE, *flags, "--save-spec", "meant.yaml")
    spec = yaml.safe_load((tmp_path / "meant.yaml").read_text())
    assert spec["sites"][0]["edits"][0] == {"mode": "set", "label": "afraid", "value": {"dose": 2.0}}
    assert spec["sites"][0]["hook_name"] == "blocks.1.hook_resid_post"
    again = run_json("clamp", "--spec", "meant.yaml")
    assert again["clamps"] == told["clamps"]
    assert again["texts"] == told["texts"]
    run_json("clamp", "--spec", "meant.yaml", "--save-spec", "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == spec


def test_a_spec_file_may_edit_several_sites_in_any_unit(run_json, study, tiny_model, tmp_path):
    lower = SparseAutoencoder(SAEConfig(32, 64, "relu"), seed=1)
    save_sae(lower, tmp_path / "lower", Site(str(tiny_model), "blocks.0.hook_resid_post"))
    spec = {
        "version": 1, "prompts": ["Nora was"], "tokens": 6, "temperature": 0,
        "sites": [
            {"edits": [{"mode": "set", "label": "afraid", "value": {"max": 2.0}},
                       {"mode": "add", "latents": [3], "value": {"percentile": 50}}]},
            {"dictionary": str(tmp_path / "lower"), "hook_name": "blocks.0.hook_resid_post", "positions": {"tokens": [1, 2]},
             "edits": [{"mode": "ablate", "latents": [9]}]},
        ],
    }  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    found = run_json("clamp", study, "--spec", "spec.json")
    assert [one["values"] for one in found["clamps"]] == [[10.0], [2.5], [0.0]]
    assert [site.rpartition("/")[2] for site in found["sites"]] == [
        "blocks.1.hook_resid_post",
        "blocks.0.hook_resid_post",
    ]


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ([{"edits": [{"mode": "sett", "latents": [1]}]}], "spec.yaml.sites[0].edits[0].mode: 'sett'"),
        ([{"edits": [{"mode": "ablate", "label": "afrid"}]}], "it has: afraid, calm"),
        ([{"edits": [{"mode": "ablate", "latents": [99]}]}], "this SAE has 0 to 63"),
        ([{"positions": "assistant", "edits": [{"mode": "ablate", "latents": [9]}]}], "no chat template"),
        (
            [{"hook_name": "blocks.9.hook_resid_post", "edits": [{"mode": "ablate", "latents": [9]}]}],
            "is about blocks.1.hook_resid_post, not",
        ),
        ([{"dictionary": "gone", "edits": [{"mode": "ablate", "latents": [9]}]}], "there is no checkpoint"),
    ],
)
def test_mistakes_in_a_spec_file(run, study, tmp_path, sites, said):
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({"version": 1, "sites": sites}))
    code, _, err = run("clamp", study, "--prompt", "Nora", "--spec", "spec.yaml")
    assert code == 2, err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_dose_beyond_the_safe_range_needs_to_be_asked_for(run, run_json, study, make_clamp):
    from analysis.study import Study

    Study.open(study).write("clamps", [make_clamp("afraid", "label", "validated", safe_low=-1.5, safe_high=3.0)])
    for value in ("+4", "-2"):
        code, out, err = run("clamp", study, *WRITE, "--clamp", f"afraid={value}")
        assert code == 2
        assert out == ""
        assert "safe range of -1.5 to +3 dose units" in err
        assert "--beyond-safe" in err
    for words in (("afraid=+3",), ("3=99",), ("calm=+9",), ("afraid=+4", "--beyond-safe")):
        assert run_json("clamp", study, *WRITE, "--clamp", *words)["texts"]


def test_what_writes_a_concept_is_clamped_by_its_own_name_within_its_own_range(run, run_json, study, make_clamp):
    from analysis.records import Writer
    from analysis.study import Study

    opened = Study.open(study)
    opened.write("writers", [
        Writer("afraid", [9, 7], [0.5, 2.0], [4.0, 1.0], 0.8, "mean", 0.7, 0.6, 0.8, 12, 100, "validated")
    ])  # fmt: skip
    opened.write("clamps", [
        make_clamp("afraid", "label", "no effect", safe_low=-1.5, safe_high=3.0),
        make_clamp("afraid", "written", "validated", claim="written", safe_low=-4.0, safe_high=6.0),
    ])  # fmt: skip
    found = run_json("clamp", study, *WRITE, "--clamp", "afraid/written=+5")
    (one,) = found["clamps"]
    assert (one["name"], one["latents"], one["values"]) == ("afraid/written", [9, 7], [10.0, 10.0])
    code, out, _ = run("clamp", study, *WRITE, "--clamp", "afraid/written=+2")
    assert code == 0
    assert "latents that write it: validated, checking AUROC 0.70 (n = 12)" in out
    code, _, err = run("clamp", study, *WRITE, "--clamp", "afraid/written=+7")
    assert code == 2
    assert "safe range of -4 to +6 dose units" in err
    code, _, err = run("clamp", study, *WRITE, "--clamp", "calm/written=+1")
    assert code == 2
    assert "afraid/written" in err


@pytest.mark.parametrize(
    ("mode", "amount", "safe"),
    [
        ("add", {"dose": 4}, False),
        ("add", {"dose": 2}, True),
        ("min", {"dose": 4}, False),
        ("min", {"dose": -4}, True),
        ("max", {"dose": -4}, False),
        ("max", {"dose": 4}, True),
        ("scale", {"factor": 4}, False),
        ("scale", {"factor": 0.5}, True),
        ("ablate", None, True),
    ],
)
def test_the_safe_range_is_kept_in_the_way_that_each_mode_pushes(run, study, make_clamp, tmp_path, mode, amount, safe):
    from analysis.study import Study

    Study.open(study).write("clamps", [make_clamp("afraid", "label", "validated", safe_low=-1.5, safe_high=3.0)])
    edit = {"mode": mode, "label": "afraid"} | ({"value": amount} if amount else {})
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({"version": 1, "sites": [{"edits": [edit]}]}))
    code, out, err = run("clamp", study, *WRITE, "--spec", "spec.yaml", "--save-spec", "saved.yaml")
    assert code == (0 if safe else 2), err
    assert ("safe range" in err) != safe
    assert (tmp_path / "saved.yaml").exists() == safe
    assert {"add": "by adding", "min": "to at least", "max": "to at most", "scale": "times", "ablate": "ablated"}[
        mode
    ] in (out if safe else err)


def test_what_cannot_be_clamped_leaves_no_spec(run, study, tmp_path):
    code, _, _ = run("clamp", study, *WRITE, "--clamp", "64=1", "--save-spec", "saved.yaml")
    assert code == 2
    assert not (tmp_path / "saved.yaml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--clamp", "joyful=1"), "it has: afraid, calm"),
        (("--clamp", "afraid"), "NAME_OR_LATENT=VALUE"),
        (("--clamp", "64=1"), "this SAE has 0 to 63"),
        ((), "nothing to clamp"),
        (("--clamp", "3=1", "--tokens", "500"), "context"),
        (("--clamp", "3=1", "--device", "warp"), "unknown device"),
        (("--clamp", "3=1", "--model", "./gone"), "there is no model folder"),
        (("--clamp", "3=1", "--spec", "gone.yaml"), "there is no spec"),
    ],
)
def test_mistakes(run, study, words, said):
    code, out, err = run("clamp", study, "--prompt", "Nora", *words)
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err
    assert out == ""


def test_a_name_without_a_study(run, sae):
    code, _, err = run("clamp", sae, "--prompt", "Nora", "--clamp", "afraid=1")
    assert code == 2
    assert "no study says" in err


def test_no_checkpoint(run):
    code, _, err = run("clamp", "gone", "--prompt", "Nora", "--clamp", "3=1")
    assert code == 2
    assert "there is no checkpoint" in err


def test_a_pickle_is_refused(run, tmp_path):
    (tmp_path / "sae.pt").write_bytes(b"x")
    code, _, err = run("clamp", "sae.pt", "--prompt", "Nora", "--clamp", "3=1")
    assert code == 2
    assert "pickle" in err


def test_parse():
    assert parse("afraid=+8") == ("afraid", 8.0)
    assert parse("1234=0") == ("1234", 0.0)
    assert parse("calm=-2.5") == ("calm", -2.5)


def test_columns_keep_to_the_width():
    text = side_by_side("Nora ", "word " * 40, "other " * 40 + "\n\nand more", width=60)
    assert max(map(len, text.splitlines())) <= 60


def test_a_spec_comes_on_standard_input_too(run_json, study, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("prompt: Rain\nclamps: {afraid: 2}\ntokens: 4\ntemperature: 0\n"))
    assert [one["name"] for one in run_json("clamp", study, "--spec", "-")["clamps"]] == ["afraid"]


def test_a_chat_wants_a_model_that_is_one(run, study, tmp_path):
    (tmp_path / "chat.yaml").write_text("chat: [{role: user, content: Hello}]\nclamps: {afraid: 2}\ntokens: 4\n")
    code, _, complaint = run("clamp", study, "--spec", "chat.yaml")
    assert code == 2
    assert "no chat template" in complaint
