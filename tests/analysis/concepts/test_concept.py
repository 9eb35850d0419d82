"""The bundled concept set is whole, and a wrong file is named with its line."""

import json

import pytest

from analysis.concepts.concept import KINDS, LEAST, concept_heads, load_concepts, masked
from training.corpora.storyworld.bank import FEELINGS

HEAD = {"concept": "afraid", "family": "fear", "definition": "danger is near", "readout_words": ["hid"]}


CORE_LEAST = {"finding": 16, "checking": 12, "implicit": 8, "contrast": 4, "prompt": 6, "judge": 16, "sealed": 6}


@pytest.fixture(scope="module")
def emotions():
    return load_concepts()


@pytest.fixture(scope="module")
def core():
    return load_concepts("core", open_sealed=True)


def test_the_bundled_set_is_whole(core):
    emotions = load_concepts(open_sealed=True)
    assert len(emotions.concepts) == 171
    assert set(core.concepts) == set(FEELINGS) <= set(emotions.concepts)
    assert core.hash != emotions.hash
    for concepts, least_of in ((emotions, LEAST), (core, CORE_LEAST)):
        for concept in concepts.concepts.values():
            for split, least in least_of.items():
                assert len(concept.of(split)) >= least, (concept.name, split)
    for concept in emotions.concepts.values():
        assert concept.valence is None or 1 <= concept.valence <= 9
        assert concept.arousal is None or 1 <= concept.arousal <= 9
    rated = [concept for concept in emotions.concepts.values() if concept.arousal is not None]
    assert len(rated) == 118
    quadrants = {(concept.valence > 5, concept.arousal > 5) for concept in rated}
    assert len(quadrants) == 4
    assert len(emotions.neutral["prompt"]) >= 48
    assert "Glasgow" in emotions.ratings_source
    held = [text for concept in emotions.concepts.values() for texts in concept.texts.values() for text in texts]
    assert len(held) >= 5400
    assert len({text.text for text in held}) == len(held)


def test_the_second_bundled_set_is_whole():
    traits = load_concepts("character", open_sealed=True)
    assert len(traits.concepts) == 12
    assert sorted(map(len, traits.families.values())) == [2] * 6
    for trait in traits.concepts.values():
        for split, least in LEAST.items():
            assert len(trait.of(split)) >= least, (trait.name, split)
        assert not [text for text in trait.of("implicit") if masked(text.text, trait.names) != text.text]
    assert len(traits.neutral["prompt"]) >= 48


def test_implicit_texts_never_name_the_emotion_and_contrast_texts_do(emotions):
    for concept in emotions.concepts.values():
        for split in ("implicit", "judge") if concept.of("prompt") == () else ("implicit",):
            for text in concept.of(split):
                assert masked(text.text, concept.names) == text.text, text.text
        kinds = {text.kind for text in concept.of("contrast")}
        assert {"negated", "quoted"} <= kinds <= set(KINDS), concept.name
        said = [masked(text.text, concept.names) != text.text for text in concept.of("contrast")]
        assert sum(said) >= len(said) / 2


def test_no_setting_gives_a_concept_away(emotions):
    for concept in emotions.concepts.values():
        if concept.of("finding")[0].setting:
            for split in ("finding", "checking"):
                assert len({text.setting for text in concept.of(split)}) >= 10, concept.name


def test_words_and_phrases_that_name_are_masked():
    assert (
        masked("Ill at ease? He was at ease, afraid of nothing.", ("at ease", "afraid"))
        == "Ill so? He was so, so of nothing."
    )
    assert masked("unafraid", ("afraid",)) == "unafraid"


def test_sealed_texts_stay_closed_unless_asked_for(emotions):
    assert not any(concept.of("sealed") for concept in emotions.concepts.values())


def test_a_subset_of_a_users_set(tmp_path):
    folder = a_set(tmp_path / "set", [HEAD, *texts()])
    (folder / "few.txt").write_text("afraid\n")
    assert list(load_concepts(f"{folder}:few").concepts) == ["afraid"]
    (folder / "few.txt").write_text("brave\n")
    with pytest.raises(ValueError, match="does not hold: brave"):
        load_concepts(f"{folder}:few")
    with pytest.raises(FileNotFoundError, match="no subset 'many'"):
        load_concepts(f"{folder}:many")


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


@pytest.mark.parametrize("source", ["emotions", "core"])
def test_heads_say_what_the_whole_set_says_and_know_it_by_its_hash(source):
    heads, found_hash = concept_heads(source)
    whole = load_concepts(source)
    assert found_hash == whole.hash
    assert heads == {
        name: (one.family, one.definition, one.valence, one.arousal) for name, one in whole.concepts.items()
    }
