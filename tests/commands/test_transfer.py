"""`saes transfer` from a file and a map, what it leaves, and mistakes in one line."""

import json

import pytest

MAP = """
data: others.csv
text: text
labels: label
concepts: {fear: afraid, peace: calm}
"""


@pytest.fixture
def column_map(tmp_path):
    rows = [f"{word} stood in the rain {number},{label}"
            for word, label in (("Nora", "fear"), ("Tom", "peace"), ("The barn", "neutral")) for number in range(6)]  # fmt: skip
    (tmp_path / "others.csv").write_text("text,label\n" + "\n".join(rows))
    (tmp_path / "mine.yaml").write_text(MAP)
    return tmp_path / "mine.yaml"


def test_labels_are_scored_and_shown(run, run_json, study, column_map):
    found = run_json("transfer", study, "--data", column_map)
    assert [(one["label"], one["concept"], one["held"]) for one in found["transfer"] if one["method"] == "sae"] == [
        ("fear", "afraid", True),
        ("peace", "calm", False),
    ]
    assert all((one["n_positive"], one["n_negative"]) == (6, 12) for one in found["transfer"])
    assert set(found["transfer_median_auroc"]["mine"]) == {"sae", "length"}
    _, out, _ = run("show", study)
    assert "Labels on texts of other data sets" in out
    assert "median of held ones" in " ".join(out.split())
    assert run_json("show", study)["transfer"] == found["transfer"]


def test_a_file_in_the_maps_datas_place(run_json, study, column_map, tmp_path):
    lines = [
        json.dumps({"text": f"It rained {number}", "label": name})
        for name in ("fear", "neutral")
        for number in range(5)
    ]
    (tmp_path / "more.jsonl").write_text("\n".join(lines))
    found = run_json("transfer", study, "--data", column_map, "--file", tmp_path / "more.jsonl")
    assert {one["label"] for one in found["transfer"]} == {"fear"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "nothing.yaml"), "no column map nothing.yaml"),
        (("--data", "emobank"), "no table emobank.csv"),
        (("--data", "MAP", "--file", "none.csv"), "no table none.csv"),
        (("--data", "MAP", "--limit", "0"), "--limit must be at least 1"),
        (("--data", "MAP", "--split", "test"), "names no split column"),
        (("--data", "MAP", "--limit", "3"), "has 5 texts among these 3"),
    ],
)
def test_mistakes_are_one_line(run, study, column_map, words, said):
    code, _, error = run("transfer", study, *(str(column_map) if word == "MAP" else word for word in words))
    assert code == 2
    assert said in error.splitlines()[-1]
    assert not (study / "transfer.parquet").exists()
