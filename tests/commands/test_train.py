"""`saes train`: recipe, file, --set and flags, the later one winning; and what it leaves."""

import argparse
import json

import pytest

from commands import train
from commands.__main__ import OneLineParser
from commands.spec_flags import count, field_docs, given
from training.spec import TrainSpec

SMALL = (
    "--tokens",
    "2048",
    "--batch-rows",
    "128",
    "--buffer-rows",
    "512",
    "--d-sae",
    "64",
    "--k",
    "4",
    "--held-out-tokens",
    "512",
    "--scale-batches",
    "1",
    "--window-batch",
    "4",
    "--hook-name",
    "blocks.1.hook_resid_post",
)


UNSET = {"out": "x", "context": 64, "sites": "blocks.0.hook_resid_post", "grid": "{k: [8, 16]}", "activations": "x",
         "shuffle_seed": 1, "aligned_with": "blocks.0.hook_resid_post", "lasting_share": 0.3, "clip_norm": 1.0,
         "prefixes": 64, "penalty": "tanh", "target_l0": 20, "target_hook_name": "x",
         "crosscoder_sites": "y", "resample_every": 5, "kl_finetune_tokens": 5}  # fmt: skip


def parsed(*words: str) -> argparse.Namespace:
    parser = OneLineParser(prog="saes train")
    train.add_arguments(parser)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="auto")
    return parser.parse_args(words)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(
        "\n<|endoftext|>\n".join(f"Rain fell on the barn {number} times, and Tom laughed." * 5 for number in range(200))
    )
    return path


def test_every_field_of_the_spec_is_a_flag():
    words = []
    for name, kind in TrainSpec.__dataclass_fields__.items():
        if name not in ("seed", "device", "corpus_split", "lr", "revision", "skip"):
            value = getattr(TrainSpec(), name) or UNSET[name]
            words += ["--" + name.replace("_", "-"), str(value)]
            assert kind is not None
    found = given(parsed(*words, "--lr", "1e-3", "--skip"), TrainSpec)
    assert found["d_sae"] == TrainSpec().d_sae
    assert found["lr"] == 1e-3
    assert found["skip"] is True
    assert len(found) == len(words) // 2 + 2


def test_the_later_source_wins(tmp_path):
    (tmp_path / "spec.yaml").write_text("d_sae: 128\nk: 8\ntokens: 1e6\n")
    spec = train.spec_of(
        parsed(str(tmp_path / "spec.yaml"), "--set", "k=9", "--set", "lr=0.01", "--k", "10", "--seed", "3")
    )
    assert (spec.d_sae, spec.k, spec.tokens, spec.lr, spec.seed) == (128, 10, 1_000_000, 0.01, 3)


@pytest.mark.parametrize(
    ("text", "number"), [("2_000_000", 2_000_000), ("2e6", 2_000_000), ("500k", 500_000), ("1.5M", 1_500_000), ("7", 7)]
)
def test_counts_may_be_written_short(text, number):
    assert count(text) == number


def test_a_field_s_docstring_is_its_help():
    assert field_docs(TrainSpec)["d_sae"] == "Number of latents."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "there is no recipe 'nothing'; there are storyteller, tiny"),
        (("gone.yaml",), "there is no spec gone.yaml"),
        (("--set", "width=3"), "no field 'width'"),
        (("--set", "k"), "field=value"),
        (("--k", "0"), "k"),
        (("--model", "./gone"), "there is no model folder ./gone"),
        (("--sparsity", "dense"), "sparsity"),
        (("--tokens", "1.5"), "tokens"),
        (("--grid", "{k"), "not of the form {field: [value, value]}"),
        (("--grid", "{context: [32, 64]}"), "grid cannot vary 'context'"),
        (
            ("--activations", "./gone"),
            "gone holds no activations (no manifest.json): `saes harvest` makes such a folder",
        ),
    ],
)
def test_mistakes(run, words, said):
    code, out, err = run("train", *words)
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err
    assert out == ""


def test_a_wrong_hook_name_lists_what_would_do(run, tiny_model, corpus, tmp_path):
    code, _, err = run(
        "train", *SMALL, "--model", tiny_model, "--corpus", corpus, "--hook-name", "blocks.9.hook_nose", "--out", "x"
    )
    assert code == 2
    assert "hook_resid_post" in err
    assert not (tmp_path / "x").exists()


def test_it_trains_and_refuses_to_do_it_twice(run, run_json, tiny_model, corpus, tmp_path):
    words = ("train", *SMALL, "--model", tiny_model, "--corpus", corpus, "--out", tmp_path / "made")
    found = run_json(*words)
    assert set(found["quality"]) >= {"explained_variance", "l0", "dead", "ce_recovered"}
    left = {path.name for path in (tmp_path / "made").iterdir()}
    assert left >= {"cfg.json", "sae_weights.safetensors", "spec.json", "quality.json", "journal.jsonl"}
    assert json.loads((tmp_path / "made" / "spec.json").read_text())["d_sae"] == 64
    code, _, err = run(*words)
    assert code == 2
    assert "already holds an SAE" in err
    assert run(*words, "--resume")[0] == 0
