"""What is asked of the bench: read strictly, and said again in other words that mean the same."""

import shlex

import pytest
import yaml

from analysis.browser.live.asked import Asked, Limits, parse_clamp
from saes.latent_statistics import ActiveValues, LabelUnits, LatentStatistics
from saes.written_intervention import Amount, WrittenEdit

KNOWN = LatentStatistics(
    "a study", {307: ActiveValues(((0, 0.0), (95, 4.0), (100, 9.0)))}, {"afraid": LabelUnits((3, 8), (2.0, -1.0))}
)


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("afraid=+4", WrittenEdit("set", "afraid", value=Amount(4.0, "dose"))),
        ("afraid:add=-0.5", WrittenEdit("add", "afraid", value=Amount(-0.5, "dose"))),
        ("worn out=1", WrittenEdit("set", "worn out", value=Amount(1.0, "dose"))),
        ("307=12", WrittenEdit("set", latents=(307,), value=Amount(12.0, "raw"))),
        ("307:min=2dose", WrittenEdit("min", latents=(307,), value=Amount(2.0, "dose"))),
        ("afraid:scale=0.5", WrittenEdit("scale", "afraid", value=Amount(0.5, "factor"))),
        ("307:ablate", WrittenEdit("ablate", latents=(307,))),
    ],
)
def test_a_clamp_is_read_as_it_is_written(text, edit):
    assert parse_clamp(text) == edit


@pytest.mark.parametrize("text", ["", "afraid", "afraid=", "=4", "afraid=much", "afraid=nan", "afraid=1e999", "afraid:sett=1",
                                  "afraid=4kg", "afraid:=4", "a" + " " * 500_000])  # fmt: skip
def test_what_is_no_clamp_is_said_in_a_sentence(text):
    with pytest.raises(ValueError, match=r"is no clamp|lacks a value"):
        parse_clamp(text)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(), "nothing to write on from"),
        (Asked("x", ["user: y"]), "both"),
        (Asked("x" * 20_001), "20000 at most"),
        (Asked("x", tokens=0), "1 to 512"),
        (Asked("x", tokens=513), "1 to 512"),
        (Asked("x", temperature=float("nan")), "temperature"),
        (Asked("x", temperature=-1), "temperature"),
        (Asked("x", top_p=0), "top-p"),
        (Asked("x", positions="some"), "positions"),
        (Asked("x", clamp=["afraid=1"] * 17), "16 clamps"),
        (Asked("x", clamp=["afraid=4kg"]), "no clamp"),
        (Asked(turn=["somebody: hello"]), "no turn"),
        (Asked(turn=["user:  "]), "no turn"),
        (Asked("x", seed=2**70), "seed"),
    ],
)
def test_what_cannot_be_done_is_refused(asked, said):
    with pytest.raises(ValueError, match=said):
        asked.checked(Limits())


def test_a_chat_is_turns():
    asked = Asked(turn=["user: Where\nare you?", "assistant: Here."]).checked(Limits())
    assert asked.messages() == [
        {"role": "user", "content": "Where\nare you?"},
        {"role": "assistant", "content": "Here."},
    ]


def test_doses_beyond_the_safe_range_want_to_be_allowed():
    safe = {"afraid": (-2.0, 4.0)}
    asked = Asked("x", clamp=["afraid=+5"])
    with pytest.raises(ValueError, match=r"safe range of -2 to \+4 .*beyond the safe range"):
        asked.clamps(KNOWN, safe)
    allowed = Asked("x", clamp=["afraid=+5"], beyond=True).clamps(KNOWN, safe)
    assert allowed[0].values == [10.0, -5.0]
    with pytest.raises(ValueError, match=r"no label for .afriad.*afraid"):
        Asked("x", clamp=["afriad=1"]).clamps(KNOWN, safe)


def test_the_address_holds_whatever_is_not_the_default():
    assert Asked("x", clamp=["afraid=+1"], beyond=True).query() == {"prompt": "x", "clamp": ["afraid=+1"], "beyond": 1}


def test_a_plain_clamp_is_a_line_of_flags():
    asked = Asked('it\'s "late"', clamp=["afraid=+4", "307=2.5"], positions="generated", tokens=9, seed=7, beyond=True)
    words = shlex.split(asked.command_line("a study"))
    assert words == ["saes", "clamp", "a study", "--prompt", 'it\'s "late"', "--clamp", "afraid=+4", "--clamp", "307=+2.5",
                     "--positions", "generated", "--tokens", "9", "--temperature", "0.7", "--top-p", "0.95", "--seed", "7",
                     "--beyond-safe"]  # fmt: skip


def test_a_prompt_that_begins_like_a_flag_stays_a_prompt():
    assert "--prompt=--json" in shlex.split(Asked("--json", clamp=["afraid=1"]).command_line("s"))


def test_what_flags_cannot_say_stands_in_a_document():
    asked = Asked("x", clamp=["afraid:add=+1", "307=2dose"])
    line, _, rest = asked.command_line("s").partition("\n")
    assert line.endswith("--spec - <<'END'")
    document = yaml.safe_load(rest.removesuffix("END"))
    assert document["sites"][0]["edits"] == [
        {"mode": "add", "label": "afraid", "value": {"dose": 1.0}},
        {"mode": "set", "latents": [307], "value": {"dose": 2.0}},
    ]


def test_a_document_ends_where_no_turn_can_end_it():
    text = Asked(turn=["user: one\nEND\nrm -rf x"], clamp=["afraid=1"]).command_line("s")
    word = text.partition("<<'")[2].partition("'")[0]
    assert text.splitlines().count(word) == 1
    assert text.splitlines()[-1] == word


def test_python_says_numbers_in_activation_units():
    asked = Asked("x\"'\n", clamp=["afraid=+1", "307:add=2dose", "307:scale=0.5", "3:ablate"])
    program = asked.python("s", asked.clamps(KNOWN, {}))
    compile(program, "copied", "exec")
    assert "Edit((3, 8), mode='set', value=1.0, weights=(2.0, -1.0))" in program
    assert "Edit((307,), mode='add', value=8.0)" in program
    assert "Edit((307,), mode='scale', value=0.5)" in program
    assert "Edit((3,), mode='ablate', value=0.0)" in program
    assert repr("x\"'\n") in program
