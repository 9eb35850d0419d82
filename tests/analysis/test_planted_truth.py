"""Planted truth through the whole of label and validate: what carries a concept is found, and no decoy is validated."""

import pytest

from analysis.clamping.journey import validate
from analysis.labelling.journey import label
from analysis.planted.word_world import IDLE, LEXICAL, TOPICAL, WRITERS, word_world
from analysis.records import clamp_counts


@pytest.fixture(params=range(20))
def seed(request):
    return request.param


def test_all_planted_concepts_are_validated_and_no_decoy_is(seed, tmp_path):
    world = word_world(tmp_path, seed)
    study = label(world.sae, world.concept_set, world.model, seed=seed, progress=False)
    found = {one.concept: one for one in study.labels()}
    for name in (*WRITERS, IDLE):
        assert found[name].status == "held"
        assert found[name].latents[0] == world.latent[name]
    assert found[TOPICAL].latents[0] == world.latent[TOPICAL], "the search is taken in by the decoy"
    assert found[TOPICAL].status == "rejected", "the held-out texts are not"
    assert found[LEXICAL].auroc_checking > 0.85, "by its score on checking texts it would be held"
    assert found[LEXICAL].lexical
    assert found[LEXICAL].status == "rejected"
    assert not any(found[name].lexical for name in (*WRITERS, IDLE))

    validate(study, model=world.model, concept_set=world.concept_set, judge_texts=world.judge_texts, controls=40, continuations=1,
             new_tokens=12, doses=(1.0, 2.0), seed=seed, progress=False)  # fmt: skip
    status = {one.concept: one.status for one in study.labels()}
    assert status == dict.fromkeys(WRITERS, "validated") | {IDLE: "no effect", TOPICAL: "rejected", LEXICAL: "rejected"}
    second = {one.concept: one.status for one in study.read("writers")}
    assert second[IDLE] != "validated", "no latent writes it, whatever its difference of means is made of"
    counts = clamp_counts(study.read("clamps"))
    assert counts["control_tested"] > 100
    assert counts["control_validated"] <= 0.05 * counts["control_tested"]
