"""A model as a source of activations: the same rows from any place, whatever runs ahead."""

import threading
from itertools import islice

import pytest
import torch

from training.activations.harvest import harvested
from training.activations.source import ModelSource, open_source, what_to_read_ahead
from training.windows import training_windows

SITES = ("blocks.0.hook_mlp_out", "blocks.1.hook_resid_post")


@pytest.mark.parametrize("ahead", ["off", "text", "activations"])
def test_rows_are_the_model_s_from_any_place(spec, ahead, llama):
    source = ModelSource(spec.with_fields(sites=SITES, read_ahead=ahead))
    batches = source.batches(start=2)
    found = list(islice(batches, 2))
    batches.close()
    assert "read ahead" not in {thread.name for thread in threading.enumerate()}
    for rows, tokens in zip(found, islice(training_windows(spec, llama), 2, 4), strict=True):
        for site in SITES:
            assert torch.equal(rows[site], harvested(llama, site, tokens).rows())


def test_what_it_says_of_itself(spec):
    source = open_source(spec)
    assert source.site(SITES[1]).hook_name == SITES[1]
    assert (source.width(SITES[1]), source.context, source.prepend_bos) == (32, 32, True)
    with pytest.raises(ValueError, match=r"no place 'blocks\.9"):
        open_source(spec.with_fields(sites=[SITES[0], "blocks.9.hook_resid_post"]))


def test_a_gpu_is_kept_busy_and_a_cpu_left_alone():
    assert what_to_read_ahead("auto", torch.device("cuda")) == "activations"
    assert what_to_read_ahead("auto", torch.device("cpu")) == "off"
    assert what_to_read_ahead("text", torch.device("cpu")) == "text"
