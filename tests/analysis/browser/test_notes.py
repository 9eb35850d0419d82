"""Notes and thumbs: kept over a restart, whole under many threads, exported as they are."""

import csv
import io
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from analysis.browser.notes import MOST_LETTERS, Note, Notes, as_csv, as_json


@pytest.fixture
def path(tmp_path):
    return tmp_path / "notes.sqlite"


def test_a_note_survives_a_restart(path):
    Notes(path, "abc").put("feature", 307, "fires at dogs, too", -1)
    found = Notes(path).get("feature", "307")
    assert (found.text, found.thumb, found.sae_hash) == ("fires at dogs, too", -1, "abc")
    assert found.written.endswith("+00:00")


def test_reading_makes_no_file(path):
    notes = Notes(path)
    assert notes.get("concept", "afraid") == Note("concept", "afraid")
    assert notes.all() == []
    assert notes.thumbs("feature") == {}
    notes.remove("concept", "afraid")
    assert not path.exists()


def test_a_second_note_replaces_the_first_and_an_empty_one_removes_it(path):
    notes = Notes(path)
    notes.put("concept", "afraid", "one", 1)
    notes.put("concept", "afraid", "two\r\nlines ", 1)
    notes.put("concept", "calm", "", 1)
    assert {one.name: one.text for one in notes.all()} == {"afraid": "two\nlines", "calm": ""}
    assert notes.thumbs("concept") == {"afraid": 1, "calm": 1}
    assert notes.put("concept", "afraid", " \n", 0).is_empty
    notes.remove("concept", "calm")
    assert Notes(path).all() == []


def test_the_same_name_of_another_kind_is_another_note(path):
    notes = Notes(path)
    notes.put("concept", "7", "a concept called 7", 0)
    assert notes.get("feature", 7).is_empty
    assert not notes.get("concept", 7).is_empty


def test_no_write_is_lost_under_many_threads_and_two_openings(path):
    openings = [Notes(path), Notes(path)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda at: openings[at % 2].put("feature", at, f"note {at}", 1), range(120)))
    assert {one.name: one.text for one in Notes(path).all()} == {str(at): f"note {at}" for at in range(120)}


def test_hostile_text_is_only_text(path):
    nasty = "'); DROP TABLE notes; -- <script>alert(1)</script>\u0000\U0001f600"
    Notes(path).put("concept", nasty, nasty, 0)
    assert Notes(path).get("concept", nasty).text == nasty


@pytest.mark.parametrize(
    ("kind", "text", "thumb", "message"),
    [("page", "", 1, "feature or a concept"), ("feature", "x" * (MOST_LETTERS + 1), 0, "at most"), ("feature", "", 2, "up")],
)  # fmt: skip
def test_what_cannot_be_kept_is_said(path, kind, text, thumb, message):
    with pytest.raises(ValueError, match=message):
        Notes(path).put(kind, "1", text, thumb)
    assert not path.exists()


def test_a_file_that_is_something_else_is_refused_in_one_line(path):
    path.write_bytes(b"not a database at all" * 50)
    with pytest.raises(ValueError, match=r"cannot be used for notes.*--notes") as refused:
        Notes(path)
    assert "\n" not in str(refused.value)


def test_a_database_of_somebody_else_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cookies (a)")
    connection.commit()
    connection.close()
    with pytest.raises(ValueError, match="no such table"):
        Notes(path)


def test_a_file_of_a_later_version_is_refused(path):
    Notes(path).put("feature", 1, "a", 0)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ValueError, match="later version"):
        Notes(path)


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path):
    with pytest.raises(ValueError, match="cannot be used for notes"):
        Notes(tmp_path / "gone" / "notes.sqlite").put("feature", 1, "a", 0)


def test_exports_hold_every_field(path):
    notes = Notes(path)
    notes.put("feature", 3, 'a "quoted", text\nof two lines', 1)
    notes.put("concept", "calm", "=HYPERLINK(1)", -1)
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(as_csv(notes.all())))}
    assert rows["3"]["text"] == 'a "quoted", text\nof two lines'
    assert rows["3"]["thumb"] == "1"
    assert rows["calm"]["text"] == "'=HYPERLINK(1)"
    assert {one["name"]: one["text"] for one in json.loads(as_json(notes.all()))}["calm"] == "=HYPERLINK(1)"
