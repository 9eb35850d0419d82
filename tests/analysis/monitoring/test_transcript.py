"""Transcripts: where each speaker's words lie, in any of the forms."""

import json

import pytest

from analysis.monitoring.transcript import chat_document, plain_document, read_documents

CHAT = [
    {"role": "user", "content": "It broke. "},
    {"role": "assistant", "content": "What broke?"},
    {"role": "user", "content": "It broke."},
]


class Templated:
    chat_template = "yes"

    def apply_chat_template(self, messages, tokenize):
        return "".join(f"<{m['role']}>{m['content'].strip()}</>" for m in messages)


def said(document) -> list[tuple[str, str]]:
    return [(turn.speaker, document.text[turn.start : turn.stop]) for turn in document.turns]


@pytest.mark.parametrize("tokenizer", [None, Templated()])
def test_each_turn_is_where_it_was_said(tokenizer):
    document = chat_document(CHAT, tokenizer)
    assert said(document) == [("user", "It broke."), ("assistant", "What broke?"), ("user", "It broke.")]
    first, second = document.turns[0], document.turns[1]
    assert document.turn_at(first.start, first.start + 2) == 0
    assert document.turn_at(second.start - 1, second.start + 3) == 1
    assert document.turn_at(first.stop, first.stop + 1) == -1, "the template's marks are nobody's"


def test_a_template_that_rewrites_is_refused():
    class Shouting(Templated):
        def apply_chat_template(self, messages, tokenize):
            return super().apply_chat_template(messages, tokenize).upper()

    with pytest.raises(ValueError, match="message 1: the chat template rewrites it"):
        chat_document(CHAT, Shouting())


def test_the_forms_of_a_file(tmp_path):
    path = tmp_path / "t"
    path.write_text("".join(json.dumps(one) + "\n" for one in CHAT))
    assert [len(one.turns) for one in read_documents(path)] == [3]
    path.write_text("".join(json.dumps({"messages": CHAT[:n]}) + "\n" for n in (1, 3)))
    assert [len(one.turns) for one in read_documents(path)] == [1, 3]
    path.write_text("Dear diary,\n{this is no json\n")
    assert [one.text for one in read_documents(path)] == ["Dear diary,\n{this is no json\n"]
    path.write_text("{not json either}\nso it is a text")
    assert [one.turns for one in read_documents(path)] == [plain_document(path.read_text()).turns]
    path.write_text("")
    assert list(read_documents(path)) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"role": "wizard", "content": "x"}', "t:2: a role is one of"),
        ('{"role": "user", "content": ""}', "t:2: a message needs a role and a content"),
        ('{"messages": []}', "t:2: (messages is a list|a chat a line)"),
        ("{no", "t:2: not JSON"),
    ],
)
def test_mistakes_name_the_line(tmp_path, line, said):
    (tmp_path / "t").write_text(json.dumps(CHAT[0]) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=said):
        list(read_documents(tmp_path / "t"))
