"""`saes explain` against a scripted server: a whole run, what is shown of it, and the key that stands nowhere."""

import json
import random
import re
from pathlib import Path

import pytest

from analysis.concepts.concept import load_concepts
from analysis.study import Study
from tests.analysis.explaining.llm_server import KEY, Raw, serving
from tests.commands.conftest import SENTENCES


def write_concepts(folder: Path) -> Path:
    words = re.findall(r"\w+", " ".join(SENTENCES))
    rng = random.Random(0)
    folder.mkdir()

    def lines(splits):
        return [json.dumps({"split": split, "text": " ".join(rng.choices(words, k=20))}) for split in splits]

    splits = ["finding"] * 12 + ["checking"] * 12
    for name in ("afraid", "calm"):
        head = json.dumps({"concept": name, "family": name, "definition": name, "readout_words": ["qqq"]})
        (folder / f"{name}.jsonl").write_text("\n".join([head, *lines([*splits, "implicit"])]))
    (folder / "neutral.jsonl").write_text("\n".join(lines([*splits, "prompt"])))
    return folder


@pytest.fixture
def ready(study, tmp_path):
    """The small study with texts of its own."""
    concepts = write_concepts(tmp_path / "concepts")
    opened = Study.open(study)
    settings = {**opened.info.settings, "concepts": str(concepts)}
    opened.update_info(settings=settings, concept_hash=load_concepts(concepts).hash)
    return study


def script(body, number):
    """Writes a sentence, or rates as many excerpts as it is shown; the first two requests meet a hitch."""
    if number == 0:
        return Raw(429, b"", {"Retry-After": "0.01"})
    if number == 1:
        return "no JSON in this"
    user = body["messages"][1]["content"]
    if not user.startswith("Description"):
        return '{"explanation": "fires at words about rain"}'
    count = len(re.findall(r"^\d+\. ", user, re.MULTILINE))
    return json.dumps({"ratings": [number % 11] * count})


@pytest.fixture(autouse=True)
def keyed(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def test_a_whole_run_and_the_same_again(run, run_json, ready):
    with serving(script, KEY) as server:
        code, out, err = run("explain", ready, "--llm", f"{server.url}/m", "--features", "3,5", "--parallel", 1)
        assert code == 0, err
        asked = len(server.bodies)
        found = run_json("explain", ready, "--llm", f"{server.url}/m", "--features", "3,5")
        assert len(server.bodies) == asked, "every answer was kept"
    assert "latent 3: fires at words about rain" in out
    assert "fuzzing: median AUROC" in out
    assert [one["latent"] for one in found["explanations"]] == [3, 5]
    assert found["explanations"][0]["n_malformed"] == 1
    assert found["left"] == []
    assert KEY not in out + err
    written = [path for path in ready.rglob("*") if path.is_file()]
    assert {"explanations.parquet", "llm_answers.jsonl", "study.json"} <= {path.name for path in written}
    assert not [path for path in written if KEY.encode() in path.read_bytes()]

    _, out, _ = run("show", f"{ready}:afraid")
    assert "fires at words about rain" in out
    assert "detection" in out
    assert run_json("show", f"{ready}:3")["latents"][0]["explanation"]["latent"] == 3
    _, out, _ = run("show", f"{ready}:5")
    assert out.startswith("latent 5")
    assert "fires at words about rain" in out, "which has no card"


def test_a_budget(run, ready):
    with serving(script, KEY) as server:
        code, out, _ = run("explain", ready, "--llm", f"{server.url}/m", "--max-requests", 6)
        assert len(server.bodies) == 6
    assert code == 0
    assert "the budget of 6 requests is spent, 2 latents are left: the same command goes on" in out


def test_a_wrong_key(run, ready, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-wrong-one")
    with serving(script, KEY) as server:
        for words in ((), ("--debug",), ("--json",)):
            code, out, err = run("explain", ready, "--llm", f"{server.url}/m", "--key-env", "MY_KEY", *words)
            assert code == 2
            assert "refuses the key (401)" in err
            assert "sk-wrong-one" not in out + err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone", "--llm", "openai/m"), "there is no checkpoint or study gone"),
        (("{study}",), "--llm"),
        (("{study}", "--llm", "http://host/m"), "names no model"),
        (("{study}", "--llm", "./gone"), "there is no model folder ./gone"),
        (("{study}", "--llm", "openai/m", "--features", "afraid"), "labels, all, or latents"),
        (("{study}", "--llm", "openai/m", "--features", "3", "--parallel", "0"), "--parallel must be above zero"),
        (("{study}", "--llm", "openai/m", "--key-env", "NO_SUCH_KEY"), "NO_SUCH_KEY"),
        (("{study}", "--llm", "openai/m"), "is not the one that"),
    ],
)
def test_mistakes(run, study, words, said):
    code, out, err = run("explain", *(word.format(study=study) for word in words))
    assert code == 2
    assert said in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1


def test_a_local_model_that_reads_too_little(run, ready, tiny_model):
    code, _, err = run("explain", ready, "--llm", tiny_model, "--features", "3")
    assert code == 2
    assert "reads 128 tokens" in err
