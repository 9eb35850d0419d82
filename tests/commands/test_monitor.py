"""Traces of files, chats and of what the model writes; alarms; a page; events for other programs."""

import json
import re

import pytest

TEXT = "Rain fell all night on the old red barn. Nora was proud of her kite, so she flew it high. " * 3
REFERENCE = "\n".join(
    ["The cat sat on the mat and looked at the rain.", "Where did you go? said Tom, and he laughed."] * 40
)
CHAT = [
    {"role": "user", "content": "Where did you go?"},
    {"role": "assistant", "content": "Rain fell all night on the barn."},
]


@pytest.fixture
def watched(run, tmp_path, study):
    (tmp_path / "usual.txt").write_text(REFERENCE)
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(one) + "\n" for one in CHAT))

    def go(*words):
        return run("monitor", *words, "--study", study, "--reference", "usual.txt", "--device", "cpu")

    return go


def test_a_text_is_shown_with_its_summary(watched):
    code, out, err = watched("text.txt")
    assert code == 0, err
    assert TEXT.strip() in out.replace("\n", " ")
    assert re.search(r"\[text, \d+ tokens\] afraid peak p", out)
    assert "\x1b" not in out, "no colours where nobody sees them"


def test_events_are_lines_for_other_programs(watched):
    code, out, err = watched("chat.jsonl", "--jsonl", "--concepts", "afraid,calm")
    assert code == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    tokens = [one for one in events if one["kind"] == "token"]
    assert "".join(one["text"] for one in tokens if one["speaker"] == "assistant").strip() == CHAT[1]["content"]
    assert set(tokens[0]["levels"]) == {"afraid", "calm"}
    assert [one["speaker"] for one in events if one["kind"] == "turn"] == ["user", "assistant"]
    assert all(0 <= value <= 100 for one in tokens for value in one["percentiles"].values())


def test_alarms_and_a_page(watched, tmp_path):
    code, out, err = watched(
        "text.txt", "--concepts", "afraid,calm", "--alarm", "calm > 0.0001", "--out", "page.html", "--json"
    )
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["alarms"]
    assert found["alarms"][0]["rule"] == "calm > 0.0001"
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "http" not in page
    assert page.count("<svg") == 2
    assert "Alarms" in page


def test_markup_in_a_text_is_text(watched, tmp_path):
    (tmp_path / "text.txt").write_text("<script>alert(1)</script> & " + TEXT)
    code, _, err = watched("text.txt", "--out", "page.html")
    assert code == 0, err
    assert "<script" not in (tmp_path / "page.html").read_text()


def test_a_name_that_is_mistyped_is_said_before_anything_is_read(run, study, monkeypatch):
    from analysis.monitoring import journey

    def slow(*_):
        raise AssertionError("the reference is read, which takes minutes")

    monkeypatch.setattr(journey, "reference_for", slow)
    for words in (("gone.txt",), ("--prompt", "x", "--reference", "gone.txt")):
        code, _, err = run("monitor", *words, "--study", study, "--device", "cpu")
        assert code == 2, err
        assert "gone.txt" in err


def test_what_the_model_writes_is_read(watched):
    code, out, err = watched("--prompt", "Nora was", "--tokens", "8", "--temperature", "0")
    assert code == 0, err
    assert "Nora was" in out


def test_the_gallery_is_read_scene_by_scene(watched):
    code, out, err = watched("--scenes", "--json")
    assert code == 0, err
    turns = json.loads(out.splitlines()[-1])["turns"]
    assert len(turns) == 2 * 24
    assert turns[0]["speaker"] + ", twin" == turns[1]["speaker"]
    code, out, _ = watched("--scenes", "chat", "--concepts", "afraid")
    assert code == 0
    assert re.search(r"\[[a-z ]+, twin, user, \d+ tokens\] afraid", out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give one of a FILE"),
        (("text.txt", "--prompt", "x"), "give one of a FILE"),
        (("--scenes", "--prompt", "x"), "give one of a FILE"),
        (("gone.txt",), "there is no transcript gone.txt"),
        ((".",), "there is no transcript . (it is a folder)"),
        (("--prompt", "x", "--tokens", "0"), "--tokens: 0 is no whole number from 1 on"),
        (("--prompt", "x", "--temperature", "-1"), "--temperature is 0 or more, got -1"),
        (("text.txt", "--concepts", ","), "names nothing"),
        (("text.txt", "--alarm", "calm"), "is no alarm"),
        (("text.txt", "--alarm", "calm > 1"), "no label for 'calm' is monitored"),
        (("text.txt", "--concepts", "joyful"), "it has: afraid, calm"),
    ],
)
def test_mistakes_are_one_line(watched, words, said):
    code, _, err = watched(*words)
    assert code == 2, err
    assert said in err
    assert len(err.strip().splitlines()) == 1
