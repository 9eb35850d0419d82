"""The judges learn, are the same each time, and say what they do not know."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.clamping.judge import JudgeText, auroc_low, judge_for, storyworld_texts, texts_from_file, train_judge
from analysis.concepts.concept import Text, load_concepts
from training.corpora.storyworld.moments import moments

FEELINGS = ("afraid", "calm", "happy", "angry")
FAMILIES = dict(zip(FEELINGS, ("fear", "peace", "joy", "anger"), strict=True))


@pytest.fixture(scope="module")
def few():
    return [row for row in storyworld_texts(25) if row.concept in FEELINGS]


@pytest.fixture(scope="module")
def judge(few):
    return train_judge(few, FAMILIES)


def test_they_learn_storyworlds_feelings(judge):
    assert judge.concepts == tuple(sorted(FEELINGS))
    assert (judge.auroc_low > 0.8).all()
    fresh = [(feeling, text) for feeling, text in moments(8, seed=99) if feeling in FEELINGS]
    scores = judge.scores([text for _, text in fresh])
    own = np.array([[feeling == name for name in judge.concepts] for feeling, _ in fresh])
    assert scores[own].mean() == pytest.approx(1.0, abs=0.35), "its own texts are where 1 is"
    assert scores[~own].mean() == pytest.approx(0.0, abs=0.2), "and the others are where 0 is"


def test_shuffled_concepts_teach_them_nothing(few):
    names = np.random.default_rng(0).permutation([row.concept for row in few])
    shuffled = train_judge([row._replace(concept=str(name)) for row, name in zip(few, names, strict=True)], FAMILIES)
    assert (shuffled.auroc_low < 0.6).all()


def test_the_same_seed_gives_the_same_judges(few, judge):
    texts = [row.text for row in few[:5]]
    np.testing.assert_array_equal(train_judge(few, FAMILIES).scores(texts), judge.scores(texts))


def test_words_that_stand_everywhere_bear_nothing(judge):
    assert "afraid" in judge.words("afraid", 5)
    assert not {"the", "and", "was", "a"} & set(judge.words("afraid", 200))
    assert len(judge.words("afraid", 7)) == 7


def test_siblings_do_not_compete(few):
    """Texts that two concepts of one family share speak for both."""
    twins = [*few, *(row._replace(concept="scared", text=row.text + " ") for row in few if row.concept == "afraid")]
    made = train_judge(twins, {**FAMILIES, "scared": "fear"})
    assert made.auroc[[made.concepts.index(name) for name in ("afraid", "scared")]].min() > 0.8


def test_a_source_is_not_learned():
    """Own texts of one source beside others of another: only like is compared with like."""
    rng = np.random.default_rng(0)
    rows = [JudgeText("afraid", f"ghost {rng.integers(99)} once upon {rng.integers(99)}", "a") for _ in range(20)]
    rows += [JudgeText("calm", f"once upon {rng.integers(99)} tea {rng.integers(99)}", "a") for _ in range(20)]
    rows += [JudgeText("calm", f"dear diary {rng.integers(99)} tea {rng.integers(99)}", "b") for _ in range(20)]
    made = train_judge(rows, {}, ["afraid"])
    weight = dict(zip(made.vectoriser.get_feature_names_out(), made.weights[0], strict=True))
    assert weight["ghost"] > 1.0
    assert abs(weight["once"]) < 0.2 * weight["ghost"], "which would tell 20 of the 40 others"


def test_the_sets_own_judge_texts_are_used_beside_storyworlds():
    core = load_concepts("emotions", strict=False)
    texts = tuple(Text(f"grumbling kettle number {number} sat sulking", "") for number in range(8))
    own = replace(core.concepts["afraid"], texts={"judge": texts})
    smug = replace(own, name="smug", family="pride")
    made = judge_for(
        ["smug"], replace(core, concepts={"afraid": own, "smug": smug}, neutral={"judge": texts[:0]}), seed=0
    )
    assert made.concepts == ("afraid", "smug")
    assert made.n_own == (158, 8)


def test_an_unknown_concept_needs_texts_of_its_own(tmp_path, concept_set):
    with pytest.raises(ValueError, match="no judge exists for mooda: moods has no judge texts"):
        judge_for(["mooda"], concept_set)
    path = tmp_path / "judge.jsonl"
    rows = [
        {"concept": name, "text": f"{name} word{number} again"} for name in ("moodb", "moodc") for number in range(8)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert judge_for(["moodb"], concept_set, path).concepts == ("moodb", "moodc")
    with pytest.raises(ValueError, match="no judge exists for mooda"):
        judge_for(["mooda"], concept_set, path)


@pytest.mark.parametrize(("line", "message"), [("{", ":1: not JSON"), ('{"concept": "a"}', ":1: a line needs")])
def test_a_bad_file_is_named(tmp_path, line, message):
    path = tmp_path / "judge.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        texts_from_file(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        texts_from_file(tmp_path / "nowhere.jsonl")


def test_too_few_texts_are_named(few):
    with pytest.raises(ValueError, match="at least 5 texts of each concept, got 1 of 'smug'"):
        train_judge([*few, JudgeText("smug", "a b c", "storyworld")], FAMILIES)
    with pytest.raises(ValueError, match="texts of another family"):
        train_judge([row for row in few if row.concept == "calm"], FAMILIES)


def test_the_interval_covers_the_true_auroc():
    rng, covered = np.random.default_rng(0), 0
    positive = np.arange(200) < 20
    for _ in range(200):
        area, low = auroc_low(rng.normal(positive * 1.0), positive)  # the true AUROC is 0.760
        covered += low <= 0.760
        assert low < area
    assert covered >= 185
