"""What is asked shows the firing and gives nothing away; what is no answer is never read as one."""

import pytest

from analysis.explaining.prompts import (
    detect_question,
    firing_places,
    fuzz_question,
    read_explanation,
    read_ratings,
    with_marks,
    write_question,
)
from analysis.records import Excerpt

EXCERPT = Excerpt(7, 0, "afraid", "finding", [" She", " ran", " ", "and", " hid"], [0.0, 8.0, 0.0, 1.0, 5.0], 8.0)
SILENT = Excerpt(7, 1, "calm", "finding", [" All", " is\n", " well"], [0.0] * 3, 0.0)


def test_the_explainer_sees_marks_and_values():
    system, user = (
        text for _, text in write_question({"Strongest": [EXCERPT], "Others": [SILENT]}, 16.0, 100).messages
    )
    assert user.splitlines() == ["Strongest:", "- She <<ran>> and <<hid>>", "  (ran 5, hid 3.1)", "", "Others:",
                                 "- All is well", "  (silent)"]  # fmt: skip
    assert "JSON" in system


def test_no_question_tells_label_split_or_number():
    asked = [
        write_question({"Strongest": [EXCERPT, SILENT]}, 8.0, 100),
        detect_question("fires at flight", [EXCERPT, SILENT], 100),
        fuzz_question("fires at flight", [with_marks(EXCERPT, firing_places(EXCERPT))], 100),
    ]
    for question in asked:
        words = " ".join(text for _, text in question.messages)
        assert not any(secret in words for secret in ("afraid", "calm", "finding", "7"))


def test_detection_shows_no_marks():
    user = detect_question("fires at flight", [EXCERPT, SILENT], 100).messages[1][1]
    assert user == "Description: fires at flight\n\n1. She ran and hid\n2. All is well"


@pytest.mark.parametrize(
    "answer",
    [
        '{"explanation": "fires at flight"}',
        '```json\n{"explanation": "fires at\\n flight"}\n```',
        'Let me see {maybe}. {"a": 1}\n{"explanation": "fires at flight"} That is it.',
    ],
)
def test_an_explanation_is_found(answer):
    assert read_explanation(answer) == "fires at flight"


@pytest.mark.parametrize(
    "answer",
    ["", "fires at flight", '{"explanation": "cut', '{"explanation": ""}', '{"explanation": 3}', '["explanation"]',
     '{"explanation": "' + "so " * 300 + '"}', "{" * 5000],
)  # fmt: skip
def test_what_is_no_explanation(answer):
    with pytest.raises(ValueError, match=r"explanation|JSON"):
        read_explanation(answer)


def test_ratings_are_read():
    assert read_ratings('Sure: {"ratings": [0, 10, 6.5]}', 3) == [0.0, 10.0, 6.5]


@pytest.mark.parametrize(
    "answer",
    ["", "0, 1, 2", '{"ratings": [1, 2]}', '{"ratings": [1, 2, 3, 4]}', '{"ratings": [1, 2, "3"]}',
     '{"ratings": [1, 2, null]}', '{"ratings": [1, 2, true]}', '{"ratings": [1, 2, 11]}', '{"ratings": [1, 2, -1]}',
     '{"ratings": [1, 2, NaN]}', '{"ratings": [1, 2, 3', '{"ratings": {"1": 1}}'],
)  # fmt: skip
def test_what_is_no_rating_becomes_no_number(answer):
    with pytest.raises(ValueError, match=r"ratings|integer|JSON"):
        read_ratings(answer, 3)
