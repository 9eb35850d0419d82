"""Activations on disk are those of the model, row by row; damage is noticed; a killed harvest goes on."""

import json
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file

from training.activations import harvest
from training.activations.shards import Shards
from training.activations.source import ModelSource
from training.harvesting import harvest_to_disk
from training.loop import train

SITES = ("blocks.1.hook_resid_post", "blocks.0.hook_mlp_out")


@pytest.fixture
def spec(spec, monkeypatch):
    monkeypatch.setattr(harvest, "SINK_FACTOR", 1.2)  # attention sinks everywhere, other ones at every site
    return spec.with_fields(sites=SITES, tokens=64 * 8, d_sae=32, held_out_tokens=64)


@pytest.fixture
def folder(spec, tmp_path):
    return harvest_to_disk(spec, tmp_path / "shards", dtype="float32", rows_a_shard=300, progress=False)


def weights(folder):
    return load_file(folder / "sae_weights.safetensors")


def test_training_from_them_is_training_from_the_model(spec, folder, tmp_path):
    assert len(list(folder.glob("*.safetensors"))) > 2
    for number, sites in enumerate(((), SITES)):  # of two stored sites one alone, and both
        stored = spec.with_fields(sites=sites, activations=str(folder), out=str(tmp_path / f"stored{number}"))
        from_model = train(stored.with_fields(activations="", out=str(tmp_path / f"model{number}")), progress=False)
        from_disk = train(stored, progress=False)
        for member in stored.members():
            name = member.folder.relative_to(stored.folder)
            ours, theirs = weights(from_disk / name), weights(from_model / name)
            assert all(torch.equal(ours[part], theirs[part]) for part in theirs)
            told = [json.loads((one / name / "quality.json").read_text()) for one in (from_disk, from_model)]
            assert told[0]["explained_variance"] == told[1]["explained_variance"]


def test_every_rank_reads_its_own_share_from_any_place(spec, folder):
    shards = Shards.open(folder)
    whole = list(shards.batches(SITES))
    for ours, theirs in zip(whole, ModelSource(spec).batches(), strict=False):  # which goes on without end
        assert all(torch.equal(ours[site], theirs[site]) for site in SITES)
    assert sum(len(batch[SITES[0]]) for batch in whole) == shards.rows_at(SITES)
    shares = [list(shards.batches(SITES[:1], start=1, rank=rank, ranks=3)) for rank in range(3)]
    alone = list(shards.batches(SITES[:1]))
    for rank, share in enumerate(shares):
        assert len(share) == len(alone[rank + 3 :: 3])
        assert all(torch.equal(one[SITES[0]], alone[rank + 3 + 3 * place][SITES[0]]) for place, one in enumerate(share))


def test_bfloat16_is_the_default_and_half_as_large(spec, folder, tmp_path):
    half = harvest_to_disk(spec, tmp_path / "half", progress=False)
    exact = next(Shards.open(folder).batches(SITES[:1]))[SITES[0]]
    stored = next(Shards.open(half).batches(SITES[:1]))[SITES[0]]
    assert stored.dtype == torch.bfloat16
    assert torch.equal(stored, exact.bfloat16())


def test_a_killed_harvest_goes_on_after_the_last_whole_shard(spec, folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    files = sorted(broken.glob("*.safetensors"))
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["shards"] = manifest["shards"][:1]  # the second had been written, but not into the manifest
    (broken / "manifest.json").write_text(json.dumps(manifest))
    files[1].write_bytes(b"half")
    (broken / ".000002.safetensors.77.tmp").write_bytes(b"begun")
    untouched = files[0].stat().st_mtime_ns
    harvest_to_disk(spec, broken, dtype="float32", rows_a_shard=300, progress=False)
    assert files[0].stat().st_mtime_ns == untouched
    assert (broken / "manifest.json").read_text() == (folder / "manifest.json").read_text()
    assert {path.name for path in broken.iterdir()} == {path.name for path in folder.iterdir()}
    assert all((folder / path.name).read_bytes() == path.read_bytes() for path in files)


def test_damage_is_noticed(spec, folder):
    second = sorted(folder.glob("*.safetensors"))[1]
    content = bytearray(second.read_bytes())
    content[-5] ^= 1
    second.write_bytes(content)
    batches = Shards.open(folder).batches(SITES)
    next(batches)  # of the first, which is whole
    with pytest.raises(ValueError, match=f"{second} is damaged"):
        list(batches)
    second.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f"{second} has {len(content) - 1} bytes instead of"):
        Shards.open(folder)
    second.unlink()
    with pytest.raises(ValueError, match=r"is missing: run the same `saes harvest` again"):
        Shards.open(folder)
    harvest_to_disk(spec, folder, dtype="float32", rows_a_shard=300, progress=False)
    assert len(list(Shards.open(folder).batches(SITES))) > 2
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        Shards.open(folder)


def test_other_activations_than_the_spec_says(spec, folder, model_folders, tmp_path):
    stored = spec.with_fields(activations=str(folder))
    gpt2 = str(model_folders["gpt2"])
    for change, message in (
        ({"model": gpt2}, "holds activations of model .*llama' and not .*gpt2"),
        ({"corpus": "storyworld:3"}, "corpus .* and not 'storyworld:3'"),
        ({"sites": ["blocks.2.hook_resid_post"]}, "no activations at 'blocks.2.hook_resid_post', only at blocks.1"),
        ({"tokens": 64 * 10_000}, "holds [0-9]+ activations, but 640000 tokens .* harvest more, or train on"),
        ({"activations": str(tmp_path / "none")}, "holds no activations"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            train(stored.with_fields(**change), progress=False)
        assert not spec.folder.exists()
    with pytest.raises(ValueError, match="begun with other settings: context"):
        harvest_to_disk(spec.with_fields(context=16), folder, dtype="float32", progress=False)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "a.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        harvest_to_disk(spec, tmp_path / "taken", progress=False)


def test_without_the_language_model_the_quality_is_said_to_be_missing(spec, folder, tmp_path, caplog):
    gone = str(tmp_path / "moved-away")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["about"]["model"] = gone
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with caplog.at_level(logging.WARNING):
        out = train(spec.with_fields(sites=[], model=gone, activations=str(folder)), progress=False)
    quality = json.loads((out / "quality.json").read_text())
    assert set(quality) == {"not_measured", "tokens_trained", "seconds"}
    assert gone in quality["not_measured"]
    assert "not measured" in caplog.text
    metadata = json.loads((out / "cfg.json").read_text())["metadata"]
    assert metadata["model_name"] == gone
    assert "explained_variance" not in metadata


def test_another_model_of_the_same_name_measures_nothing(spec, folder, tmp_path):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["about"]["weights_sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    out = train(spec.with_fields(sites=[], activations=str(folder)), progress=False)
    assert "are not those that" in json.loads((out / "quality.json").read_text())["not_measured"]
