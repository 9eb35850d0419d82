"""What a run reads: the windows of text it trains on, and the held-out ones."""

from collections.abc import Iterator

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
    tokens = 0
    documents = split_off(_texts(spec), held_out=True)
    for batch in windows(documents, model, context_of(spec, model), spec.window_batch):
        yield batch
        tokens += batch.ids.numel()
        if tokens >= spec.held_out_tokens:
            return


def context_of(spec: TrainSpec, model: LanguageModel) -> int:
    """How many tokens a window of the run holds."""
    return min(model.context, 512) if spec.context is None else spec.context


def _texts(spec: TrainSpec) -> Iterator[str]:
    return texts(spec.corpus, spec.corpus_split, spec.corpus_column)
