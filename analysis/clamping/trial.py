"""Trials: every arm at every prompt, read for all concepts at once; each row of a batch is one arm at one prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.clamping.finished import Finished
from analysis.clamping.judge import Judge
from analysis.clamping.plan import Arm, Prompt
from analysis.clamping.readouts import ReadoutWords, n_tokens, next_tokens, readout_words, text_cost
from saes.dictionary import Dictionary
from saes.intervention import RowInterventions
from training.language_models.language_model import LanguageModel

ROWS = 256
NEW_TOKENS = 24
TEMPERATURE, TOP_P = 0.7, 0.95
MOST_LOGITS = 2**28
"""Numbers that the logits of one batch may hold; a large vocabulary makes the batches smaller."""


@dataclass(frozen=True)
class Effects:
    """What arms did, clamped minus baseline: the judge in shares of the way, the readout words in nats."""

    judge: Float[np.ndarray, "arm prompt concept"]
    readout: Float[np.ndarray, "arm prompt concept"]
    kl: Float[np.ndarray, "arm prompt"]
    """KL(clamped || unclamped) of the next token along the baseline's text, in nats a position."""
    fluency: Float[np.ndarray, "arm prompt"]
    """Nats per token that the clamped text costs the unclamped model, minus the baseline's; NaN where none was written."""
    texts: list[list[str]]
    """[arm][prompt] what was written."""

    def of(self, arms: Sequence[int]) -> "Effects":
        """The same for some of the arms, by place."""
        at = list(arms)
        return Effects(self.judge[at], self.readout[at], self.kl[at], self.fluency[at], [self.texts[i] for i in at])

    def by_prompt(self, count: int) -> "Effects":
        """Means over the `count` continuations of each prompt, which stand together; of the texts, the first of each."""

        def mean(values: np.ndarray) -> np.ndarray:
            return values.reshape(len(values), -1, count, *values.shape[2:]).mean(axis=2)

        written = ~np.isnan(self.fluency)
        n_written = written.reshape(len(written), -1, count).sum(axis=2)
        total = mean(np.where(written, self.fluency, 0.0)) * count
        fluency = np.divide(total, n_written, out=np.full(total.shape, np.nan), where=n_written > 0)
        texts = [row[::count] for row in self.texts]
        return Effects(mean(self.judge), mean(self.readout), mean(self.kl), fluency.astype(np.float32), texts)


@dataclass(frozen=True)
class Baseline:
    """What the model writes after a prompt when it is left alone."""

    text: str
    cost: float
    """Nats per token."""
    judged: Float[np.ndarray, " concept"]
    readout: Float[np.ndarray, " concept"]
    next: Float[Tensor, "position vocab"]
    """log-probabilities of the next token along the text."""


