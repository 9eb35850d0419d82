"""A language model on this machine, asked in words."""

import pytest
import torch

from analysis.explaining.local import LocalLLM
from training.language_models.opening import open_model

ASKED = (("system", "Be brief."), ("user", "Where did you go?"))
TEMPLATE = "{% for turn in messages %}<{{ turn.role }}> {{ turn.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


@pytest.fixture
def model(tmp_path):
    from tests.commands.conftest import make_model

    return open_model(make_model(tmp_path / "tiny"), "cpu")


def heard(model, monkeypatch) -> list[str]:
    """The prompts that the model is given, as text."""
    prompts = []

    def generate(tokens, max_new_tokens):
        prompts.append(model.tokenizer.decode(tokens.ids[0]))
        return ["yes"]

    monkeypatch.setattr(model, "generate", generate)
    return prompts


def test_it_answers_greedily(model):
    llm = LocalLLM(model)
    answer = llm.ask(ASKED, 5)
    assert answer
    assert answer == llm.ask(ASKED, 5)


def test_the_chat_template_is_applied_where_there_is_one(model, monkeypatch):
    prompts = heard(model, monkeypatch)
    assert LocalLLM(model).ask(ASKED, 5) == "yes"
    model.tokenizer.chat_template = TEMPLATE
    LocalLLM(model).ask(ASKED, 5)
    plain, chat = prompts
    assert plain.endswith("Be brief.\n\nWhere did you go?\n\n")
    assert chat == "<system> Be brief.\n<user> Where did you go?\n<assistant>"


def test_a_template_without_a_system_turn_hears_it_in_the_first(model, monkeypatch):
    prompts = heard(model, monkeypatch)
    model.tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
    )
    assert LocalLLM(model).ask(ASKED, 5) == "yes"
    assert prompts == ["<user> Be brief.\n\nWhere did you go?\n<assistant>"]


def test_a_question_longer_than_the_context(model):
    with pytest.raises(ValueError, match="reads 128 tokens"):
        LocalLLM(model).ask((("user", "Rain fell all night. " * 40),), 5)


def test_the_name_holds_the_weights(model):
    before = LocalLLM(model).name
    with torch.no_grad():
        next(model.model.parameters()).add_(1.0)
    assert LocalLLM(model).name != before
