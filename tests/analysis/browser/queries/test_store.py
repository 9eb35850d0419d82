"""The store answers over every table, made or not, rewritten or damaged, from many threads."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from math import isnan

import pyarrow.parquet as pq
import pytest

from analysis.browser.queries.store import DamagedTable, Store
from analysis.records import DosePoint, Excerpt, WorkshopArm
from analysis.study import TABLES, Study


def test_every_table_is_there_with_its_columns_made_or_not(small_study, empty_study):
    for folder in (small_study, empty_study):
        store = Store(folder)
        for table, kind in TABLES.items():
            found = store.arrow(f"SELECT * FROM {table}")
            assert found.column_names == [column.name for column in fields(kind)]
            assert found.num_rows == len(Study.open(folder).read(table))
    assert not Store(empty_study).made("labels")


def test_values_go_in_as_parameters(small_study):
    store = Store(small_study)
    assert store.value("SELECT count(*) FROM labels WHERE concept = ?", ["calm"]) == 1
    assert store.value("SELECT count(*) FROM labels WHERE concept = ?", ["calm' OR 1 = 1 --"]) == 0
    assert store.one("SELECT latents FROM labels WHERE concept = $name", {"name": "calm"}) == {"latents": [21]}
    assert store.one("SELECT * FROM labels WHERE concept = ?", ["nobody"]) is None


def test_a_table_written_anew_is_seen(small_study):
    store, study = Store(small_study), Study.open(small_study)
    rows = study.read("curves", DosePoint)
    for count in range(1, len(rows)):
        before = store.stamp("curves")
        study.write("curves", rows[:count])
        assert store.value("SELECT count(*) FROM curves") == count
        assert store.stamp("curves") != before
    (small_study / "curves.parquet").unlink()
    assert store.value("SELECT count(*) FROM curves") == 0
    study.update_info(commit="another")
    assert store.info.commit == "another"


def test_columns_that_an_older_study_lacks_have_their_defaults(small_study):
    path = small_study / "excerpts.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["drawn"]), path)
    assert Store(small_study).rows("SELECT DISTINCT drawn FROM excerpts") == [{"drawn": "top"}]
    assert {one.drawn for one in Study.open(small_study).read("excerpts", Excerpt)} == {"top"}


def test_a_number_that_an_older_study_lacks_is_not_known(small_study):
    study = Study.open(small_study)
    path = small_study / "workshop.parquet"
    study.write("workshop", [WorkshopArm("none", 0.0, 0.4, 0.3, 0.5, 0.1, 0.4, 30, 0.2, 0.7, -0.3, 40, 26)])
    pq.write_table(pq.read_table(path).drop_columns(["change", "latents", "kind"]), path)
    (row,) = Store(small_study).rows("SELECT change, latents, kind FROM workshop")
    assert isnan(row["change"])
    assert (row["latents"], row["kind"]) == ([], "")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b"PAR1 not really"), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: pq.write_table(pq.read_table(path).drop_columns(["auroc_all"]), path), "lacks the column auroc_all"),
        (lambda path: _scramble(path), "damaged|cannot be read"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_said_and_hurts_no_other(small_study, spoil, said):
    store = Store(small_study)
    kept = (small_study / "labels.parquet").read_bytes()
    spoil(small_study / "labels.parquet")
    with pytest.raises(DamagedTable, match=said):
        store.rows("SELECT * FROM labels")
    assert store.value("SELECT count(*) FROM cards") > 0
    (small_study / "labels.parquet").write_bytes(kept)
    assert store.value("SELECT count(*) FROM labels") > 0


def _scramble(path):
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = os.urandom(len(content) // 2 - 4)
    path.write_bytes(content)


def test_a_table_of_the_same_size_and_second_is_seen(small_study):
    store, study = Store(small_study), Study.open(small_study)
    (row, *_) = study.read("curves", DosePoint)
    for number in range(100, 130):
        study.write("curves", [replace(row, n_prompts=number)])
        assert store.value("SELECT sum(n_prompts) FROM curves") == number
    assert store.records("curves", "n_prompts = ?", [129]) == [replace(row, n_prompts=129)]


def test_no_other_file_can_be_read_and_nothing_is_written(small_study, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("word\nhidden\n")
    store = Store(small_study)
    for statement in (
        f"SELECT * FROM read_csv('{secret}')",
        f"COPY labels TO '{tmp_path / 'out.parquet'}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(Exception, match=r"disabled|locked|Cannot"):
            store.rows(statement)
    assert not (tmp_path / "out.parquet").exists()


def test_a_folder_named_like_a_pattern_is_opened_and_no_other(small_study, tmp_path):
    named = small_study.rename(tmp_path / "it's [ab] *?")
    assert Store(named).value("SELECT count(*) FROM labels") == 9


def test_many_threads_ask_while_a_table_is_written_anew(small_study):
    store, study = Store(small_study), Study.open(small_study)
    rows = study.read("curves", DosePoint)
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(store.value, "SELECT count(*) FROM curves JOIN labels USING (concept)") for _ in range(200)
        ]
        for count in range(1, len(rows)):
            study.write("curves", rows[:count])
        assert all(isinstance(one.result(), int) for one in asked)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no study"):
        Store(tmp_path)
