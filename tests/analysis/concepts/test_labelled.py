"""The same texts from every kind of file, however the labels are written down; a wrong row is named."""

import csv
import json
import lzma
import math

import pytest

from analysis.concepts.column_map import ColumnMap
from analysis.concepts.labelled import labelled_texts, lot, sample

ROWS = [
    {"text": 'She laughed, and "how" they danced.', "labels": ["joy"], "V": 4.5, "split": "train"},
    {"text": "He ran from the bear", "labels": ["fear", "joy"], "V": 1.5, "split": "dev"},
    {"text": "The cup is blue", "labels": ["neutral"], "V": None, "split": "train"},
]
NAMES = ("joy", "fear", "neutral")


def a_map(**changes) -> ColumnMap:
    fields = {"name": "mine", "data": "", "text": "text", "labels": "labels", "names": NAMES, "neutral": ("neutral",),
              "numbers": {"valence": "V"}, "split": "split"}  # fmt: skip
    return ColumnMap(**(fields | changes))


def as_jsonl(folder):
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return folder / "a.jsonl", a_map()


def as_packed(folder):
    with lzma.open(folder / "a.jsonl.xz", "wt") as file:
        file.writelines(
            json.dumps({**row, "labels": [NAMES.index(one) for one in row["labels"]]}) + "\n" for row in ROWS
        )
    return folder / "a.jsonl.xz", a_map()


def as_csv(folder):
    with (folder / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "labels", "V", "split"])
        writer.writeheader()
        writer.writerows({**row, "labels": ",".join(str(NAMES.index(one)) for one in row["labels"])} for row in ROWS)
    return folder / "a.csv", a_map(separator=",")


def as_tsv_folder(folder):
    for number, row in enumerate(ROWS):
        with (folder / f"{number}.tsv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "V", "split", "joy", "fear"], delimiter="\t")
            writer.writeheader()
            held = {one: int(one in row["labels"]) for one in ("joy", "fear")}
            writer.writerow({"text": row["text"], "V": row["V"], "split": row["split"]} | held)
    return folder, a_map(labels=("joy", "fear"), names=(), neutral=())


def as_parquet(folder):
    pytest.importorskip("datasets")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "a.parquet")
    return folder / "a.parquet", a_map()


@pytest.mark.parametrize("written", [as_jsonl, as_packed, as_csv, as_tsv_folder, as_parquet])
def test_the_same_texts_from_every_kind_of_file(tmp_path, written):
    path, column_map = written(tmp_path)
    found = list(labelled_texts(column_map, file=path))
    assert [one.text for one in found] == [row["text"] for row in ROWS]
    assert [set(one.labels) for one in found] == [{"joy"}, {"fear", "joy"}, set()]
    assert [one.neutral for one in found] == [False, False, True]
    assert [one.numbers["valence"] for one in found[:2]] == [4.5, 1.5]
    assert math.isnan(found[2].numbers["valence"])
    assert [one.text for one in labelled_texts(column_map, "validation", path)] == [ROWS[1]["text"]]


def test_a_text_that_was_never_labelled_is_not_neutral(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "hm", "labels": null, "V": 3, "split": "train"}\n')
    (found,) = labelled_texts(a_map(), file=tmp_path / "a.jsonl")
    assert found.labels == ()
    assert not found.neutral


@pytest.mark.parametrize(
    ("row", "changes", "said"),
    [
        ({"txt": "x"}, {}, "row 1: no column 'text'; did you mean txt"),
        ({"labels": ["joi"]}, {}, "row 1: 'joi' is none of the map's names; did you mean joy"),
        ({"labels": [3]}, {}, "row 1: label 3, but the map mine has 3 names"),
        ({"labels": [1]}, {"names": ()}, "the label 1 needs `names`"),
        ({"V": "high"}, {}, "the column 'V' must hold a number, got 'high'"),
        ({"text": 5}, {}, "the column 'text' holds no string"),
        ({"joy": 2}, {"labels": ("joy",), "names": (), "neutral": ()}, "the column 'joy' must hold 0 or 1, got 2"),
        ({"text": " "}, {}, "holds no text"),
    ],
)
def test_wrong_rows_are_named(tmp_path, row, changes, said):
    whole = {"labels": [], "V": 1, "split": "train"} | ({} if "txt" in row else {"text": "x"}) | row
    (tmp_path / "a.jsonl").write_text(json.dumps(whole) + "\n")
    with pytest.raises(ValueError, match=said):
        list(labelled_texts(a_map(**changes), file=tmp_path / "a.jsonl"))


def test_splits_that_are_not_there(tmp_path):
    path, column_map = as_jsonl(tmp_path)
    with pytest.raises(ValueError, match="holds no text of the split 'test': it has dev, train"):
        list(labelled_texts(column_map, "test", path))
    with pytest.raises(ValueError, match="names no split column"):
        list(labelled_texts(a_map(split=""), "test", path))


def test_data_that_do_not_come_with_the_toolkit():
    with pytest.raises(FileNotFoundError, match=r"no table nowhere.csv: the data of mine \(X et al\.\).*--file"):
        labelled_texts(a_map(source="X et al."), file="nowhere.csv")


def test_a_sample_is_seeded_and_keeps_the_order(tmp_path):
    texts = [f"text {number}" for number in range(200)]
    (tmp_path / "a.csv").write_text("text\n" + "\n".join(texts))
    column_map = a_map(labels=(), numbers={}, split="")

    def drawn(seed):
        return [one.text for one in sample(labelled_texts(column_map, file=tmp_path / "a.csv"), 20, seed)]

    assert len(drawn(0)) == 20
    assert drawn(0) == drawn(0) != drawn(1)
    assert drawn(0) == sorted(drawn(0), key=texts.index)
    assert set(drawn(0)) == set(sorted(texts, key=lambda text: lot(text, 0))[:20])
