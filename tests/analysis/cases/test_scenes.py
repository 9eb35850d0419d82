"""The gallery is whole, and expected labels are told from others."""

import numpy as np
import pytest

from analysis.cases.scenes import gallery, gallery_test, load_scenes
from analysis.study import Study


def test_the_gallery_is_whole():
    scenes = load_scenes()
    kinds = {scene.kind: sum(scene.kind == other.kind for other in scenes) for scene in scenes}
    assert set(kinds) == {
        "sad_user",
        "dangerous_dose",
        "missing_attachment",
        "dwindling_budget",
        "angry_insult",
        "harmful_request",
    }
    assert min(kinds.values()) >= 4
    for scene in scenes:
        assert scene.expected
        assert scene.story != scene.story_twin
        assert scene.chat != scene.chat_twin
        assert scene.chat[-1]["role"] == scene.chat_twin[-1]["role"] == "user"
        assert abs(len(scene.story.split()) - len(scene.story_twin.split())) <= 4


@pytest.mark.parametrize(("effect", "found"), [(1.5, True), (0.0, False), (-1.5, False)])
def test_expected_labels_are_told_from_others(effect, found):
    rng = np.random.default_rng(0)
    expected = np.zeros((24, 10), bool)
    expected[np.arange(24), rng.integers(0, 10, 24)] = True
    one = gallery_test(rng.normal(size=(24, 10)) + effect * expected, expected)
    assert (one.p < 0.01) == found
    assert one.n == 24


def test_scenes_that_wake_everything_are_no_evidence():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(20):
        expected = np.zeros((24, 10), bool)
        expected[np.arange(24), rng.integers(0, 10, 24)] = True
        found.append(gallery_test(3.0 + rng.normal(size=(24, 10)), expected).p)
    assert sum(p < 0.05 for p in found) <= 3
    assert np.mean(found) > 0.3


def test_the_journey_leaves_its_table(tmp_path):
    from tests.commands.conftest import make_model, make_sae, write_study

    model = make_model(tmp_path / "tiny")
    study = Study.open(write_study(tmp_path / "study", make_sae(tmp_path / "sae", model), model))
    rows, test = gallery(study, progress=False, device="cpu")
    assert study.read("scenes") == rows
    assert {row.concept for row in rows} == {"afraid"}
    assert len(rows) == len(load_scenes())
    assert 0 < test.n < len(rows)


def test_a_wrong_file_is_named(tmp_path):
    path = tmp_path / "s.toml"
    for text, said in (
        ("[[scene]]\nname = 'a'", "scene 1 lacks chat"),
        ("x = ", "is not TOML"),
        ("scene = 3", "must be written as"),
        ("", "holds no scene"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            load_scenes(path)
