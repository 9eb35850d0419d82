"""Where a chat's speakers are speaking, by the tokens with which the model's own chat template begins and ends a turn."""

from typing import Any

from saes.intervention import Turns


def assistant_turns(tokenizer: Any) -> Turns:
    """The assistant's turns: from what the template writes before a reply to what it writes after one.

    Raises ValueError where the tokenizer has no chat template, or one in which no reply can be told apart.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the model's tokenizer has no chat template: there are no assistant turns to find in its texts"
        )
    question = [{"role": "user", "content": "question"}]
    asked = tokenizer.apply_chat_template(question, tokenize=False)
    invited = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    reply = {"role": "assistant", "content": "answer"}
    answered = tokenizer.apply_chat_template([*question, reply], tokenize=False)
    opening, closing = invited.removeprefix(asked), answered.rpartition("answer")[2]
    if not invited.startswith(asked) or not opening or "answer" not in answered:
        raise ValueError(
            "the model's chat template does not say where a reply begins: name the tokens to clamp instead"
        )
    first_after = _ids(tokenizer, closing)[:1] or [tokenizer.eos_token_id]
    return Turns(tuple(_ids(tokenizer, opening)), tuple(first_after))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
