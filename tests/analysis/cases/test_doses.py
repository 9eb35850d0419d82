"""Features that follow the danger are told from features that follow the number, and from chance."""

import numpy as np
import pytest

from analysis.cases.doses import DoseFamily, after_number, followed, load_families, trends_of, with_q
from analysis.monitoring.transcript import plain_document

FAMILIES = load_families()
N = 12
"""Families in the planted world."""


def planted(rng, danger: float, number: float) -> np.ndarray:
    """A label's contrasts over N families: its level rises with the danger by so much a step, with any number by so much."""
    values = np.arange(7.0)
    found = []
    for _ in range(N):
        levels = [(both * values + rng.normal(size=7))[:, None] for both in (danger + number, number)]
        found.append(float(np.subtract(*(trends_of(values, one)[0] for one in levels))))
    return np.array(found)


@pytest.fixture
def null() -> np.ndarray:
    rng = np.random.default_rng(9)
    return np.stack([planted(rng, 0.0, 0.0) for _ in range(60)], axis=1)


@pytest.mark.parametrize(
    ("danger", "number", "sign", "found"),
    [
        (1.0, 0.0, 1, True),
        (-1.0, 0.0, -1, True),
        (1.0, 1.0, 1, False),
        (0.0, 2.0, 1, False),
        (0.0, 0.0, 1, False),
        (1.0, 0.0, -1, False),
    ],
)
def test_the_danger_counts_and_the_number_does_not(null, danger, number, sign, found):
    contrast = planted(np.random.default_rng(1), danger, number)
    one = followed("afraid", "story", np.full(N, sign), contrast, null, seed=0)
    assert (one.p < 0.01 and one.low > 0 and one.control_share == 0.0) == found
    assert one.low <= one.contrast <= one.high
    assert (one.n_families, one.n_controls) == (N, 60)


def test_families_that_expect_nothing_do_not_count(null):
    contrast = np.full(N, 1.0)
    signs = np.array([1, -1] + [0] * (N - 2))
    one = followed("afraid", "story", signs, contrast, null)
    assert (one.contrast, one.n_families) == (0.0, 2)


def test_chance_is_rarely_found(null):
    rng = np.random.default_rng(5)
    tests = with_q(
        [followed(str(n), "story", np.ones(N, int), planted(rng, 0.0, 0.0), null, seed=n) for n in range(60)]
    )
    assert sum(one.q <= 0.05 for one in tests) <= 2
    assert np.mean([one.p for one in tests]) == pytest.approx(0.5, abs=0.1)
    assert with_q([]) == []


def test_a_trend_is_spearmans():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    levels = np.round(rng.normal(size=(8, 4)), 1)
    levels[:, 3] = 2.0
    found = trends_of(range(8), levels)
    expected = [spearmanr(range(8), levels[:, column]).statistic for column in range(3)]
    np.testing.assert_allclose(found, [*expected, 0.0], atol=1e-12)


def test_the_bundled_families_are_whole():
    dangers = [family for family in FAMILIES.values() if family.role == "danger"]
    assert len(dangers) >= 12
    for family in FAMILIES.values():
        for form in ("story", "chat"):
            after = getattr(family, form).partition("{n}")[2]
            assert len(after.split()) >= 8, family.name
        assert len(family.values) >= 6
        assert bool(family.rises or family.falls) == (family.role == "danger")
    assert len({family.control for family in dangers}) == len(dangers)


class Halves:
    """A reader that gives each letter its place in the text, in blocks of four."""

    def blocks(self, document):
        from analysis.monitoring.reader import Block

        text = document.text
        for start in range(0, len(text), 4):
            part = text[start : start + 4]
            places = np.array([[start + at, start + at + 1] for at in range(len(part))])
            yield Block(start, list(part), np.zeros(len(part), int), places, places[:, :1].astype(float))


def test_levels_are_read_from_the_number_on():
    family = DoseFamily(
        "a", "b", "danger", (1.0, 20.0), "It was {n} days.", "I have {n} pills now.", ("afraid",), (), ""
    )
    document, end = family.document(20.0, "story", None)
    assert document.text == "It was 20 days."
    assert document.text[:end] == "It was 20"
    assert after_number(Halves(), document, end).tolist() == [np.arange(end, 15).mean()]
    document, end = family.document(2.5, "chat", None)
    assert document.text[:end].endswith("I have 2.5")
    with pytest.raises(ValueError, match="no token follows the number"):
        after_number(Halves(), plain_document("ends here 3"), 11)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{n} days", "days"), "must hold {n} once"),
        (("values = [1, 2, 3, 4]", "values = [1, 3, 2, 4]"), "numbers that ascend"),
        (('control = "b"', 'control = "c"'), "needs a control family with the same values, got 'c'"),
        (('why = "x"', 'reason = "x"'), "lacks why"),
        (('why = "x"', 'why = "x"\nfals = []'), "there is no field 'fals'; did you mean falls"),
        (("[[family]]", "[[family"), "is not TOML"),
        (("values = [1, 2, 3, 4]", "values = 4"), "numbers that ascend"),
        (("values = [1, 2, 3, 4]", 'values = ["a", "b", "c", "d"]'), "numbers that ascend"),
        (('story = "For {n} days it rained."', "story = 7"), "must hold {n} once"),
        (('name = "a"', 'name = "b"'), "there are two families b"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, change, said):
    one = (
        '[[family]]\nname = "a"\ncontrol = "b"\nrole = "danger"\nvalues = [1, 2, 3, 4]\nstory = "For {n} days it rained."\n'
        'chat = "I have {n} of them."\nrises = ["afraid"]\nfalls = []\nwhy = "x"\n'
    )
    other = one.replace('"a"', '"b"').replace('control = "b"', 'control = ""').replace('"danger"', '"control"')
    path = tmp_path / "doses.toml"
    path.write_text(one + other)
    assert set(load_families(path)) == {"a", "b"}
    path.write_text(one.replace(*change) + other)
    with pytest.raises(ValueError, match=said):
        load_families(path)
    path.write_text("family = 3")
    with pytest.raises(ValueError, match=r"must be written as \[\[family\]\]"):
        load_families(path)


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    from analysis.cases import doses
    from analysis.study import Study
    from tests.commands.conftest import make_model, make_sae, write_study
    from training.language_models.opening import open_model

    sae = make_sae(tmp_path / "sae", make_model(tmp_path / "tiny"))
    study = Study.open(write_study(tmp_path / "study", sae, tmp_path / "tiny"))
    model = open_model(tmp_path / "tiny", "cpu")
    danger = next(family for family in FAMILIES.values() if family.role == "danger")
    families = {one.name: one for one in (danger, FAMILIES[danger.control])}
    n = len(danger.values)
    read = []
    after = doses.after_number

    def counted(reader, document, end):
        if len(read) == n:
            read.append("stopped")
            raise KeyboardInterrupt
        read.append(document.text)
        return after(reader, document, end)

    def run(**changes):
        doses.dose_case(study, model, families, ["afraid"], controls=0, progress=False, **changes)
        return repr(study.read("dose_trends")), repr(study.read("dose_tests"))

    whole = run()
    (study.folder / "dose_transcripts.jsonl").unlink()
    monkeypatch.setattr(doses, "after_number", counted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert run() == whole
    assert len(read) == 2 * n + 1, "nothing is read twice"
    assert read[0] == danger.document(danger.values[0], "story", None)[0].text
    run()
    assert len(read) == 2 * n + 1
