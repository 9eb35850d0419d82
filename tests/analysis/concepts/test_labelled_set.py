"""A labelled data set becomes a concept set without letting its splits, labels or readout words run into each other."""

import json

import pytest

from analysis.concepts.concept import load_concepts

MAP = """
data: data.jsonl
text: text
labels: labels
neutral: none
concepts: {fear: afraid}
families: {cold: [fear, dread]}
readout_words: {fear: [shudder]}
split: split
splits: {finding: train, checking: dev, sealed: test}
limits: {finding: 6, checking: 4, sealed: 3, neutral: 5}
"""


def row(label: str, split: str, number: int, text: str = "") -> dict:
    return {"text": text or f"{label} story {number} of {split}", "labels": [label], "split": split}


def rows() -> list[dict]:
    labels = ("fear", "dread", "joy", "none")
    return [row(label, split, number) for label in labels for split in ("train", "dev", "test") for number in range(9)]


def a_set(folder, some: list[dict], lines: str = MAP, **options):
    (folder / "data.jsonl").write_text("".join(json.dumps(one) + "\n" for one in some))
    (folder / "mine.yaml").write_text(lines)
    return load_concepts(folder / "mine.yaml", **options)


def texts_of(concepts, split: str) -> list[str]:
    return [text.text for one in concepts.concepts.values() for text in one.of(split)]


def test_its_splits_and_families_become_ours(tmp_path):
    found = a_set(tmp_path, rows())
    assert found.name == "mine"
    assert set(found.concepts) == {"afraid", "dread", "joy"}
    assert found.families == {"cold": ["dread", "afraid"], "joy": ["joy"]}
    for one in found.concepts.values():
        assert {split: len(some) for split, some in one.texts.items()} == {"finding": 6, "checking": 4}
        assert all("train" in text.text for text in one.of("finding"))
        assert len({text.topic for text in one.of("finding")}) == 6
    assert {split: len(some) for split, some in found.neutral.items() if split != "prompt"} == {
        "finding": 5,
        "checking": 5,
    }
    assert len(found.neutral["prompt"]) >= 48
    assert found.concepts["afraid"].valence < 3 < 7 < load_concepts("core").concepts["joyful"].valence
    assert found.concepts["dread"].valence is None


def test_the_seal_changes_nothing_else(tmp_path):
    closed, opened = a_set(tmp_path, rows()), a_set(tmp_path, rows(), open_sealed=True)
    assert not texts_of(closed, "sealed")
    assert len(texts_of(opened, "sealed")) == 9
    assert opened.hash == closed.hash
    assert texts_of(opened, "finding") == texts_of(closed, "finding")
    assert a_set(tmp_path, rows(), MAP + "seed: 1\n").hash != closed.hash


def test_what_would_give_the_answer_away_is_left_out(tmp_path):
    copies = [row("joy", "dev", number, f"joy story {number} of train") for number in range(9)]
    both = [{"text": f"mixed {number}", "labels": ["joy", "fear"], "split": "train"} for number in range(20)]
    told = [row("fear", "train", number, f"they shudder {number}") for number in range(20)]
    found = a_set(tmp_path, [*rows(), *copies, *both, *told])
    finding, checking = texts_of(found, "finding"), texts_of(found, "checking")
    assert not set(finding) & set(checking)
    assert not any("mixed" in text or "shudder" in text for text in finding)
    assert found.concepts["afraid"].readout_words == ("shudder",)


def test_a_data_set_without_splits_is_dealt_out(tmp_path):
    some = [{"text": f"{label} {number}", "labels": label} for label in ("a", "b") for number in range(60)]
    found = a_set(tmp_path, some, "data: data.jsonl\ntext: text\nlabels: labels\n", open_sealed=True)
    split = {name: set(texts_of(found, name)) for name in ("finding", "checking", "sealed")}
    assert sum(map(len, split.values())) == len(set.union(*split.values())) == 120
    assert len(split["finding"]) > len(split["checking"]) > 10 < len(split["sealed"])


def test_too_few_labels(tmp_path):
    with pytest.raises(ValueError, match="1 of its labels have 2 finding and 2 checking texts"):
        a_set(tmp_path, [one for one in rows() if one["labels"][0] in ("joy", "none")])
    with pytest.raises(ValueError, match="emobank has no labels"):
        load_concepts("emobank")
