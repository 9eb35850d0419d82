"""Input that cannot be used, of every kind: exit code 2, one line that says what is wrong, and nothing half-written."""

import shutil
from pathlib import Path

import pytest

SITE = "blocks.1.hook_resid_post"
SMALL = ("--tokens", 2048, "--batch-rows", 128, "--buffer-rows", 512, "--d-sae", 64, "--k", 4, "--held-out-tokens", 512,
         "--scale-batches", 1, "--window-batch", 4, "--hook-name", SITE)  # fmt: skip
CLAMP = ("--prompt", "Nora was", "--clamp", "3=1", "--tokens", 4)


def changed_model(source: Path, folder: Path, spoil=None, **config) -> Path:
    """The tiny model with another shape, or with spoiled weights."""
    import transformers

    shutil.copytree(source, folder)
    if config:
        settings = transformers.AutoConfig.from_pretrained(source, **config)
        model = transformers.AutoModelForCausalLM.from_config(settings)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(source)
    if spoil is not None:
        spoil(model)
    model.save_pretrained(folder)
    return folder


def narrow(tiny_model: Path, folder: Path) -> Path:
    return changed_model(tiny_model, folder / "narrow", hidden_size=16, head_dim=4)


def not_numbers(tiny_model: Path, folder: Path) -> Path:
    def spoil(model):
        model.model.layers[0].mlp.down_proj.weight.data[0, 0] = float("nan")

    return changed_model(tiny_model, folder / "nan", spoil)


def clamped_with_another_width(folder, sae, tiny_model):
    return ("clamp", sae, *CLAMP, "--model", narrow(tiny_model, folder)), "expected d_in 32, got 16"


def labelled_with_another_width(folder, sae, tiny_model):
    return ("label", sae, "--model", narrow(tiny_model, folder), "--out", "made"), "expected d_in 32, but"


def truncated_weights(folder, sae, tiny_model):
    path = sae / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return ("clamp", sae, *CLAMP), "sae_weights.safetensors is truncated or corrupted"


def corrupted_weights(folder, sae, tiny_model):
    path = sae / "sae_weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-50] ^= 0xFF
    path.write_bytes(content)
    return ("label", sae, "--out", "made"), "sae_weights.safetensors is corrupted"


def weights_that_are_none(folder, sae, tiny_model):
    (sae / "sae_weights.safetensors").write_bytes(b"\xff" * 64)
    return ("clamp", sae, *CLAMP), "sae_weights.safetensors is truncated or corrupted"


def corpus_without_text(folder, sae, tiny_model):
    (folder / "empty.txt").write_text("\n \n<|endoftext|>\n\n")
    return ("train", *SMALL, "--model", tiny_model, "--corpus", "empty.txt", "--out", "made"), "holds no text"


def corpus_folder_without_files(folder, sae, tiny_model):
    (folder / "texts").mkdir()
    return ("train", *SMALL, "--model", tiny_model, "--corpus", "./texts", "--out", "made"), "holds no corpus"


def activations_that_are_no_numbers(folder, sae, tiny_model):
    (folder / "corpus.txt").write_text("\n<|endoftext|>\n".join(f"Rain fell {number} times." for number in range(200)))
    model = not_numbers(tiny_model, folder)
    words = ("train", *SMALL, "--model", model, "--corpus", "corpus.txt", "--out", "made")
    return words, f"the activation at {SITE} is NaN or infinite at token 1 ("


def activations_that_are_no_numbers_while_labelling(folder, sae, tiny_model):
    words = ("label", sae, "--model", not_numbers(tiny_model, folder), "--out", "made")
    return words, f"the activation at {SITE} is NaN or infinite at token 1 ("


def pretraining_with_a_typo(folder, sae, tiny_model):
    return ("pretrain", "--corpus", "./gone", "--out", "made"), "there is no corpus ./gone"


def pretraining_without_text(folder, sae, tiny_model):
    (folder / "empty.txt").write_text("\n")
    return ("pretrain", "--corpus", "empty.txt", "--out", "made"), "holds no text"


def pretraining_a_shape_that_cannot_be(folder, sae, tiny_model):
    return ("pretrain", "--d-model", 100, "--n-heads", 3, "--out", "made"), "d_model"


CASES = (clamped_with_another_width, labelled_with_another_width, truncated_weights, corrupted_weights,
         weights_that_are_none, corpus_without_text, corpus_folder_without_files, activations_that_are_no_numbers,
         activations_that_are_no_numbers_while_labelling, pretraining_with_a_typo, pretraining_without_text,
         pretraining_a_shape_that_cannot_be)  # fmt: skip
"""Each puts the mistake in place and gives the words to run and what the line must say."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input_is_one_line_and_leaves_nothing(run, tmp_path, sae, tiny_model, case):
    words, said = case(tmp_path, sae, tiny_model)
    before = everything_in(tmp_path)
    code, out, err = run(*words)
    assert code == 2, err
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith(f"saes {words[0]}: ")
    assert said in lines[0]
    assert everything_in(tmp_path) == before


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_a_full_disk_is_one_line_and_keeps_what_was_there(run, monkeypatch, tmp_path, tiny_model):
    import errno
    import os

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "corpus.txt").write_text(
        "\n<|endoftext|>\n".join(f"Rain fell {number} times." for number in range(200))
    )
    words = ("train", *SMALL, "--model", tiny_model, "--corpus", "corpus.txt", "--out", "made")
    assert run(*words, "--save-seconds", 0)[0] == 0
    before = everything_in(tmp_path / "made")
    monkeypatch.setattr(os, "fsync", full)
    code, _, err = run(*words[:-1], "other")
    assert code == 2
    line = err.strip().splitlines()[-1]
    assert line.startswith("saes train: the disk is full (other/spec.json); files from before are whole")
    assert everything_in(tmp_path / "made") == before
    assert not [path for path in (tmp_path / "other").iterdir() if path.is_file()]
