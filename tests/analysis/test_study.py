"""A study comes back as it was written, survives a full disk, and says what is wrong with a damaged one."""

import json

import pyarrow.parquet as pq
import pytest

from analysis.records import Baseline, FiringWord, StudyInfo
from analysis.study import SCHEMA, Study

INFO = StudyInfo(
    SCHEMA, "m", "m/blocks.0.hook_resid_post", "sae", "hash", "emotions", "h", "saes label", "c", "0.1", "now"
)
ROWS = [Baseline("afraid", "diff_means", 0.9, 0.8, 0.7), Baseline("calm", "probe", 0.5, float("nan"), 0.7)]


def test_tables_come_back(tmp_path):
    study = Study.create(tmp_path / "s", INFO)
    study.write("baselines", ROWS)
    again = Study.open(tmp_path / "s")
    assert again.info == INFO
    assert again.read("baselines")[0] == ROWS[0]
    assert again.read("labels") == []


def test_the_old_table_survives_a_full_disk(tmp_path, monkeypatch):
    study = Study.create(tmp_path / "s", INFO)
    study.write("baselines", ROWS)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        study.write("baselines", [])
    assert len(study.read("baselines")) == 2
    assert not list((tmp_path / "s").glob("*.part"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        (json.dumps({"schema": 999}), "another version"),
        (json.dumps({"schema": SCHEMA}), "lacks .*model"),
    ],
)
def test_a_study_that_cannot_be_read_says_why(tmp_path, content, message):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        Study.open(tmp_path)


def test_no_study_and_a_damaged_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no study"):
        Study.open(tmp_path)
    study = Study.create(tmp_path, INFO)
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match="damaged"):
        study.read("labels")
    with pytest.raises(ValueError, match="no label for 'afraid'"):
        Study.create(tmp_path / "other", INFO).label("afraid")


def test_rows_may_come_one_by_one_and_be_asked_for_by_a_column(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.study.GROUP", 4)
    study = Study.create(tmp_path, INFO)
    study.write("baselines", (Baseline(f"c{number:02}", "probe", 0.5, 0.5, None) for number in range(11)))
    assert pq.ParquetFile(tmp_path / "baselines.parquet").num_row_groups == 3
    assert [one.concept for one in study.read("baselines")] == [f"c{number:02}" for number in range(11)]
    some = study.read("baselines", Baseline, ("concept", ["c10", "c03", "nobody"]))
    assert [one.concept for one in some] == ["c03", "c10"]
    assert study.read("baselines", Baseline, ("concept", [])) == []


def test_the_old_table_survives_rows_that_fail_half_way(tmp_path):
    study = Study.create(tmp_path, INFO)
    study.write("baselines", ROWS)

    def failing():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.write("baselines", failing())
    assert len(study.read("baselines")) == 2
    assert not list(tmp_path.glob("*.part"))


def test_a_table_is_streamed_row_by_row_in_the_columns_asked_for(tmp_path):
    study = Study.create(tmp_path / "s", INFO)
    assert list(study.stream("firing_words", ["word"])) == []
    study.write("firing_words", [FiringWord(f"w{number}", [number]) for number in range(5000)])
    assert list(study.stream("firing_words", ["latents", "word"])) == [
        ([number], f"w{number}") for number in range(5000)
    ]
