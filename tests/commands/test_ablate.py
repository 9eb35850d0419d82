"""`saes ablate`: a table, the study's rows and a picture; the whole and the shortened forward pass agree; mistakes."""

import json

import numpy as np
import pytest

from analysis.ablation import measures
from analysis.concepts.concept import load_concepts
from analysis.records import Ablation
from analysis.study import Study
from saes.opening import open_dictionary
from training.language_models.opening import open_model


@pytest.fixture
def ready(study, sae, tmp_path):
    """The hand-made study with a concept set of two concepts, in whose texts some latent fires everywhere."""
    folder = tmp_path / "concepts"
    folder.mkdir()
    places = ["barn", "kite", "rain", "cat", "mat"]
    for name, other in (("afraid", "fled the"), ("calm", "sat on a")):
        lines = [
            {"concept": name, "family": name, "definition": name, "readout_words": ["storm", "hum"], "names": [name]}
        ]
        for split, word in (("finding", "old"), ("checking", "red"), ("prompt", "grey")):
            lines += [
                {"split": split, "topic": place, "text": f"Nora {other} {word} {place} {name} {number}"}
                for number, place in enumerate(places)
            ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    neutral = [
        {"split": split, "topic": place, "text": f"Tom saw {word} {place}"}
        for split, word in (("finding", "an old"), ("checking", "a red"), ("prompt", "one grey"))
        for place in places
    ]
    (folder / "neutral.jsonl").write_text("\n".join(map(json.dumps, neutral)))
    found = Study.open(study)
    found.update_info(
        concept_hash=load_concepts(folder).hash, settings={**found.info.settings, "concepts": str(folder)}
    )
    return study


@pytest.mark.parametrize("metric", ["loss", "readouts"])
def test_what_it_leaves(run, run_json, ready, metric):
    words = ("ablate", ready, "--groups", "each", "--metric", metric, "--controls", "3")
    found = run_json(*words)
    assert {row["name"] for row in found["ablations"]} == {"afraid"}, "the rejected label is left out"
    own = next(row for row in found["ablations"] if row["target"] == "own")
    assert own["latents"] == [3]
    assert own["n_controls"] == 3
    assert len(Study.open(ready).read("ablations", Ablation)) == len(found["ablations"])
    assert (ready / f"ablations_{metric}.svg").read_text().startswith("<svg")
    code, out, _ = run(*words)
    assert code == 0
    assert "random groups [90 %]" in out


def test_the_shortened_pass_measures_the_same(ready, sae, tiny_model, monkeypatch):
    model, (dictionary, site, _) = open_model(str(tiny_model), "cpu"), open_dictionary(sae)
    concept_set = load_concepts(Study.open(ready).info.settings["concepts"])
    groups = [(3,), tuple(range(0, 60, 4))]

    def measured():
        return measures.Loss(model, dictionary, site.hook_name, concept_set).changes(groups, lambda _: None)

    short = measured()
    monkeypatch.setattr(measures, "can_resume", lambda model, hook_name: False)
    for one, other in zip(short, measured(), strict=True):
        for target in one:
            np.testing.assert_allclose(one[target], other[target], atol=2e-5)
    assert max(np.nanmax(abs(values)) for values in short[1].values()) > 1e-3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--groups", "ech"), "each, family, all, only"),
        (("--metric", "los"), "did you mean loss"),
        (("--concepts", "calm"), "is rejected: only held labels"),
        (("--controls", "0"), "proves nothing"),
        (("--episodes", "3"), "two numbers"),
        (("--groups", "only"), "two or more held labels"),
    ],
)
def test_mistakes(run, ready, words, said):
    code, out, err = run("ablate", ready, *words)
    assert code == 2, err
    assert said in err
    assert out == ""
