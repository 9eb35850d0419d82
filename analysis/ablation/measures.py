"""What an ablation is measured on: loss, readouts, or a case. Each says how much every text, prompt or episode changed.

A measure's changes are one array a target, a number for each unit (text, prompt, task) and NaN for those that are not the
target's: the same units whichever latents are ablated, so that groups are compared unit by unit.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from analysis.cases.workshop import Intervene, draw_episodes, play
from analysis.clamping.readouts import readout_ids
from analysis.concepts.concept import ConceptSet
from analysis.labelling.split import text_table
from analysis.observe import observe
from saes.dictionary import Dictionary
from saes.intervention import Edit, Hook, Intervention
from training.language_models.language_model import LanguageModel, Tokens
from training.language_models.resumed import can_resume, outcome_of, resumed

ROWS = 64
"""Texts in one forward pass."""
FIXED_TOKENS = 8
"""Positions after a prompt, along the unablated model's own likeliest text, at which readout words are looked at."""
OUTCOMES = {"cheated": True, "stopped": True, "invalid": True, "solved": False}
"""Of the workshop, and whether they are counted over impossible tasks (else over possible ones)."""

Changes = Mapping[str, Float[np.ndarray, " unit"]]
Progress = Callable[[int], object]


class Measure(Protocol):
    """Something that may change when latents are ablated."""

    unit: str
    """What one number stands for."""

    def changes(self, groups: Sequence[Sequence[int]], progress: Progress) -> list[Changes]:
        """For each group of latents, ablated at every token: target -> the change of each unit."""
        ...


def ablating(latents: Sequence[int]) -> Intervention:
    """These latents at zero, at every token."""
    return Intervention((Edit(tuple(latents), mode="ablate"),))


class Loss:
    """Rise of the loss on checking texts, in nats a token: each concept's, all "emotional" ones', and "neutral" texts'."""

    unit = "text"

    def __init__(self, model: LanguageModel, dictionary: Dictionary, hook_name: str, concept_set: ConceptSet):
        self.model, self.dictionary, self.hook_name = model, dictionary, hook_name
        table = text_table(concept_set, ("checking",))
        self.concept = table.concept
        firings = observe(model, dictionary, hook_name, table.texts).firings
        self._texts_of: list[set[int]] = [set() for _ in range(dictionary.d_sae)]
        for text, latent in zip(firings.text.tolist(), firings.latent.tolist(), strict=True):
            self._texts_of[latent].add(text)
        self.tokens = model.tokenise(table.texts).to(model.device)
        self.lengths = self.tokens.real.sum(1).cpu().numpy()
        self._stream = self._streams() if can_resume(model, hook_name) else None
        self._before = self._losses(np.arange(len(table.texts)), None)

    def changes(self, groups: Sequence[Sequence[int]], progress: Progress) -> list[Changes]:
        found: list[Changes] = []
        for latents in groups:
            rise = np.zeros(len(self.concept))
            # Where none of the latents fires, ablating them changes no bit.
            touched = np.array(sorted(set().union(*(self._texts_of[latent] for latent in latents))), dtype=int)
            if len(touched):
                rise[touched] = self._losses(touched, ablating(latents).hook(self.dictionary)) - self._before[touched]
            found.append(self._by_target(rise))
            progress(1)
        return found

    def _losses(self, texts: np.ndarray, hook: Hook | None) -> Float[np.ndarray, " text"]:
        """Nats a token of each of these texts, its first token left out."""
        losses = np.zeros(len(texts))
        order = np.argsort(self.lengths[texts], kind="stable")  # alike in length, so that little is padding
        for start in range(0, len(order), ROWS):
            places = order[start : start + ROWS]
            tokens = self.tokens.take(texts[places].tolist())
            with self._begun(texts[places], tokens):
                log_probs = self.model.log_probs(tokens, {self.hook_name: hook} if hook else None)
            losses[places] = -log_probs.sum(1).cpu().numpy() / np.maximum(1, self.lengths[texts[places]] - 1)
        return losses

    def _streams(self) -> list[Tensor]:
        """What stands at the place in each text [token, d_in], kept on the CPU: read once for all groups."""
        found: list[Tensor] = []
        for start in range(0, len(self.concept), ROWS):
            tokens = self.tokens.take(slice(start, start + ROWS))
            x, self._wrap = outcome_of(self.model, tokens, self.hook_name)  # type: ignore[arg-type]  # see can_resume
            found += [row[:length].cpu() for row, length in zip(x, self.lengths[start : start + ROWS], strict=True)]
        return found

    def _begun(self, texts: np.ndarray, tokens: Tokens) -> AbstractContextManager[None]:
        """The blocks below the place left out, where that can be done."""
        if self._stream is None:
            return nullcontext()
        x = pad_sequence([self._stream[text] for text in texts], batch_first=True).to(tokens.ids.device)
        return resumed(self.model, self.hook_name, x, self._wrap)  # type: ignore[arg-type]

    def _by_target(self, rise: np.ndarray) -> Changes:
        names = [str(name) for name in dict.fromkeys(self.concept) if name != "neutral"]
        by_concept = {name: np.where(self.concept == name, rise, np.nan) for name in names}
        neutral = self.concept == "neutral"
        return by_concept | {"emotional": np.where(neutral, np.nan, rise), "neutral": np.where(neutral, rise, np.nan)}


