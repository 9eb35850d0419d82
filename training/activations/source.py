"""Where a run's activations come from: a language model that reads, or shards on disk that one left."""

import logging
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from itertools import islice
from typing import Any, Protocol

import torch

from saes.site import Site
from training.activations.ahead import read_ahead
from training.activations.batch import ActivationBatch
from training.activations.harvest import aligned
from training.activations.lasting import with_lasting
from training.activations.shards import Shards
from training.activations.shared import shared_harvest
from training.activations.shuffle import Rows
from training.language_models.language_model import LanguageModel, Tokens
from training.language_models.opening import check_hook_names, choose_device, open_model
from training.ranks import ONE, Ranks
from training.spec import TrainSpec
from training.windows import context_of, training_windows

log = logging.getLogger(__name__)


class Source(Protocol):
    """A stream of activations that is the same each time it is read, and what it is a stream of."""

    device: torch.device
    """Where SAEs are to be trained on it."""
    rows_device: torch.device
    """Where its rows come out, and are shuffled."""
    context: int
    """How many tokens the model read at a time."""
    prepend_bos: bool
    """Whether a window began with a beginning-of-text token."""

    def width(self, hook_name: str) -> int:
        """The length of the activations there; ValueError for a place that cannot be read."""
        ...

    def site(self, hook_name: str) -> Site:
        """The full address of that place."""
        ...

    def batches(self, start: int = 0) -> Generator[Rows, None, None]:
        """Rows at every hook name of the spec, batch by batch, from the ``start``-th on."""
        ...

    def language_model(self) -> LanguageModel:
        """The model itself; whatever is wrong with it is an error."""
        ...


def open_source(spec: TrainSpec, ranks: Ranks = ONE) -> Source:
    """The source that the spec names, with all its places checked. Every rank gets the same rows from it, or those of its
    own share where the spec's reading is own."""
    source: Source = StoredSource(spec, ranks) if spec.activations else ModelSource(spec, ranks)
    for hook_name in spec.hook_names:
        source.width(hook_name)
    return source


class ModelSource:
    """A language model that reads the corpus again and again."""

    def __init__(self, spec: TrainSpec, ranks: Ranks = ONE):
        self.spec = spec
        self.ranks = ranks
        check_hook_names(spec.model, spec.hook_names, spec.revision)
        self.model = open_model(spec.model, spec.device, spec.dtype, spec.through, spec.revision)
        self.device = self.rows_device = self.model.device
        self.context = context_of(spec, self.model)
        self.prepend_bos = begins_with_bos(self.model)

    def width(self, hook_name: str) -> int:
        return self.model.width(hook_name)

    def site(self, hook_name: str) -> Site:
        return Site(self.model.name, hook_name, self.spec.revision, self.spec.dtype)

    def batches(self, start: int = 0) -> Generator[Rows, None, None]:
        part, parts = self.ranks.share(self.spec.reading)
        together = ONE if parts > 1 else self.ranks
        ahead = what_to_read_ahead(self.spec.read_ahead, self.device, together.size)
        with ExitStack() as threads:
            tokens: Iterator[Tokens] = islice(training_windows(self.spec, self.model, part, parts), start, None)
            if ahead == "text":
                tokens = threads.enter_context(closing(read_ahead(tokens)))
            found = shared_harvest(self.model, self.spec.hook_names, tokens, together)
            rows: Iterator[Rows] = (self._rows(batch) for batch in found)
            if ahead == "activations":
                rows = threads.enter_context(closing(read_ahead(rows)))
            yield from rows

    def language_model(self) -> LanguageModel:
        return self.model

    def _rows(self, found: Mapping[str, ActivationBatch]) -> Rows:
        return {
            name: with_lasting(batch, self.spec.lasting_share, self.spec.lasting_window)
            for name, batch in aligned(found, self.spec.hook_names).items()
        }


class StoredSource:
    """Shards of activations, each read once."""

    def __init__(self, spec: TrainSpec, ranks: Ranks = ONE):
        self.spec = spec
        self.part, self.parts = ranks.share(spec.reading)
        if spec.lasting_share:
            raise ValueError(
                "lasting_share needs the neighbours of each token, which shards do not hold: leave activations out"
            )
        self.shards = Shards.open(spec.activations)
        self.shards.check_origin(origin(spec))
        self.device, self.rows_device = torch.device(choose_device(spec.device)), torch.device("cpu")
        self.context, self.prepend_bos = self.shards.context, self.shards.prepend_bos
        for hook_name in spec.hook_names:
            self.width(hook_name)
        held, needed = self._rows_held(), -(-spec.steps * spec.batch_rows // spec.repeats)
        if held < needed:
            raise ValueError(
                f"{spec.activations} holds {held} activations, but {spec.tokens} tokens with repeats {spec.repeats} need "
                f"{needed}: harvest more, or train on {held * spec.repeats}"
            )

    def width(self, hook_name: str) -> int:
        return self.shards.width(hook_name)

    def site(self, hook_name: str) -> Site:
        return Site(self.spec.model, hook_name, self.spec.revision, self.spec.dtype)

    def batches(self, start: int = 0) -> Generator[Rows, None, None]:
        return self.shards.batches(self.spec.hook_names, start, self.part, self.parts)

    def _rows_held(self) -> int:
        """How many rows all ranks together can take when each takes as many as the one with the fewest has."""
        if self.parts == 1:
            return self.shards.rows_at(self.spec.hook_names)
        rows = self.shards.rows_by_batch(self.spec.hook_names)
        return self.parts * min(sum(rows[part :: self.parts]) for part in range(self.parts))

    def language_model(self) -> LanguageModel:
        spec = self.spec
        model = open_model(spec.model, spec.device, spec.dtype, spec.through, spec.revision)
        self.shards.check_weights(model)
        return model


def origin(spec: TrainSpec) -> dict[str, Any]:
    """What has to be the same where activations are written and where they are read."""
    names = ("model", "revision", "dtype", "through", "corpus", "corpus_split", "corpus_column")
    return {name: getattr(spec, name) for name in names}


def begins_with_bos(model: LanguageModel) -> bool:
    """Whether the model's texts begin with a special token by themselves."""
    return bool(model.tokenise(["a"]).ids.shape[1] > model.tokenise(["a"], add_bos=False).ids.shape[1])


def what_to_read_ahead(asked: str, device: torch.device, ranks: int = 1) -> str:
    """``asked``, with "auto" made definite.

    A GPU is kept busy by a thread that launches the model's next pass. On the CPU two passes at once only get in each
    other's way (their threads wait at each other's barriers), and a thread that tokenises gained nothing either:
    measured with torch on one and on two of two cores, it cost 2 to 12 %. Among several ranks activations are exchanged,
    which must not happen in one thread while the training step exchanges its own in another.
    """
    if ranks > 1 and (asked == "activations" or (asked == "auto" and device.type == "cuda")):
        asked = "text"
        log.info("reading ahead: text, since %d processes exchange activations", ranks)
    if asked != "auto":
        return asked
    chosen = "activations" if device.type == "cuda" else "off"
    log.info("reading ahead: %s (on %s)", chosen, device)
    return chosen
