"""The contract of a Dictionary, which every implementation passes."""

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder, freeze_threshold
from saes.dictionary import Dictionary, Directions

D_IN, D_SAE = 6, 40


def autoencoder(sparsity, **settings):
    sae = SparseAutoencoder(SAEConfig(D_IN, D_SAE, sparsity, k=3, initial_threshold=0.3, **settings), seed=1)
    with torch.no_grad():
        sae.b_dec.normal_(generator=torch.Generator().manual_seed(2))
        sae.bias.normal_(std=0.1, generator=torch.Generator().manual_seed(3))
        if sparsity == "gated":
            sae.r_mag.normal_(std=0.3)
            sae.b_mag.normal_(std=0.3)
    if sparsity == "batch_topk":
        sae.running_threshold.fill_(0.7)
        return freeze_threshold(sae)
    return sae


DICTIONARIES = {
    "relu": autoencoder("relu"),
    "topk": autoencoder("topk"),
    "topk without b_dec": autoencoder("topk", apply_b_dec_to_input=False),
    "jump_relu": autoencoder("jump_relu"),
    "batch_topk": autoencoder("batch_topk"),
    "gated": autoencoder("gated"),
    "directions": Directions(torch.randn(D_SAE, D_IN, generator=torch.Generator().manual_seed(4)), torch.rand(D_SAE)),
}


@pytest.fixture(params=DICTIONARIES)
def dictionary(request):
    return DICTIONARIES[request.param]


@pytest.fixture
def x():
    return torch.randn(5, 3, D_IN, generator=torch.Generator().manual_seed(0))


def test_shapes_and_protocol(dictionary, x):
    assert isinstance(dictionary, Dictionary)
    assert (dictionary.d_in, dictionary.d_sae) == (D_IN, D_SAE)
    assert dictionary.directions.shape == (D_SAE, D_IN)
    assert dictionary.encode(x).shape == (5, 3, D_SAE)
    assert dictionary.decode(dictionary.encode(x)).shape == x.shape


def test_sparse_code_is_the_dense_one(dictionary, x):
    rows = x.reshape(-1, D_IN)
    torch.testing.assert_close(dictionary.encode_sparse(rows).dense(D_SAE), dictionary.encode(rows))
    assert dictionary.encode_sparse(rows[:0]).rows == 0


@pytest.mark.parametrize("ids", [[7], [3, 0, 39, 11], list(range(D_SAE))])
def test_chosen_latents_are_columns_of_the_code(dictionary, x, ids):
    torch.testing.assert_close(dictionary.encode_latents(x, ids), dictionary.encode(x)[..., ids])


def test_a_row_does_not_depend_on_its_batch(dictionary, x):
    torch.testing.assert_close(dictionary.encode(x)[2:3, :1], dictionary.encode(x[2:3, :1]))


def test_decode_is_linear_and_without_memory(dictionary, x):
    a, b = dictionary.encode(x), dictionary.encode(x.flip(0))
    constant = dictionary.decode(torch.zeros(D_SAE))
    torch.testing.assert_close(
        dictionary.decode(2 * a - b) - constant,
        2 * (dictionary.decode(a) - constant) - (dictionary.decode(b) - constant),
    )
    torch.testing.assert_close(dictionary.decode(a) - constant, a @ dictionary.directions)


def test_wrong_width_and_wrong_latent_speak(dictionary, x):
    with pytest.raises(ValueError, match=f"expected d_in {D_IN}, got {D_IN + 1}"):
        dictionary.encode(torch.zeros(2, D_IN + 1))
    with pytest.raises(ValueError, match="no latent 40"):
        dictionary.encode_latents(x, [1, 40])


def test_directions_read_a_projection_above_the_offset():
    directions = Directions(torch.tensor([[3.0, 4.0]]), bias=torch.tensor([2.0]))
    assert directions.directions.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert directions.encode(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[pytest.approx(3.0)], [0.0]]
    with pytest.raises(ValueError, match="length above zero"):
        Directions(torch.zeros(1, 2))
