"""The judge learns, is the same each time, and says what it does not know."""

import json

import numpy as np
import pytest

from analysis.clamping.judge import judge_for, judge_from_file, storyworld_judge, train_judge
from training.corpora.storyworld.bank import FEELINGS
from training.corpora.storyworld.moments import moments


@pytest.fixture(scope="module")
def judge():
    return storyworld_judge(seed=0, per_concept=25)


def test_it_learns_storyworlds_feelings(judge):
    assert judge.concepts == tuple(sorted(FEELINGS))
    assert judge.accuracy > 0.5  # chance is 1 in 24
    assert judge.accuracy_on(moments(3, seed=99)) > 0.5
    texts = [text for feeling, text in moments(2, seed=7) if feeling == "afraid"]
    chance = judge.probabilities(texts)
    np.testing.assert_allclose(chance.sum(axis=1), 1.0)
    assert chance[:, judge.concepts.index("afraid")].mean() > 3 / 24


def test_shuffled_concepts_teach_it_nothing():
    pairs = list(moments(25))
    shuffled = np.random.default_rng(0).permutation([feeling for feeling, _ in pairs])
    assert train_judge(zip(map(str, shuffled), [text for _, text in pairs], strict=True)).accuracy < 0.2


def test_the_same_seed_gives_the_same_judge():
    texts = [text for _, text in moments(1, seed=3)]
    one, two, other = (storyworld_judge(seed, per_concept=8).probabilities(texts) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_moments_are_the_same_each_time_and_name_their_feeling():
    assert list(moments(2, seed=4)) == list(moments(2, seed=4))
    assert [feeling for feeling, _ in moments(1)] == list(FEELINGS)


def test_an_unknown_concept_needs_texts_of_its_own(tmp_path):
    with pytest.raises(ValueError, match="no judge exists for smug: storyworld has no texts"):
        judge_for(["afraid", "smug"])
    path = tmp_path / "judge.jsonl"
    rows = [{"concept": name, "text": f"{name} word{number} again"} for name in ("smug", "meek") for number in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert judge_for(["smug"], path).accuracy == 1.0
    with pytest.raises(ValueError, match="no judge exists for afraid"):
        judge_for(["afraid"], path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1: not JSON"),
        ('{"concept": "a"}', ":1: a line needs"),
        ('{"concept": "a", "text": "b c"}', "at least 5 texts"),
    ],
)
def test_a_bad_file_is_named(tmp_path, line, message):
    path = tmp_path / "judge.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        judge_from_file(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        judge_from_file(tmp_path / "nowhere.jsonl")
