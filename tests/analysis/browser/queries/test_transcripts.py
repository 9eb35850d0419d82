"""Transcripts: found again by their place, one at a time; what is no transcript is counted and passed over."""

import json

import pytest

from analysis.browser.queries import transcripts
from analysis.browser.queries.store import DamagedTable
from analysis.browser.queries.transcripts import coding_facts, index, read, workshop_facts, written_facts
from tests.analysis.browser.case_material import coding, played, written


def lines(path, *held):
    path.write_text("".join(json.dumps(one) + "\n" for one in held), encoding="utf-8")
    return path


def test_every_line_is_found_again_whatever_letters_stand_before_it(tmp_path):
    episodes = [played(number, text=f"Mia é\u2028 {'雪' * number}\nMia stopped: no rule fits.") for number in range(20)]
    path = lines(tmp_path / "w.jsonl", *episodes)
    found = index(path, workshop_facts)
    assert [one.seed for one in found.entries] == list(range(20))
    assert read(path, found.entries[13], found.entries[2]) == [episodes[13], episodes[2]]


def test_one_line_is_read_and_not_the_file(tmp_path, monkeypatch):
    path = lines(tmp_path / "w.jsonl", *(played(number) for number in range(500)))
    found = index(path, workshop_facts)
    asked = []
    real = json.loads
    monkeypatch.setattr(transcripts.json, "loads", lambda text: asked.append(len(text)) or real(text))
    read(path, found.entries[400])
    index(path, workshop_facts)
    assert asked == [found.entries[400].size]


def test_a_file_that_changed_is_looked_through_anew(tmp_path):
    path = lines(tmp_path / "w.jsonl", played(0))
    assert len(index(path, workshop_facts).entries) == 1
    lines(path, played(5), played(6))
    assert [one.seed for one in index(path, workshop_facts).entries] == [5, 6]


def test_what_is_no_transcript_is_counted_and_passed_over(tmp_path):
    path = tmp_path / "w.jsonl"
    good = json.dumps(played(1))
    wrong = [
        "[1, 2]",
        '"text"',
        "null",
        "{}",
        json.dumps({**played(1), "task": None}),
        json.dumps({**played(1), "arm": 7}),
    ]
    path.write_bytes(b"\xff\xfe\n" + "\n".join([good, *wrong, good[:40]]).encode())
    found = index(path, workshop_facts)
    assert (len(found.entries), found.unreadable) == (1, len(wrong) + 2)


def test_the_settings_line_of_a_run_is_no_transcript(tmp_path):
    path = lines(tmp_path / "c.jsonl", {"settings": "abc"}, coding("none", "cheated"), coding("calm_up", "stopped"))
    found = index(path, coding_facts)
    assert [(one.arm, one.outcome, one.attempts) for one in found.entries] == [
        ("none", "cheated", 2),
        ("calm_up", "stopped", 2),
    ]
    assert found.unreadable == 0
    path = lines(tmp_path / "t.jsonl", {"settings": "abc"}, written("none", 3))
    assert [(one.arm, one.task) for one in index(path, written_facts).entries] == [("none", "3")]


def test_no_file_is_no_index_and_a_folder_is_said(tmp_path):
    assert index(tmp_path / "gone.jsonl", workshop_facts) is None
    with pytest.raises(DamagedTable, match="cannot be read"):
        index(tmp_path, workshop_facts)


def test_a_file_that_is_cut_short_meanwhile_is_said(tmp_path):
    path = lines(tmp_path / "w.jsonl", *(played(number) for number in range(5)))
    found = index(path, workshop_facts)
    path.write_text("")
    with pytest.raises(DamagedTable, match="load the page again"):
        read(path, found.entries[3])
