"""A language model on this machine, asked in words: through its chat template where it has one."""

import threading

import torch
from jinja2.exceptions import TemplateError

from analysis.explaining.llm import Messages
from training.language_models.language_model import LanguageModel, Tokens
from training.language_models.opening import open_model


class LocalLLM:
    """One question at a time, greedily."""

    parallel = False

    def __init__(self, model: LanguageModel):
        self.model = model
        self.name = f"{model.name}#{model.weights_hash()[:12]}"
        self._one_at_a_time = threading.Lock()

    def ask(self, messages: Messages, max_tokens: int) -> str:
        ids = self._ids(messages)
        if len(ids) + max_tokens > self.model.context:
            raise ValueError(
                f"{self.model.name} reads {self.model.context} tokens, and a question of {len(ids)} with an answer of "
                f"{max_tokens} is longer: show fewer excerpts, or take another model"
            )
        row = torch.tensor([ids], device=self.model.device)
        with self._one_at_a_time:
            return self.model.generate(Tokens(row, torch.ones_like(row, dtype=torch.bool)), max_tokens)[0]

    def _ids(self, messages: Messages) -> list[int]:
        tokenizer = self.model.tokenizer
        if getattr(tokenizer, "chat_template", None):
            try:
                return self._templated(messages)
            except TemplateError:  # some templates know no system turn (Gemma's): what it says opens the first turn
                if messages[0][0] != "system" or len(messages) < 2:
                    raise
                (_, told), (role, asked), *rest = messages
                return self._templated(((role, f"{told}\n\n{asked}"), *rest))
        return tokenizer("\n\n".join(text for _, text in messages) + "\n\n")["input_ids"]

    def _templated(self, messages: Messages) -> list[int]:
        turns = [{"role": role, "content": text} for role, text in messages]
        return self.model.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=False
        )


def open_local(name_or_folder: str, device: str = "auto") -> LocalLLM:
    return LocalLLM(open_model(name_or_folder, device))
