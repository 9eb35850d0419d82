"""The bundled maps fit the vocabulary, and what is wrong in a map is named."""

import pytest

from analysis.concepts.column_map import bundled_maps, read_map
from analysis.concepts.concept import ratings_of


def test_the_bundled_maps_speak_of_concepts_that_there_are():
    vocabulary = set(ratings_of("emotions"))
    for name in bundled_maps():
        column_map = read_map(name)
        assert column_map.name == name
        assert column_map.source
        assert {concept for some in column_map.concepts.values() for concept in some} <= vocabulary


def test_goemotions_has_its_28_labels_and_the_ekman_families():
    column_map = read_map("goemotions")
    assert len(column_map.names) == 28
    assert column_map.neutral == ("neutral",)
    assert {label for some in column_map.families.values() for label in some} == set(column_map.names) - {"neutral"}
    assert column_map.family_of("grief") == "sadness"
    assert column_map.named("nervousness") == ("nervous", "anxious")
    assert column_map.named("realization") == ()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("text: text\nlabels: x", "'data' is needed"),
        ("data: a.csv\ntext: text", "'labels' or 'numbers' is needed"),
        ("data: a.csv\ntext: text\nlabel: x", "no field 'label'; did you mean labels"),
        ("data: a.csv\ntext: text\nlabels: x\nnames: [joy, fear]\nneutral: feer", "'feer' is none of the labels; did you mean fear"),
        ("data: a.csv\ntext: text\nlabels: [joy, fear]\nconcepts: {jo: joyful}", "'jo' is none of the labels; did you mean joy"),
        ("data: a.csv\ntext: text\nnumbers: {valance: V}", "numbers has no 'valance'; did you mean valence"),
        ("data: a.csv\ntext: text\nlabels: x\nsplits: {finding: train, checking: train}", "splits must differ"),
        ("data: a.csv\ntext: text\nlabels: x\nlimits: {finding: many}", "finding must be a whole number"),
        ("data: a.csv\ntext: text\nlabels: {x: 1}", "labels must be a string or a list"),
        ("- text", "must hold fields"),
        ("text: [", "is not YAML"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, lines, said):
    path = tmp_path / "map.yaml"
    path.write_text(lines)
    with pytest.raises(ValueError, match=said) as error:
        read_map(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_map_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="carer, emobank, goemotions"):
        read_map("goemotion.yaml")


def test_data_beside_the_map_are_found(tmp_path):
    (tmp_path / "mine.csv").write_text("text,label\n")
    (tmp_path / "map.yaml").write_text("data: mine.csv\ntext: text\nlabels: label")
    assert read_map(tmp_path / "map.yaml").data == str(tmp_path / "mine.csv")
