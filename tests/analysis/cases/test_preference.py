"""Strengths come back, planted correlations are found, decoys and category effects are not taken for them."""

import numpy as np
import pytest

from analysis.cases.preference import Chooser, _test, bradley_terry, levels_at, load_activities, preference
from analysis.study import Study

HOOK = "blocks.1.hook_resid_post"


def test_strengths_come_back_whatever_the_order_effect():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=12)
    truth -= truth.mean()
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
    choices = np.array([(i, j, truth[i] - truth[j] + 0.7) for i, j in pairs])  # the first is always preferred a little
    found = bradley_terry(choices, 12)
    assert np.corrcoef(found, truth)[0, 1] > 0.999
    assert np.abs(found - truth).max() < 0.15


def test_a_category_effect_is_not_a_label_within_categories():
    rng = np.random.default_rng(1)
    categories = [str(number // 9) for number in range(72)]
    good = np.repeat(rng.normal(size=8) * 3, 9)
    elo = good + rng.normal(size=72)
    null = rng.normal(size=(72, 40))
    between = _test("a", "story", elo, good + rng.normal(size=72), null, categories, 0)
    inside = _test("a", "story", elo, elo + rng.normal(size=72), null, categories, 0)
    chance = _test("a", "story", elo, rng.normal(size=72), null, categories, 0)
    assert between.r > 0.6
    assert abs(between.r_within) < 0.35
    assert inside.r_within > 0.4
    assert inside.p < 0.01 < chance.p
    assert inside.low > 0
    assert between.control_share == 0
    assert chance.control_share > 0.05


def test_the_bundled_activities_are_whole():
    activities = load_activities()
    assert len(activities) >= 64
    counts = {one.category: sum(one.category == other.category for other in activities) for one in activities}
    assert len(counts) == 8
    assert min(counts.values()) >= 8
    for form in ("activity", "story"):
        means = [
            np.mean([len(getattr(one, form).split()) for one in activities if one.category == name]) for name in counts
        ]
        assert max(means) - min(means) < 1.0, "no category is told by its length"


def test_a_mention_is_found_token_by_token(tiny):
    chooser = Chooser(tiny, "story", ["look at the rain", "sit on the mat"])
    context = chooser.context((0, 1))
    start, stop = chooser._window(context, "look at the rain")
    ids = tiny.tokenise([context]).ids[0]
    assert "".join(tiny.strings(ids[start:stop])) == " look at the rain"
    forward, back = chooser.logits([(0, 1), (1, 0)])[:, 2]
    assert np.isfinite([forward, back]).all()


def test_levels_are_of_the_activity_and_not_of_what_stands_around_it(tiny):
    class Reader:
        """A label that reads 1 in "sat" and "cat" and 0 elsewhere, at every token but the first mark."""

        model = tiny

        def texts(self, texts):
            for text in texts:
                tokens = tiny.tokenise([text])
                yield np.array([[float("at" in one)] for one in tiny.strings(tokens.ids[0][tokens.keep[0]])])

    texts = ["The cat sat. Nora chose to look at the rain.", "The cat sat. Nora chose to fly high."]
    at, none = levels_at(Reader(), texts, ["look at the rain", "fly high"])[:, 0]
    assert none == 0, "the cat sat in every text"
    assert at > 0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from tests.commands.conftest import make_model
    from training.language_models.opening import open_model

    return open_model(make_model(tmp_path_factory.mktemp("tiny")), "cpu")


def test_the_journey_leaves_its_tables(tiny, tmp_path):
    from tests.commands.conftest import make_sae, write_study

    sae = make_sae(tmp_path / "sae", tmp_path / "tiny")
    study = Study.open(write_study(tmp_path / "study", sae, tmp_path / "tiny"))
    activities = load_activities()[::8]
    preference(
        study, tiny, activities, concepts=["afraid"], clamped=["afraid"], doses=(1.0,), controls=0, progress=False
    )
    assert len(study.read("activity_scores")) == len(activities)
    assert sum(one.elo for one in study.read("activity_scores")) == pytest.approx(0, abs=1e-3)
    (one,) = study.read("preference_tests")
    assert (one.n_activities, one.n_controls) == (len(activities), 0)
    (shift,) = study.read("preference_shifts")
    assert shift.low <= shift.shift <= shift.high
    assert shift.p is None


def test_a_chat_needs_a_chat_model(tiny):
    with pytest.raises(ValueError, match="is no chat model"):
        Chooser(tiny, "chat", ["a", "b"])


def test_a_stopped_run_goes_on_and_other_settings_begin_anew(tiny, tmp_path, monkeypatch):
    from tests.commands.conftest import make_sae, write_study

    sae = make_sae(tmp_path / "sae", tmp_path / "tiny")
    study = Study.open(write_study(tmp_path / "study", sae, tmp_path / "tiny"))
    activities = load_activities()[::8]
    asked, stopped = [], []
    logits = Chooser.logits

    def counted(self, pairs, interventions=(), *more):
        if len(asked) == 2 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        asked.append(len(pairs))
        return logits(self, pairs, interventions, *more)

    def run(**changes):
        preference(
            study, tiny, activities, concepts=["afraid"], clamped=["afraid"],
            **{"doses": (-1.0, 1.0), "controls": 0, "progress": False, **changes},
        )  # fmt: skip
        return [repr(study.read(name)) for name in ("activity_scores", "preference_tests", "preference_shifts")]

    whole = run()
    lines = (study.folder / "preference_transcripts.jsonl").read_text().splitlines()
    pairs = len(activities) * (len(activities) - 1)
    assert len(lines) > 1 + pairs
    (study.folder / "preference_transcripts.jsonl").unlink()
    monkeypatch.setattr(Chooser, "logits", counted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert asked[0] == pairs
    assert run() == whole
    assert sum(asked) == len(lines) - 1, "nothing is asked twice"
    run(doses=(1.0,))
    assert sum(asked) == len(lines) - 1, "a smaller run asks nothing"
    before = sum(asked)
    run(doses=(2.0,))
    assert before < sum(asked) < before + pairs, "another dose is asked for, and the choices without a clamp stand"