class Readouts:
    """Change of each concept's readout words in log-probability, at and after its own prompts and the neutral ones.

    The text after a prompt is fixed: what the unablated model writes there, so that only the ablation differs.
    """

    unit = "prompt"

    def __init__(self, model: LanguageModel, dictionary: Dictionary, hook_name: str, concept_set: ConceptSet):
        self.model, self.dictionary, self.hook_name = model, dictionary, hook_name
        self.names = list(concept_set.concepts)
        own = [(text.text, name) for name in self.names for text in concept_set.concepts[name].of("prompt")]
        pairs = [*own, *((text.text, "neutral") for text in concept_set.neutral.get("prompt", ()))]
        if not pairs:
            raise ValueError(
                f"{concept_set.name} has no prompts, which readouts are measured on: add some, or use loss"
            )
        prompts, owners = [list(column) for column in zip(*pairs, strict=True)]
        self.owner = np.array(owners)
        words = [readout_ids(model, concept_set.concepts[name].readout_words) for name in self.names]
        self.ids = torch.tensor(sorted({token for some in words for token in some}), device=model.device)
        self.member = torch.stack([torch.isin(self.ids, torch.tensor(some, device=model.device)) for some in words], 1)
        written = model.generate(prompts, FIXED_TOKENS, temperature=0.0, top_p=1.0, seed=[0] * len(prompts))
        texts = [prompt + text for prompt, text in zip(prompts, written, strict=True)]
        self.tokens = model.tokenise(texts).to(model.device)
        starts = model.tokenise(prompts).to(model.device).real.sum(1)
        place = torch.arange(self.tokens.ids.shape[1], device=model.device)
        self.read = self.tokens.real & (place >= (starts - 1)[:, None])
        self._before = self._log_probs(None)

    def changes(self, groups: Sequence[Sequence[int]], progress: Progress) -> list[Changes]:
        found: list[Changes] = []
        for latents in groups:
            change = self._log_probs(ablating(latents).hook(self.dictionary)) - self._before
            found.append(
                {
                    name: np.where(np.isin(self.owner, (name, "neutral")), change[:, column], np.nan)
                    for column, name in enumerate(self.names)
                }
            )
            progress(1)
        return found

    def _log_probs(self, hook: Hook | None) -> Float[np.ndarray, "prompt concept"]:
        """log of the probability that the next token is one of a concept's words, averaged over a prompt's positions."""
        rows = []
        for start in range(0, len(self.tokens.ids), ROWS):
            part: Tokens = self.tokens.take(slice(start, start + ROWS))
            read = self.read[start : start + ROWS, : part.ids.shape[1]]
            logits = self.model.logits(part, {self.hook_name: hook} if hook else None)[read].float()
            chosen = logits.log_softmax(-1)[:, self.ids].exp() @ self.member.float()
            log_chance = chosen.clamp(min=torch.finfo(torch.float32).tiny).log()
            text = read.nonzero()[:, 0]
            summed = log_chance.new_zeros(len(read), len(self.names)).index_add_(0, text, log_chance)
            rows.append((summed / read.sum(1, keepdim=True)).cpu().numpy())
        return np.concatenate(rows)


class Workshop:
    """Change of how tasks of the workshop end: the share that is cheated at, stopped honestly, broken off, or solved."""

    unit = "task"

    def __init__(
        self,
        model: LanguageModel,
        dictionary: Dictionary,
        hook_name: str,
        n_impossible: int,
        n_possible: int,
        seed: int,
    ):
        self.model, self.dictionary, self.hook_name = model, dictionary, hook_name
        self.n_impossible, self.n_possible, self.seed = n_impossible, n_possible, seed
        self._before = self._endings([Intervention()], lambda _: None)[0]

    def changes(self, groups: Sequence[Sequence[int]], progress: Progress) -> list[Changes]:
        after = self._endings([ablating(latents) for latents in groups], progress)
        return [{name: ended[name] - self._before[name] for name in OUTCOMES} for ended in after]

    def _endings(self, interventions: Sequence[Intervention], progress: Progress) -> list[Changes]:
        """For each intervention: outcome -> 1 for each task that ended so, the same tasks and luck in all."""
        arms: dict[str, tuple[float, Intervene]] = {str(number): (0.0, one) for number, one in enumerate(interventions)}
        episodes = draw_episodes(list(arms), self.n_impossible, self.n_possible, self.seed, purpose="ablate")
        play(episodes, arms, self.model, self.dictionary, self.hook_name)
        progress(len(interventions))
        return [
            {
                outcome: np.array(
                    [
                        float(one.outcome == outcome)
                        for one in episodes
                        if one.arm == arm and one.impossible == impossible
                    ]
                )
                for outcome, impossible in OUTCOMES.items()
            }
            for arm in arms
        ]
