"""A study's labels, read off whatever a model reads: short texts by the batch, long ones a block at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from analysis.monitoring.levels import Levels
from analysis.monitoring.transcript import Document
from analysis.opening import open_subject
from analysis.records import Label
from analysis.study import Study
from saes.dictionary import Dictionary
from training.language_models.language_model import LanguageModel, Tokens

BATCH = 64
STATUSES = ("held", "validated", "no effect", "unspecific", "breaks fluency")
"""Labels that detect their concept on held-out texts, whatever clamping said."""


@dataclass(frozen=True)
class Block:
    """Some tokens of a document, in order; blocks follow each other without a gap."""

    first: int
    """The number of the first token."""
    strings: list[str]
    turns: np.ndarray
    """[token] the turn that each belongs to; -1 for a template's marks."""
    places: np.ndarray
    """[token, 2] where each begins and ends in the document."""
    levels: Float[np.ndarray, "token label"]


class LevelReader:
    def __init__(self, model: LanguageModel, dictionary: Dictionary, hook_name: str, labels: Sequence[Label]):
        if not labels:
            raise ValueError("there is no label to read: name concepts that the study holds")
        self.model, self.dictionary, self.hook_name = model, dictionary, hook_name
        self.levels = Levels(dictionary, labels, model.device)
        self.concepts = self.levels.concepts

    @classmethod
    def of_study(
        cls, study: Study, concepts: Sequence[str] | None = None, model: LanguageModel | str | Path | None = None,
        dictionary: Dictionary | None = None, device: str = "auto",
    ) -> "LevelReader":  # fmt: skip
        """Of the concepts that are named, or of every label that held."""
        if concepts:
            labels = [study.label(concept) for concept in concepts]
        else:
            labels = [label for label in study.labels() if label.status in STATUSES]
            if not labels:
                raise ValueError(f"no label of {study.folder} held: name the concepts that should be read all the same")
        return cls(*open_subject(study, model, dictionary, device), labels)

    def texts(self, texts: Iterable[str]) -> Iterator[Float[np.ndarray, "token label"]]:
        """The levels of each text's own tokens, cut at the context."""
        texts = iter(texts)
        while batch := list(islice(texts, BATCH)):
            tokens = self.model.tokenise(batch).to(self.model.device)
            found = self._of(tokens).cpu().numpy()
            keep = tokens.keep.cpu().numpy()
            yield from (levels[kept] for levels, kept in zip(found, keep, strict=True))

    def blocks(self, document: Document) -> Iterator[Block]:
        """A text of any length: each block is read with as much of what came before as half the context holds."""
        tokenizer = self.model.tokenizer
        found = tokenizer(
            document.text, add_special_tokens=not document.templated, return_offsets_mapping=True, verbose=False
        )
        ids, places = found["input_ids"], found["offset_mapping"]
        special = set(tokenizer.all_special_ids)
        width = max(1, self.model.context // 2)
        begin = tokenizer.bos_token_id if ids and ids[0] == tokenizer.bos_token_id else None
        for start in range(0, len(ids), width):
            before = max(0, start - (self.model.context - width - 1))
            row = ids[before : start + width]
            lead = start - before
            if before and begin is not None:  # every text begins so in this model's eyes
                row, lead = [begin, *row], lead + 1
            some = torch.tensor([row], device=self.model.device)
            levels = self._of(Tokens(some, torch.ones_like(some, dtype=torch.bool)))[0, lead:].cpu().numpy()
            mine = ids[start : start + width]
            turns = np.array([document.turn_at(*places[start + at]) for at in range(len(mine))], dtype=int)
            levels[[token in special for token in mine]] = 0.0
            yield Block(start, self.model.strings(mine), turns, np.array(places[start : start + width]), levels)

    def _of(self, tokens: Tokens) -> torch.Tensor:
        return self.levels(self.model.activations(tokens, [self.hook_name])[self.hook_name])
