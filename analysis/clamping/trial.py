"""Trials: every prompt of every arm, many rows at a time; each row of a batch is one arm at one prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.clamping.judge import Judge
from analysis.clamping.plan import Arm, Prompt
from analysis.clamping.readouts import n_tokens, readout_ids, text_cost, word_log_probs
from analysis.records import Trial
from saes.dictionary import Dictionary
from saes.intervention import RowInterventions
from training.language_models.language_model import LanguageModel

ROWS = 256
NEW_TOKENS = 24
TEMPERATURE, TOP_P = 0.7, 0.95


@dataclass(frozen=True)
class Baseline:
    """What the model writes after a prompt when it is left alone."""

    text: str
    cost: float
    """Nats per token."""
    judged: np.ndarray
    """[concept] the judge's probabilities."""


@dataclass
class TrialRoom:
    """Everything that a trial needs; the baselines are made once for each prompt, whichever concept asks first."""

    model: LanguageModel
    dictionary: Dictionary
    hook_name: str
    judge: Judge
    new_tokens: int = NEW_TOKENS
    readout_tokens: int = 8
    """Positions of the baseline's text over which the readout words' log-probability is averaged."""
    rows: int = ROWS
    baselines: dict[str, Baseline] = field(default_factory=dict)

    def run(
        self, arms: Sequence[Arm], prompts: Sequence[Prompt], words: Sequence[str], phase: str,
        progress: Callable[[int], object] = lambda rows: None,
    ) -> list[Trial]:  # fmt: skip
        """All arms (of one concept) at all prompts; `words` are the concept's readout words."""
        self.write_baselines(prompts)
        ids = readout_ids(self.model, words)
        unclamped = self._unclamped_readouts(prompts, ids)
        pairs = [(arm, prompt) for arm in arms for prompt in prompts]
        n_batches = -(-len(pairs) // self.rows)
        trials: list[Trial] = []
        for batch in np.array_split(np.arange(len(pairs)), n_batches):  # of even size: no small rest
            mine = [pairs[place] for place in batch]
            trials += self._batch(mine, ids, unclamped, phase)
            progress(len(mine))
        return trials

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
        texts = self._write(new, None)
        costs = text_cost(self.model, [prompt.text for prompt in new], texts)
        judged = self.judge.probabilities(texts)
        for prompt, text, cost, row in zip(new, texts, costs, judged, strict=True):
            self.baselines[prompt.id] = Baseline(text, float(cost), row)

    def _batch(
        self, pairs: list[tuple[Arm, Prompt]], ids: list[int], unclamped: dict[str, float], phase: str
    ) -> list[Trial]:
        prompts = [prompt for _, prompt in pairs]
        starts = [prompt.text for prompt in prompts]
        base = [self.baselines[prompt.id] for prompt in prompts]
        rows = RowInterventions([arm.intervention for arm, _ in pairs])
        hooks = {self.hook_name: rows.hook(self.dictionary)}
        texts = self._write(prompts, hooks)
        costs = text_cost(self.model, starts, texts)
        readouts = word_log_probs(self.model, starts, [one.text for one in base], ids, self.readout_tokens, hooks)
        judged = self.judge.probabilities(texts)
        trials = []
        for place, (arm, prompt) in enumerate(pairs):
            column = self.judge.concepts.index(arm.concept)
            trials.append(
                Trial(
                    concept=arm.concept,
                    arm=arm.kind,
                    arm_id=arm.id,
                    dose=arm.dose,
                    prompt_id=prompt.id,
                    prompt=prompt.text,
                    judge=float(judged[place, column] - base[place].judged[column]),
                    readout=float(readouts[place] - unclamped[prompt.id]),
                    fluency=float(costs[place] - base[place].cost),
                    text=texts[place],
                    baseline=base[place].text,
                    phase=phase,
                )
            )
        return trials

    def _write(self, prompts: Sequence[Prompt], hooks: dict | None) -> list[str]:
        return self.model.generate(
            [prompt.text for prompt in prompts], self.new_tokens, TEMPERATURE, TOP_P,
            seed=[prompt.seed for prompt in prompts], hooks=hooks,
        )  # fmt: skip

    def _unclamped_readouts(self, prompts: Sequence[Prompt], ids: list[int]) -> dict[str, float]:
        texts = [self.baselines[prompt.id].text for prompt in prompts]
        values = word_log_probs(self.model, [prompt.text for prompt in prompts], texts, ids, self.readout_tokens)
        return {prompt.id: float(value) for prompt, value in zip(prompts, values, strict=True)}
