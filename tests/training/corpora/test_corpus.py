"""Texts from every kind of source, and windows that waste nothing."""

import json
import lzma
import sys
from itertools import islice

import pytest
import torch

from training.corpora.corpus import repeated, rows, share, split_off, texts, windows

THREE = ["The cat sat.", "Nora laughed\nand ran.", "It rained."]


def test_reads_folders_and_files(tmp_path):
    with_ends = "\n<|endoftext|>\n".join(THREE) + "\n"
    (tmp_path / "a.txt").write_text(with_ends)
    with lzma.open(tmp_path / "b.txt.xz", "wt") as file:
        file.write(with_ends)
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": text, "n": 1}) + "\n" for text in THREE))
    (tmp_path / "ignored.csv").write_text("x")
    for name in ("a.txt", "b.txt.xz", "c.jsonl"):
        assert list(texts(tmp_path / name)) == THREE
    assert list(texts(tmp_path)) == THREE * 3
    assert list(texts(tmp_path, limit=4)) == [*THREE, THREE[0]]


def test_reads_parquet_through_datasets(tmp_path):
    pytest.importorskip("datasets")
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"text": THREE, "story": THREE[::-1]}), tmp_path / "a.parquet")
    assert list(texts(tmp_path / "a.parquet")) == THREE
    assert list(texts(tmp_path, column="story")) == THREE[::-1]
    with pytest.raises(ValueError, match="no column 'body'; it has text, story"):
        list(texts(tmp_path, column="body"))


def test_storyworld_is_endless_and_seeded():
    assert list(islice(texts("storyworld:3"), 3)) == list(islice(texts("storyworld:3"), 3))
    assert list(islice(texts("storyworld"), 3)) != list(islice(texts("storyworld:3"), 3))
    assert list(islice(texts("storyworld"), 3)) == list(islice(texts("storyworld:0"), 3))
    with pytest.raises(ValueError, match="storyworld:7"):
        texts("storyworld:x")


def test_a_corpus_with_no_text_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no corpus"):
        texts(tmp_path)
    (tmp_path / "a.txt").write_text("\n  \n<|endoftext|>\n")
    with pytest.raises(ValueError, match="holds no text"):
        list(texts(tmp_path))


def test_other_mistakes_are_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no corpus"):
        texts(tmp_path / "nothing")
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"story": "x"}\n')
    with pytest.raises(ValueError, match="line 2: no JSON object with a field 'text'"):
        list(texts(tmp_path))
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"b\.txt cannot be read as text"):
        list(texts(tmp_path / "b.txt"))
    (tmp_path / "c.doc").write_text("x")
    with pytest.raises(ValueError, match="files that can end in"):
        texts(tmp_path / "c.doc")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install 'datasets"):
        list(texts("roneneldan"))


def test_packing_wastes_nothing(models):
    documents = [f"{text} {number}" for number, text in enumerate(THREE * 5)]
    for family, begins in (("llama", True), ("gpt2", False)):
        model = models[family]
        batches = list(windows(documents, model, context=16, batch=3))
        assert [batch.ids.shape[0] for batch in batches[:-2]] == [3] * (len(batches) - 2)
        assert batches[-1].ids.shape[0] == 1
        assert all(batch.lengths is None for batch in batches)
        rows = [row[1:] if begins else row for batch in batches for row in batch.ids]
        if begins:
            assert all((batch.ids[:, 0] == 0).all() for batch in batches)
            assert not any(batch.keep[:, 0].any() for batch in batches)
        stream = torch.cat(rows).tolist()
        plain = model.tokenizer(documents, add_special_tokens=False)["input_ids"]
        assert stream == [token for ids in plain for token in [*ids, 0]]
        kept = torch.cat([batch.ids[batch.keep] for batch in batches])
        assert kept.tolist() == [token for ids in plain for token in ids]


def test_a_context_that_cannot_be(llama):
    with pytest.raises(ValueError, match="between 2 and 64"):
        next(windows(THREE, llama, context=65))


def test_held_out_documents_are_no_others():
    documents = [str(number) for number in range(45)]
    held, kept = list(split_off(documents, True)), list(split_off(documents, False))
    assert held == ["0", "20", "40"]
    assert sorted(held + kept, key=int) == documents


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder"])
def test_every_document_has_one_rank(tmp_path, kind, ranks):
    documents = [f"document {number}" for number in range(50)]
    if kind == "parquet":
        pytest.importorskip("datasets")
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet")
        pyarrow.parquet.write_table(pyarrow.table({"text": documents}), tmp_path / "a.parquet")
    else:
        for name, part in (("a", documents[:20]), ("b", documents[20:])):
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in part))
    source = tmp_path / "b.jsonl" if kind == "jsonl" else tmp_path
    whole = list(texts(source))
    shares = [list(share(texts(source), rank, ranks)) for rank in range(ranks)]
    assert sorted(text for one in shares for text in one) == sorted(whole)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert shares == [list(share(texts(source), rank, ranks)) for rank in range(ranks)]


def test_a_rank_that_is_none():
    with pytest.raises(ValueError, match="between 0 and 1"):
        share(iter("ab"), 2, 2)


def test_a_corpus_is_repeated_but_not_an_empty_one():
    assert list(islice(repeated(lambda: iter("ab")), 5)) == list("ababa")
    with pytest.raises(ValueError, match="at least two"):
        next(repeated(lambda: iter(())))


def test_tables_are_read_row_by_row(tmp_path):
    (tmp_path / "a.csv").write_text('text,n\n"He said ""yes"",\nand left",1\n')
    (tmp_path / "b.tsv").write_text("text\tn\nIt rained\t2\n")
    with lzma.open(tmp_path / "c.jsonl.xz", "wt") as file:
        file.write('{"text": "The cat sat", "n": [3]}\n\n')
    (tmp_path / "ignored.txt").write_text("x")
    expected = [('He said "yes",\nand left', "1"), ("It rained", "2"), ("The cat sat", [3])]
    assert [(row["text"], row["n"]) for row in rows(tmp_path)] == expected
    assert next(rows(tmp_path / "b.tsv")) == {"text": "It rained", "n": "2"}


def test_wrong_tables_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("text,n\nx\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 2: another number of columns"):
        list(rows(tmp_path / "a.csv"))
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n["x"]\n')
    with pytest.raises(ValueError, match=r"b\.jsonl, line 2: a line must be a JSON object"):
        list(rows(tmp_path / "b.jsonl"))
    (tmp_path / "c.txt").write_text("x")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        rows(tmp_path / "c.txt")
    with pytest.raises(FileNotFoundError, match=r"no table .*nothing\.csv"):
        rows(tmp_path / "nothing.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no table"):
        rows(tmp_path / "empty")
