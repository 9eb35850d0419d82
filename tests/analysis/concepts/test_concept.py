"""The bundled concept set is whole, and a wrong file is named with its line."""

import json

import pytest

from analysis.concepts.concept import LEAST, load_concepts
from training.corpora.storyworld.bank import FEELINGS

HEAD = {"concept": "afraid", "family": "fear", "definition": "danger is near", "readout_words": ["hid"]}


def test_the_bundled_set_is_whole():
    concepts = load_concepts(open_sealed=True)
    assert set(concepts.concepts) == set(FEELINGS)
    for concept in concepts.concepts.values():
        for split, least in LEAST.items():
            assert len(concept.of(split)) >= least, (concept.name, split)
        assert 1 <= concept.valence <= 9
        assert 1 <= concept.arousal <= 9
    assert len(concepts.neutral["prompt"]) >= 32
    assert "Glasgow" in concepts.ratings_source


def test_implicit_texts_never_name_the_emotion_and_contrast_texts_do():
    for concept in load_concepts().concepts.values():
        for text in concept.of("implicit"):
            assert not named(text.text, concept.names), text.text
        said = [named(text.text, concept.names) for text in concept.of("contrast")]
        assert sum(said) >= len(said) / 2


def named(text: str, names: tuple[str, ...]) -> bool:
    words = "".join(letter.lower() if letter.isalpha() else " " for letter in text).split()
    return any(word.startswith(name) for word in words for name in names)


def test_sealed_texts_stay_closed_unless_asked_for():
    assert not any(concept.of("sealed") for concept in load_concepts().concepts.values())


def a_set(folder, lines, name="afraid"):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    neutral = [
        {"split": split, "text": f"The {thing} stood on the shelf near the {split} door.", "topic": thing}
        for split in ("finding", "checking", "prompt")
        for thing in ("cup", "pot")
    ]
    (folder / "neutral.jsonl").write_text("\n".join(json.dumps(line) for line in neutral))
    return folder


def texts():
    return [
        {"split": split, "text": f"{name} ran from the {split} bear.", "topic": name}
        for split in ("finding", "checking")
        for name in ("Tom", "Mia")
    ]


def test_a_users_own_set_loads(tmp_path):
    concepts = load_concepts(a_set(tmp_path / "set", [HEAD, *texts()]))
    assert list(concepts.concepts) == ["afraid"]
    assert concepts.concepts["afraid"].valence is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEAD, *texts(), "{oops"], r"afraid\.jsonl:6: not JSON"),
        ([HEAD, *texts(), {"split": "maybe", "text": "x"}], r"afraid\.jsonl:6: unknown split 'maybe'"),
        ([HEAD, *texts(), {"split": "finding"}], r"afraid\.jsonl:6: a line needs a split and a text"),
        ([{**HEAD, "family": ""}, *texts()], r"afraid\.jsonl:1: the head lacks 'family'"),
        ([HEAD, *texts(), {"split": "checking", "text": "Tom ran from the finding bear."}], r"afraid\.jsonl:6: nearly the same as .*afraid\.jsonl:2"),
        ([{**HEAD, "readout_words": ["bear"]}, *texts()], r"readout words stand in the concept's own texts: bear"),
        ([HEAD, *texts()[:3]], "at least 2 checking texts"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        load_concepts(a_set(tmp_path / "set", lines))


def test_no_such_set():
    with pytest.raises(FileNotFoundError, match="no concept set"):
        load_concepts("nowhere/at/all")
