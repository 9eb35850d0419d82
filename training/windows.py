"""What a run reads: the windows of text it trains on, and the held-out ones."""

from collections.abc import Iterator
from pathlib import Path

from training.corpora.corpus import repeated, share, split_off, texts, windows
from training.language_models.language_model import LanguageModel, Tokens
from training.spec import TrainSpec


def training_windows(spec: TrainSpec, model: LanguageModel, rank: int = 0, ranks: int = 1) -> Iterator[Tokens]:
    """Windows of the documents that are not held out, again and again; of the ``rank``-th of ``ranks`` shares."""

    def documents() -> Iterator[str]:
        return share(split_off(_texts(spec), held_out=False), rank, ranks)

    return windows(repeated(documents), model, context_of(spec, model), spec.window_batch)


def held_out_windows(spec: TrainSpec, model: LanguageModel) -> Iterator[Tokens]:
    """Windows of held-out documents, about as many tokens as the spec says."""
    return held_out_text(
        model, spec.corpus, spec.held_out_tokens, spec.context, spec.window_batch, spec.corpus_split, spec.corpus_column
    )


def held_out_text(
    model: LanguageModel,
    corpus: str | Path,
    tokens: int,
    context: int | None = None,
    window_batch: int = 32,
    split: str | None = None,
    column: str = "text",
) -> Iterator[Tokens]:
    """Windows of the documents of ``corpus`` that no run trains on, about as many tokens as asked for."""
    documents = split_off(texts(corpus, split, column), held_out=True)
    context = min(model.context, 512 if context is None else context)
    seen = 0
    for batch in windows(documents, model, context, window_batch):
        yield batch
        seen += batch.ids.numel()
        if seen >= tokens:
            return


def context_of(spec: TrainSpec, model: LanguageModel) -> int:
    """How many tokens a window of the run holds."""
    return min(model.context, 512) if spec.context is None else spec.context


def _texts(spec: TrainSpec) -> Iterator[str]:
    return texts(spec.corpus, spec.corpus_split, spec.corpus_column)
