"""The model and the dictionary that a study is about, opened to be clamped and read while it writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from analysis.browser.live.asked import Asked
from analysis.monitoring.divergence import Outside
from analysis.monitoring.journey import outside_for, reference_for
from analysis.monitoring.levels import Levels, Read
from analysis.monitoring.reader import STATUSES, LevelReader
from analysis.monitoring.reference import Reference
from analysis.opening import dictionary_of, on_device, reads_one_site, writes_elsewhere
from analysis.study import Study
from saes.dictionary import Dictionary
from saes.intervention import Hook, Intervention, RowInterventions, hooks_across
from saes.latent_statistics import LatentStatistics
from training.language_models.chat import invited
from training.language_models.language_model import LanguageModel
from training.language_models.opening import open_model
from training.language_models.turns import assistant_turns

SMOOTHED = 5
"""Tokens that a trace on a page is a running mean of."""


@dataclass
class Subject:
    """Used by one thread at a time."""

    study: Study
    model: LanguageModel
    dictionary: Dictionary
    hook_name: str
    written_at: str | None
    """Where a transcoder writes."""

    @classmethod
    def open(cls, study: Study, model: str | None, device: str) -> "Subject":
        """Raises ValueError or FileNotFoundError where the model or the SAE is not at hand, or they do not fit."""
        opened = reads_one_site(dictionary_of(study))
        settings = study.info.settings
        held = open_model(model or study.info.model, device)
        hook_name = settings["hook_name"]
        if held.width(hook_name) != opened.d_in:
            raise ValueError(
                f"expected d_in {opened.d_in}, got {held.width(hook_name)} at {hook_name} of {held.name}: another model's SAE"
            )
        written_at = settings.get("hook_name_out") if writes_elsewhere(opened) else None
        return cls(study, held, on_device(opened, held.device), hook_name, written_at)

    @property
    def chat(self) -> bool:
        return bool(getattr(self.model.tokenizer, "chat_template", None))

    def prompt_ids(self, asked: Asked) -> list[int]:
        """What is written on from, in tokens."""
        if asked.turn:
            return invited(self.model.tokenizer, asked.messages()).ids[0].tolist()
        tokens = self.model.tokenise([asked.prompt], max_tokens=self.model.context + 1)
        return tokens.ids[0].tolist()

    def check_latents(self, latents: Sequence[int]) -> None:
        """ValueError for one that the SAE does not have."""
        for latent in latents:
            if latent >= self.dictionary.d_sae:
                raise ValueError(f"there is no latent {latent}: this SAE has 0 to {self.dictionary.d_sae - 1}")

    def clamped_hooks(
        self, asked: Asked, statistics: LatentStatistics, look: Callable[[Tensor], None]
    ) -> dict[str, Callable[..., Tensor]]:
        """Hooks for two rows: the first is left alone, the second clamped. ``look`` sees both before the clamp acts."""

        def read(x: Tensor) -> Tensor:
            look(x)
            return x

        site = asked.site()
        if site is None:
            return {self.hook_name: read}
        clamp = site.resolved(statistics, turns=lambda: assistant_turns(self.model.tokenizer))
        rows = RowInterventions((Intervention(), clamp))
        if self.written_at is None:
            return {self.hook_name: _after(read, rows.hook(self.dictionary))}
        hooks: dict[str, Any] = hooks_across(rows, self.dictionary, self.hook_name, self.written_at)
        return {**hooks, self.hook_name: _after(read, hooks[self.hook_name])}

    def levels(self, more: Sequence[Read]) -> Levels:
        """Of every label that held, and of what else is named."""
        known = {one.concept for one in self._held}
        return Levels(
            self.dictionary, [*self._held, *(one for one in more if one.concept not in known)], self.model.device
        )

    @cached_property
    def _held(self) -> list[Read]:
        return [
            Read(one.concept, tuple(one.latents), tuple(one.scales))
            for one in self.study.labels()
            if one.status in STATUSES
        ]

    @cached_property
    def reader(self) -> LevelReader:
        """Of every label that held; ValueError where none did."""
        labels = [label for label in self.study.labels() if label.status in STATUSES]
        return LevelReader(self.model, self.dictionary, self.hook_name, labels)

    @cached_property
    def reference(self) -> Reference:
        """What is usual; measured once, which takes a while."""
        return reference_for(self.study, self.reader)

    def measure(self, told: Callable[[int], None]) -> None:
        """Makes `reference`, where it is not there yet; ``told`` hears how many texts were read, and may end it by an error."""
        if "reference" not in self.__dict__:
            self.reference = reference_for(self.study, self.reader, told=told)

    @cached_property
    def usual(self) -> list[list[float]]:
        """[label] the 95th and the 99th percentile of the reference's means over SMOOTHED tokens; made once, too."""
        windows = [self.reference.windows(concept, SMOOTHED) for concept in self.reader.concepts]
        return [[float(found) for found in np.quantile(one, (0.95, 0.99), method="higher")] for one in windows]

    @cached_property
    def outside(self) -> Outside:
        """A judge of the words alone; fitted once, which takes a while."""
        return outside_for(self.study, self.reader, self.reference)


def _after(read: Callable[[Tensor], Tensor], hook: Hook) -> Hook:
    def act(x: Tensor, *, keep: Any = None, offset: Any = 0, seen: Any = None) -> Tensor:
        return hook(read(x), keep=keep, offset=offset, seen=seen)

    return act
