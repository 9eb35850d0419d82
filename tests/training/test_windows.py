"""Which windows a run trains on, and which are held out."""

import json
import re
from itertools import islice

import pytest
import torch

from training.language_models.language_model import Tokens
from training.spec import TrainSpec
from training.windows import held_out_windows, training_windows


@pytest.fixture
def spec(tmp_path):
    texts = [f"Nora saw {number} cats." for number in range(100, 160)]
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return TrainSpec(corpus=str(path), context=32, window_batch=2, held_out_tokens=64)


def test_a_share_without_a_document_says_so(spec, llama):
    next(training_windows(spec, llama, 56, 57))  # the last of the 57 that are not held out
    with pytest.raises(ValueError, match="every process that reads a share of its own needs one"):
        next(training_windows(spec, llama, 57, 58))


def test_held_out_windows_hold_what_was_asked(spec, llama):
    batches = list(held_out_windows(spec.with_fields(held_out_tokens=16), llama))
    assert all(isinstance(batch, Tokens) for batch in batches)
    assert sum(batch.ids.numel() for batch in batches[:-1]) < 16


def test_ranks_share_the_documents_and_none_reads_the_held_out_ones(spec, llama):
    def numbers(batches):
        stream = torch.cat([row[row != 0] for batch in batches for row in batch.ids])
        return set(re.findall(r"\d{3}", llama.tokenizer.decode(stream)))

    shares = [numbers(islice(training_windows(spec, llama, rank, 3), 4)) for rank in range(3)]
    held_out = numbers(held_out_windows(spec.with_fields(held_out_tokens=10**6), llama))
    assert held_out == {"100", "120", "140"}
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert not shares[one] & shares[other]
    assert all(share and not share & held_out for share in shares)
