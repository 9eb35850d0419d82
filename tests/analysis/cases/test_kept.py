"""A case that was stopped goes on after what it did; other settings begin anew."""

import pytest

from analysis.cases.kept import Kept, write_lines


def opened(path, **settings) -> Kept:
    return Kept(path, settings, lambda piece: (piece["arm"], piece["at"]))


def test_what_was_done_is_there_again(tmp_path):
    path = tmp_path / "case.jsonl"
    with opened(path, seed=0) as kept:
        kept.add([{"arm": "none", "at": 1, "text": "a\u2028b"}, {"arm": "none", "at": 2, "text": "c"}])
    with path.open("a") as file:
        file.write('{"arm": "none", "at')  # killed while it wrote
    with opened(path, seed=0) as kept:
        assert ("none", 1) in kept
        assert kept["none", 1]["text"] == "a\u2028b"
        assert ("none", 3) not in kept
        kept.add([{"arm": "none", "at": 3, "text": ""}])
    assert len(path.read_text().strip().split("\n")) == 1 + 3
    with opened(path, seed=0) as kept:
        assert set(kept.pieces) == {("none", 1), ("none", 2), ("none", 3)}
    before = path.read_text()
    with opened(path, seed=1) as kept:
        assert not kept.pieces
    assert path.read_text() == before, "a run that did nothing costs nothing"
    with opened(path, seed=1) as kept:
        kept.add([{"arm": "none", "at": 9}])
    with opened(path, seed=1) as kept:
        assert set(kept.pieces) == {("none", 9)}
    assert len(path.read_text().splitlines()) == 1 + 1


def test_lines_are_written_whole(tmp_path):
    write_lines(tmp_path / "a.jsonl", [{"a": 1}])
    with pytest.raises(ZeroDivisionError):
        write_lines(tmp_path / "a.jsonl", ({"a": 1 // n} for n in (1, 0)))
    assert (tmp_path / "a.jsonl").read_text() == '{"a": 1}\n'
