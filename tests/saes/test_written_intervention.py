"""An intervention is the same as a value and as a file; units are resolved by statistics; mistakes name the field."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from saes.intervention import Condition, Edit, Intervention, TokenSet, Turns
from saes.latent_statistics import ActiveValues, LabelUnits, LatentStatistics, statistics_from_data
from saes.written_intervention import (
    Amount,
    WrittenEdit,
    WrittenIntervention,
    WrittenSite,
    intervention_from_data,
    read_intervention,
    write_intervention,
)

STATISTICS = LatentStatistics(
    "the card",
    {3: ActiveValues(((0, 1.0), (50, 2.0), (95, 10.0), (100, 20.0)))},
    {"afraid": LabelUnits((3, 5), (10.0, 4.0))},
)

NUMBERS = st.floats(-100, 100)
VALUES = st.sampled_from(["raw", "max", "dose"]).flatmap(lambda unit: NUMBERS.map(lambda number: Amount(number, unit)))
LATENTS = st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True).map(tuple)
EDITS = st.one_of(
    st.builds(WrittenEdit, st.sampled_from(["set", "add", "min", "max"]), st.just("afraid"), st.just(()), VALUES),
    st.builds(lambda ids, value: WrittenEdit("set", None, ids, value, (0.5,) * len(ids), True), LATENTS, VALUES),
    st.builds(lambda ids, number: WrittenEdit("scale", None, ids, Amount(number, "factor")), LATENTS, NUMBERS),
    st.builds(lambda ids: WrittenEdit("scale", None, ids, Amount(2, "factor"), (0.5,) * len(ids)), LATENTS),
    st.builds(lambda ids: WrittenEdit("ablate", None, ids), LATENTS),
)
SITES = st.builds(
    lambda edits, positions, condition, names: WrittenSite(tuple(edits), *positions, condition, *names),
    st.lists(EDITS, min_size=1, max_size=3),
    st.sampled_from([("all", False), ("assistant", False), ((2, 5), False), ((" a", 7), True)]),
    st.none() | st.tuples(st.integers(0, 9), VALUES),
    st.sampled_from([(None, None, None), ("1e3", None, "1e-3"), ("an-sae", "blocks.1.hook_resid_post", "a-study")]),
)


@given(sites=st.lists(SITES, min_size=1, max_size=2).map(tuple), ending=st.sampled_from(["yaml", "json"]))
@settings(max_examples=60, deadline=None)
def test_value_to_file_and_back(sites, ending, tmp_path_factory):
    written = WrittenIntervention(sites)
    path = tmp_path_factory.mktemp("spec") / f"spec.{ending}"
    write_intervention(path, written)
    assert read_intervention(path) == written


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"raw": 7}, 7.0),
        ({"max": 0.5}, 10.0),
        ({"percentile": 50}, 2.0),
        ({"percentile": 97.5}, 15.0),
        ({"dose": 2}, 20.0),
    ],
)
def test_units_are_resolved_by_the_statistics(value, expected):
    edit = {"mode": "set", "latents": [3], "value": value}
    data = {"version": 1, "sites": [{"edits": [edit], "only_where": {"latent": 3, "above": value}}]}
    found = intervention_from_data(data).sites[0].resolved(STATISTICS)
    assert found == Intervention((Edit((3,), 1.0, "set", (expected,)),), "all", Condition(3, expected))


def test_a_label_is_its_latents_in_dose_units():
    edit = WrittenEdit("add", "afraid", value=Amount(-2, "dose"))
    assert edit.resolved(STATISTICS) == Edit((3, 5), 1.0, "add", (-20.0, -8.0))
    assert WrittenEdit("ablate", "afraid").resolved(STATISTICS) == Edit((3, 5), 0.0, "ablate")


@pytest.mark.parametrize(("mode", "unit"), [("scale", "factor"), ("set", "raw"), ("set", "max")])
def test_a_weight_multiplies_its_latent_s_amount(mode, unit):
    edit = WrittenEdit(mode, None, (3, 4), Amount(2, unit), (0.5, 3.0))
    known = LatentStatistics("the card", dict.fromkeys((3, 4), ActiveValues(((0, 0.0), (100, 10.0)))))
    one = 10.0 if unit == "max" else 1.0
    assert edit.resolved(known).values == (1.0 * one, 6.0 * one)


def test_tokens_and_turns_are_resolved_by_the_model():
    edits = (WrittenEdit("ablate", latents=(1,)),)
    ids = {" a": [4], "long": [5, 6]}
    site = WrittenSite(edits, (" a", 9), token_set=True)
    assert site.resolved(token_ids=ids.__getitem__).positions == TokenSet((4, 9))
    with pytest.raises(ValueError, match="'long' is 2 tokens"):
        WrittenSite(edits, ("long",), token_set=True).resolved(token_ids=ids.__getitem__)
    turns = Turns((1,), (2,))
    assert WrittenSite(edits, "assistant").resolved(turns=lambda: turns).positions == turns


GOOD = {"version": 1, "sites": [{"edits": [{"mode": "set", "latents": [3], "value": {"raw": 1.0}}]}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(version=2), "version: 2 is none of 1"),
        (lambda d: d.pop("sites"), "the field 'sites' is missing"),
        (lambda d: d["sites"][0].update(position="all"), "did you mean positions"),
        (lambda d: d["sites"][0].update(positions="promt"), r"sites\[0\].positions: 'promt' is none of .* mean prompt"),
        (lambda d: d["sites"][0].update(positions={"windw": [1, 2]}), "did you mean window"),
        (lambda d: d["sites"][0].update(positions={"window": [5, 2]}), "must ascend"),
        (lambda d: d["sites"][0].update(positions=[1, 2]), "expected a text or a mapping"),
        (lambda d: d["sites"][0]["edits"][0].update(mode="sett"), r"edits\[0\].mode: 'sett' .* did you mean set"),
        (lambda d: d["sites"][0]["edits"][0].update(value=3), "expected a mapping, got 3"),
        (lambda d: d["sites"][0]["edits"][0].update(value={"doses": 3}), "did you mean dose"),
        (lambda d: d["sites"][0]["edits"][0].update(value={"raw": 3, "max": 1}), "exactly one of raw, max"),
        (lambda d: d["sites"][0]["edits"][0].update(value={"percentile": 101}), "101 is not from 0 to 100"),
        (lambda d: d["sites"][0]["edits"][0].update(value={"raw": float("nan")}), "expected a number"),
        (lambda d: d["sites"][0]["edits"][0].update(value={"factor": 2}), "set takes a value in one of the units"),
        (lambda d: d["sites"][0]["edits"][0].update(mode="ablate"), "ablate takes no value"),
        (
            lambda d: d["sites"][0].update(edits=[{"mode": "ablate", "latents": [3], "weights": [0.5]}]),
            r"edits\[0\]: ablate takes no weights",
        ),
        (lambda d: d["sites"][0]["edits"][0].update(latents=[-1]), r"latents\[0\]: -1 is not 0 or more"),
        (lambda d: d["sites"][0]["edits"][0].update(latents=[True]), "expected a whole number"),
        (lambda d: d["sites"][0]["edits"][0].update(label="afraid"), "either a label or latents"),
        (lambda d: d["sites"][0]["edits"][0].update(weights=[1.0, 2.0]), "2 weights for 1 latents"),
        (lambda d: d["sites"][0].update(only_where={"latent": 1, "above": {"factor": 1}}), "only_where.above"),
    ],
)
def test_mistakes_name_the_field_and_what_would_do(change, said):
    data = json.loads(json.dumps(GOOD))
    change(data)
    with pytest.raises(ValueError, match=said) as caught:
        intervention_from_data(data, "spec.yaml")
    assert str(caught.value).startswith("spec.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "statistics", "said"),
    [
        (WrittenEdit("set", "afraidd", value=Amount(1, "dose")), STATISTICS, "did you mean afraid"),
        (WrittenEdit("set", "afraid", value=Amount(1, "dose")), None, "no study says what it means"),
        (WrittenEdit("set", latents=(3,), value=Amount(1, "max")), None, "without statistics"),
        (WrittenEdit("set", latents=(4,), value=Amount(1, "max")), STATISTICS, "how strongly latent 4 fires"),
    ],
)
def test_what_cannot_be_resolved_is_said(edit, statistics, said):
    with pytest.raises(ValueError, match=said):
        edit.resolved(statistics)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "card.json: expected a mapping"),
        ({"latents": [[0, 1.0], [100, 2.0]]}, "card.json.latents: expected a mapping"),
        ({"latents": [{"3": 1}]}, "card.json.latents: expected a mapping"),
        ({"latents": 3}, "card.json.latents: expected a mapping, got 3"),
        ({"labels": None}, "card.json.labels: expected a mapping, got None"),
        ({"latents": {3: []}}, "card.json.latents: expected a mapping"),
        ({"latents": {"3": {"0": 1.0}}}, "card.json.latents.3: expected a list"),
        ({"latents": {"3": [[0, "1.0"], [100, 2.0]]}}, r"card.json.latents.3\[0\]\[1\]: expected a number, got '1.0'"),
        ({"latents": {"3": [[0, 10**400], [100, 2.0]]}}, r"card.json.latents.3\[0\]\[1\]: expected a number"),
        ({"latents": {"3": [[0], [100, 2.0]]}}, r"card.json.latents.3\[0\]: expected 2 entries, got 1"),
        ({"latents": {"3": [[0, 1.0], [90, 2.0]]}}, "card.json.latents.3: percentiles must ascend"),
        ({"latents": {"x": [[0, 1.0], [100, 2.0]]}}, "card.json.latents: 'x' is no latent's number"),
        ({"labels": {"afraid": {"latents": [3]}}}, "card.json.labels.afraid: the field 'units' is missing"),
        ({"labels": {"afraid": [3]}}, "card.json.labels.afraid: expected a mapping"),
        ({"labels": {"afraid": {"latents": [3], "units": ["1"]}}}, r"afraid.units\[0\]: expected a number, got '1'"),
        ({"labels": {"afraid": {"latents": [3], "units": [1.0, 2.0]}}}, "afraid: 1 latents need as many units"),
    ],
)
def test_mistakes_in_a_card_name_the_field(data, said):
    with pytest.raises(ValueError, match=said) as caught:
        statistics_from_data(data, "card.json")
    assert "\n" not in str(caught.value)


def test_a_card_of_statistics_is_the_same_as_data():
    assert statistics_from_data(json.loads(json.dumps(STATISTICS.as_data())), "the card") == STATISTICS
    with pytest.raises(ValueError, match="ascend from 0 to 100"):
        statistics_from_data({"latents": {"3": [[0, 1.0], [90, 2.0]]}}, "card.json")
    with pytest.raises(ValueError, match="did you mean latents"):
        statistics_from_data({"latent": {}}, "card.json")


def test_the_examples_of_the_document_are_true():
    text = (Path(__file__).parents[2] / "docs" / "interventions.md").read_text()
    example = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    written = intervention_from_data(example)
    assert written.as_data()["sites"][0] == example["sites"][0]
    card = json.loads(text.split("```json\n")[1].split("```")[0])
    assert statistics_from_data(card, "card").label("afraid").units == (40.0,)