@dataclass
class TrialRoom:
    """Everything that a trial needs; the baselines are made once for each prompt."""

    model: LanguageModel
    dictionary: Dictionary
    hook_name: str
    judge: Judge
    words: Sequence[Sequence[str]]
    """[concept] the readout words of each concept that the judge knows, in its order."""
    new_tokens: int = NEW_TOKENS
    readout_tokens: int = 8
    """Positions of the baseline's text over which readouts and KL are averaged, beside the one before it."""
    rows: int = ROWS
    baselines: dict[str, Baseline] = field(default_factory=dict)

    def run(
        self, arms: Sequence[Arm], prompts: Sequence[Prompt], phase: str = "", finished: Finished | None = None,
        progress: Callable[[int], object] = lambda rows: None,
    ) -> Effects:  # fmt: skip
        """All arms at all prompts. Arms that are in `finished` under this phase are not run again; new ones go there."""
        self.write_baselines(prompts)
        done: dict[str, Effects] = {}
        for arm in arms:
            if finished is not None and (before := finished.get(phase, arm.key)):
                done[arm.key] = Effects(*before)
                progress(len(prompts))
        left = [arm for arm in arms if arm.key not in done]
        at_once = self._arms_at_once(prompts)
        for start in range(0, len(left), at_once):
            batch = left[start : start + at_once]
            found = self._batch(batch, prompts)
            for place, arm in enumerate(batch):
                done[arm.key] = found.of([place])
            if finished is not None:
                finished.add(phase, [arm.key for arm in batch], found)
            progress(len(batch) * len(prompts))
        return joined([done[arm.key] for arm in arms])

    @cached_property
    def readout_words(self) -> ReadoutWords:
        return readout_words(self.model, self.words)

    def write_baselines(self, prompts: Sequence[Prompt]) -> None:
        """Writes the unclamped text of the prompts that have none yet."""
        new = [prompt for prompt in prompts if prompt.id not in self.baselines]
        if not new:
            return
        for prompt in new:
            length = n_tokens(self.model, prompt.text)
            if length + self.new_tokens > self.model.context:
                raise ValueError(
                    f"prompt {prompt.id} has {length} tokens: with {self.new_tokens} new ones it does not fit into the "
                    f"context of {self.model.context}"
                )
        starts = [prompt.text for prompt in new]
        texts = self._write(new, None)
        costs, judged = text_cost(self.model, starts, texts), self.judge.scores(texts)
        after = next_tokens(self.model, starts, texts, self.readout_tokens)
        readouts = after.of_words(self.readout_words).cpu().numpy()
        for place, (prompt, ahead) in enumerate(zip(new, after.of_each(), strict=True)):
            self.baselines[prompt.id] = Baseline(
                texts[place], float(costs[place]), judged[place], readouts[place], ahead
            )

    def output_kl(self, arms: Sequence[Arm], prompts: Sequence[Prompt]) -> Float[np.ndarray, "arm prompt"]:
        """Only how far the arms move the model's predictions: nothing is written."""
        self.write_baselines(prompts)
        at_once = self._arms_at_once(prompts)
        parts = [self._read(arms[start : start + at_once], prompts)[1] for start in range(0, len(arms), at_once)]
        return np.concatenate(parts)

    def _arms_at_once(self, prompts: Sequence[Prompt]) -> int:
        longest = max(n_tokens(self.model, prompt.text) for prompt in prompts) + self.new_tokens
        rows = min(self.rows, MOST_LOGITS // (longest * len(self.model.unembedding())))
        return max(1, rows // len(prompts))

    def _batch(self, arms: Sequence[Arm], prompts: Sequence[Prompt]) -> Effects:
        shape = (len(arms), len(prompts))
        rows = list(prompts) * len(arms)
        base = [self.baselines[prompt.id] for prompt in prompts]
        texts = self._write(rows, self._hooks(arms, prompts))
        costs = text_cost(self.model, [prompt.text for prompt in rows], texts).reshape(shape)
        readouts, kl = self._read(arms, prompts)
        judged = self.judge.scores(texts).reshape(*shape, -1)
        return Effects(
            (judged - np.stack([one.judged for one in base])).astype(np.float32),
            readouts,
            kl,
            (costs - np.array([one.cost for one in base])).astype(np.float32),
            [texts[start : start + len(prompts)] for start in range(0, len(texts), len(prompts))],
        )

    def _read(self, arms: Sequence[Arm], prompts: Sequence[Prompt]) -> tuple[np.ndarray, np.ndarray]:
        """Changes of the readouts `[arm, prompt, concept]`, and KL `[arm, prompt]`."""
        base = [self.baselines[prompt.id] for prompt in prompts]
        starts, fixed = [prompt.text for prompt in prompts], [one.text for one in base]
        after = next_tokens(
            self.model, starts * len(arms), fixed * len(arms), self.readout_tokens, self._hooks(arms, prompts)
        )
        before = torch.cat([one.next for one in base]).repeat(len(arms), 1)
        readouts = after.of_words(self.readout_words).cpu().numpy().reshape(len(arms), len(prompts), -1)
        return (
            readouts - np.stack([one.readout for one in base]),
            after.kl(before).cpu().numpy().reshape(len(arms), -1),
        )

    def _hooks(self, arms: Sequence[Arm], prompts: Sequence[Prompt]) -> dict:
        rows = RowInterventions([arm.intervention for arm in arms for _ in prompts])
        return {self.hook_name: rows.hook(self.dictionary)}

    def _write(self, prompts: Sequence[Prompt], hooks: dict | None) -> list[str]:
        return self.model.generate(
            [prompt.text for prompt in prompts], self.new_tokens, TEMPERATURE, TOP_P,
            seed=[prompt.seed for prompt in prompts], hooks=hooks,
        )  # fmt: skip


def joined(effects: Sequence[Effects]) -> Effects:
    """The effects of all arms, in order."""
    assert effects, "there are no arms"
    judge, readout, kl, fluency = (
        np.concatenate([getattr(one, name) for one in effects]) for name in ("judge", "readout", "kl", "fluency")
    )
    return Effects(judge, readout, kl, fluency, [texts for one in effects for texts in one.texts])
