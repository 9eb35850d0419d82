"""A rank's latents are cut by latent, whatever the architecture; that they join again is in test_parallel.py."""

import pytest
import torch

from saes.autoencoder import SPARSITIES, SAEConfig, SparseAutoencoder
from saes.kernels.axes import Axes, Axis
from saes.kernels.slices import LATENT_DIM, LatentSlice, latents_of, own_state, whole_sae
from saes.kernels.step import StepSettings, Update


def at(rank, size):
    return Axes(Axis(), Axis(None, rank, size), Axis(None, rank, size))


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_every_tensor_of_every_architecture_can_be_cut(sparsity):
    sae = SparseAutoencoder(SAEConfig(6, 12, sparsity, k=5))
    slices = [LatentSlice(sae, at(rank, 3)) for rank in range(3)]
    for name, tensor in sae.state_dict().items():
        parts = [one.state_dict()[name] for one in slices]
        if LATENT_DIM[name] is None:
            assert all(torch.equal(part, tensor) for part in parts)
        else:
            assert torch.equal(torch.cat(parts, LATENT_DIM[name]), tensor)
    for one in slices:
        assert one.d_sae == 4
        assert one.config.k <= 4
        assert one.whole.k == sae.config.k
        assert one.W_enc.T.is_contiguous()
        assert one.pre_activations(torch.randn(2, 6)).shape == (2, 4)


def test_a_state_is_cut_like_the_weights():
    sae = SparseAutoencoder(SAEConfig(6, 12, "topk", k=2))
    update = Update(sae, StepSettings(), fused=False)
    for parameter in sae.parameters():
        parameter.grad = torch.randn_like(parameter)
    update.apply(1e-3, torch.arange(12) % 2 == 0, 32)
    part = LatentSlice(sae, at(1, 3))
    state = own_state(part, update.state_dict())
    assert torch.equal(state["rows_since_fired"], update.rows_since_fired[4:8])
    for index, (name, parameter) in enumerate(part.named_parameters()):
        moments, whole = state["optimiser"]["state"][index], update.state_dict()["optimiser"]["state"][index]
        assert moments["exp_avg"].shape == parameter.shape
        assert torch.equal(moments["exp_avg"], part.cut(name, whole["exp_avg"]))
        assert moments["step"] == 1
    other = Update(part, StepSettings(), fused=False)
    other.load_state_dict(state)
    assert other.rows_seen == 32


def test_with_the_whole_dictionary_on_every_rank_tensors_are_shared():
    sae = SparseAutoencoder(SAEConfig(6, 12, "topk", k=2))
    axes = Axes(Axis(None, 0, 2), Axis(), Axis(None, 0, 2))
    assert latents_of(sae, axes).W_dec.data_ptr() == sae.W_dec.data_ptr()


def test_one_process_needs_no_slice():
    sae = SparseAutoencoder(SAEConfig(6, 12, "topk", k=2))
    assert latents_of(sae, Axes()) is sae
    assert whole_sae(sae) is sae
