"""The identities of a clamp, position by position and row by row."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saes.autoencoder import LOOKED_AT_FIRST, SAEConfig, SparseAutoencoder
from saes.dictionary import Directions
from saes.intervention import (
    Condition,
    DirectionPush,
    Edit,
    Intervention,
    RowInterventions,
    TokenSet,
    Turns,
    hooks_across,
    in_turn,
)

D_IN, D_SAE, TEXTS, TOKENS = 6, 30, 4, 7


def dictionary(sparsity="topk"):
    sae = SparseAutoencoder(SAEConfig(D_IN, D_SAE, sparsity, k=8, initial_threshold=0.2), seed=1)
    with torch.no_grad():
        sae.b_dec.normal_(generator=torch.Generator().manual_seed(2))
    return sae


def activations(seed=0):
    return torch.randn(TEXTS, TOKENS, D_IN, generator=torch.Generator().manual_seed(seed))


def moved(before, after):
    """Which tokens differ in any bit."""
    return (before != after).any(-1)


MODES = st.sampled_from(["set", "add", "scale", "min", "max", "ablate"])
LATENTS = st.lists(st.integers(0, D_SAE - 1), min_size=1, max_size=3, unique=True).map(tuple)
EDITS = st.tuples(LATENTS, st.floats(-5, 5, width=32), MODES).map(lambda parts: Edit(*parts))


@pytest.mark.parametrize("sparsity", ["topk", "relu", "jump_relu"])
def test_an_empty_intervention_returns_the_very_same_tensor(sparsity):
    x = activations()
    assert Intervention().hook(dictionary(sparsity))(x) is x
    assert Intervention(condition=Condition(3, 0.0)).hook(dictionary(sparsity))(x) is x
    assert RowInterventions([Intervention()] * TEXTS).hook(dictionary(sparsity))(x) is x


@given(edits=st.lists(EDITS, min_size=1, max_size=3), sparsity=st.sampled_from(["topk", "relu", "jump_relu"]))
@settings(max_examples=50, deadline=None)
def test_an_edit_is_decode_the_edited_code_and_add_the_error_back(edits, sparsity):
    sae, x = dictionary(sparsity), activations()
    with torch.no_grad():
        z = sae.encode(x)
        edited = z.clone()
        for edit in edits:
            for latent in edit.latents:
                one = edited[..., latent]
                edited[..., latent] = {
                    "set": torch.full_like(one, edit.value),
                    "add": one + edit.value,
                    "scale": one * edit.value,
                    "min": one.clamp(min=edit.value),
                    "max": one.clamp(max=edit.value),
                    "ablate": torch.zeros_like(one),
                }[edit.mode]
        expected = sae.decode(edited) + (x - sae.decode(z))
    torch.testing.assert_close(Intervention(tuple(edits)).hook(sae)(x), expected, rtol=1e-4, atol=1e-4)


def test_weights_multiply_the_value_of_each_latent():
    directions = Directions(torch.eye(D_IN))
    x = torch.ones(1, 1, D_IN)
    recipe = Intervention((Edit((0, 2), 4.0, "set", weights=(1.0, 0.5)),))
    assert recipe.hook(directions)(x).tolist() == [[[4.0, 1.0, 2.0, 1.0, 1.0, 1.0]]]


def test_the_given_tensor_is_left_alone_and_dtype_kept():
    x = activations()
    before = x.clone()
    assert not torch.equal(Intervention((Edit((3,), 4.0),)).hook(dictionary())(x), x)
    assert torch.equal(x, before)
    low = Intervention((Edit((3,), 4.0),)).hook(dictionary())(x.bfloat16())
    assert low.dtype == torch.bfloat16


def test_padding_stays_untouched_to_the_bit():
    x, keep = activations(), torch.rand(TEXTS, TOKENS, generator=torch.Generator().manual_seed(3)) < 0.5
    clamp, push = Intervention((Edit((3,), 9.0),)), DirectionPush(torch.ones(D_IN), 2.0)
    for one in (clamp, push, RowInterventions([clamp, push, clamp, push])):
        assert torch.equal(moved(x, one.hook(dictionary())(x, keep=keep)), keep)
        assert torch.equal(moved(x, one.hook(dictionary(), keep=keep)(x)), keep)


@pytest.mark.parametrize(
    ("positions", "offset", "prompt_tokens", "expected"),
    [
        ("all", 0, None, [1, 1, 1, 1, 1, 1, 1]),
        ("prompt", 0, None, [1, 1, 1, 1, 1, 1, 1]),
        ("prompt", 7, None, [0, 0, 0, 0, 0, 0, 0]),
        ("generated", 0, None, [0, 0, 0, 0, 0, 0, 0]),
        ("generated", 7, None, [1, 1, 1, 1, 1, 1, 1]),
        ("prompt", 0, 3, [1, 1, 1, 0, 0, 0, 0]),
        ("generated", 0, 3, [0, 0, 0, 1, 1, 1, 1]),
        ("generated", 2, 3, [0, 1, 1, 1, 1, 1, 1]),
        ((2, 4), 0, None, [0, 0, 1, 1, 0, 0, 0]),
        ((2, 4), 3, None, [1, 0, 0, 0, 0, 0, 0]),
        ((2, 4), 4, None, [0, 0, 0, 0, 0, 0, 0]),
        ((5, 100), 1, None, [0, 0, 0, 0, 1, 1, 1]),
    ],
)
def test_positions_count_from_the_first_token_of_the_text(positions, offset, prompt_tokens, expected):
    x, edits = activations(), (Edit((3,), 9.0),)
    for one in (Intervention(edits, positions), DirectionPush(torch.ones(D_IN), 1.0, positions)):
        after = one.hook(dictionary(), prompt_tokens=prompt_tokens)(x, offset=offset)
        assert moved(x, after).int().tolist() == [expected] * TEXTS
        if not any(expected):
            assert after is x


def test_positions_may_differ_from_row_to_row():
    x, clamp = activations(), Intervention((Edit((3,), 9.0),), (0, 2))
    after = clamp.hook(dictionary())(x, offset=torch.tensor([0, -1, -2, 1]))
    assert moved(x, after).int()[:, :5].tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [1, 0, 0, 0, 0]]
    generated = Intervention((Edit((3,), 9.0),), "generated")
    after = generated.hook(dictionary(), prompt_tokens=torch.tensor([7, 5, 0, 6]))(x)
    assert moved(x, after).sum(1).tolist() == [0, 2, 7, 1]
    later = generated.hook(dictionary())(x[:, :1], offset=torch.tensor([7, 5, 0, 6]))
    assert moved(x[:, :1], later).sum(1).tolist() == [1, 1, 0, 1]


SEEN = torch.tensor([[9, 1, 5, 6, 2, 5, 7], [1, 5, 5, 2, 6, 1, 5], [5, 5, 5, 5, 5, 5, 5], [2, 1, 1, 5, 5, 5, 5]])


def test_a_token_set_acts_where_its_tokens_stand():
    x, clamp = activations(), Intervention((Edit((3,), 9.0),), TokenSet((6, 2)))
    assert torch.equal(moved(x, clamp.hook(dictionary())(x, seen=lambda: SEEN)), (SEEN == 6) | (SEEN == 2))
    last = clamp.hook(dictionary())(x[:, :1], offset=6, seen=lambda: SEEN)
    assert moved(x[:, :1], last)[:, 0].tolist() == [False] * 4
    with pytest.raises(ValueError, match="told which tokens"):
        clamp.hook(dictionary())(x)


def test_turns_run_from_what_opens_them_to_what_closes_them():
    turns = Turns(opening=(1,), closing=(2,))
    assert turns.inside(SEEN).int().tolist() == [
        [0, 0, 1, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0, 1], [0] * 7, [0, 0, 1, 1, 1, 1, 1]]  # fmt: skip
    two = Turns(opening=(1, 5), closing=(2, 7))
    assert two.inside(SEEN).int().tolist() == [
        [0, 0, 0, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0], [0] * 7, [0, 0, 0, 0, 1, 1, 1]]  # fmt: skip
    for stop in range(1, 8):  # token by token it is the same as all at once
        assert torch.equal(two.inside(SEEN[:, :stop]), two.inside(SEEN)[:, :stop])
    x, clamp = activations(), Intervention((Edit((3,), 9.0),), two)
    assert torch.equal(moved(x, clamp.hook(dictionary())(x, seen=lambda: SEEN)), two.inside(SEEN))


@pytest.mark.parametrize("sparsity", ["topk", "relu", "jump_relu"])
def test_an_edit_may_act_only_where_its_latents_are_active(sparsity):
    sae, x = dictionary(sparsity), activations()
    edit = Edit((3, 5), 9.0, where_active=True)
    read = sae.encode(x)[..., [3, 5]]
    expected = x + (torch.where(read > 0, 9.0, read) - read) @ sae.directions[[3, 5]]
    assert 0 < (read > 0).sum() < read.numel()
    torch.testing.assert_close(Intervention((edit,)).hook(sae)(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk", "relu", "jump_relu", "gated"])
@pytest.mark.parametrize("ids", [[7, 3, 29], list(range(19, -1, -1))])
def test_reading_a_few_latents_is_reading_them_all(sparsity, ids):
    sae, x = dictionary(sparsity), activations()
    assert len(ids) == 3 or len(ids) > LOOKED_AT_FIRST
    torch.testing.assert_close(sae.latent_reader(ids)(x), sae.encode(x)[..., ids].detach())
    silent = torch.full((1, 2, D_IN), -50.0) @ torch.eye(D_IN)
    torch.testing.assert_close(sae.latent_reader([7])(silent), sae.encode(silent)[..., [7]].detach())


def test_hooks_in_turn_read_what_those_before_left():
    sae, x = dictionary("relu"), activations()
    one, other = Intervention((Edit((3,), 4.0, "add"),)), Intervention((Edit((3,), 0.5, "scale"),))
    both = in_turn([one.hook(sae), other.hook(sae)])(x)
    torch.testing.assert_close(both, other.hook(sae)(one.hook(sae)(x)))
    assert not torch.allclose(both, in_turn([other.hook(sae), one.hook(sae)])(x))


def test_a_condition_lets_the_edit_happen_only_where_its_latent_fires():
    sae, x = dictionary("relu"), activations()
    condition = Condition(latent=5, above=0.3)
    after = Intervention((Edit((3,), 9.0),), condition=condition).hook(sae)(x)
    fires = sae.encode_latents(x, [5])[..., 0] > 0.3
    assert 0 < fires.sum() < fires.numel()
    assert torch.equal(moved(x, after), fires)


def test_each_row_is_as_if_it_were_alone():
    sae, x, keep = dictionary(), activations(), torch.ones(TEXTS, TOKENS, dtype=torch.bool)
    keep[2, :3] = False
    rows = [
        Intervention((Edit((3, 8), 9.0), Edit((3,), 0.5, "scale")), (1, 5)),
        Intervention(),
        DirectionPush(torch.arange(1.0, D_IN + 1), -2.0),
        Intervention((Edit((8,), -1.0, "add"),), condition=Condition(4, 0.1)),
    ]
    after = RowInterventions(rows).hook(sae)(x, keep=keep)
    for row, one in enumerate(rows):
        alone = one.hook(sae)(x[row : row + 1], keep=keep[row : row + 1])
        torch.testing.assert_close(after[row : row + 1], alone)
        assert torch.equal(moved(x, after)[row], moved(x[row : row + 1], alone)[0])
    assert torch.equal(after[1], x[1])


def test_a_push_moves_by_its_amount_along_its_direction():
    x = activations()
    change = DirectionPush(torch.tensor([0, 0, 5.0, 0, 0, 0]), 1.5).hook()(x) - x
    torch.testing.assert_close(change, torch.tensor([0, 0, 1.5, 0, 0, 0]).expand_as(x))


def test_interventions_are_values():
    assert Intervention((Edit((3,), 1.0),)) == Intervention((Edit((3,), 1.0, "set"),))
    assert len({Edit((3,), 1.0), Edit((3,), 1.0), Edit((3,), 2.0)}) == 2
    assert Intervention((Edit((3, 5), 1.0), Edit((5,), 2.0)), condition=Condition(1, 0.0)).latents == (3, 5, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Edit((), 1.0), "one or more"),
        (lambda: Edit((3, 3), 1.0), "different latents"),
        (lambda: Edit((3,), float("nan")), "finite"),
        (lambda: Edit((3,), 1.0, "steer"), "unknown mode"),
        (lambda: Edit((3,), 1.0, weights=(1.0, 2.0)), "as many weights"),
        (lambda: Intervention((), "everywhere"), "positions must be"),
        (lambda: Intervention((), (4, 2)), "positions must be"),
        (lambda: TokenSet(()), "one or more tokens"),
        (lambda: Turns((1,), ()), "tokens that close them"),
        (lambda: DirectionPush(torch.zeros(3), 1.0), "finite length above zero"),
        (lambda: Intervention((Edit((D_SAE,), 1.0),)).hook(dictionary()), f"no latent {D_SAE}"),
        (lambda: RowInterventions([Intervention((Edit((1,), 1.0),))]).hook(), "needs the dictionary"),
        (lambda: RowInterventions([Intervention()]).hook()(activations()), "cannot act on 4 rows"),
        (lambda: Intervention((Edit((1,), 1.0),)).hook(dictionary())(torch.zeros(1, 1, 9)), "expected d_in 6, got 9"),
        (lambda: DirectionPush(torch.ones(3), 1.0).hook()(activations()), "expected d_in 6, got 3"),
    ],
)
def test_mistakes_speak(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_transcoder_is_read_in_one_place_and_writes_in_another():
    torch.manual_seed(0)
    transcoder = SparseAutoencoder(SAEConfig(6, 20, "relu", d_out=4, apply_b_dec_to_input=False))
    x, y = torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    keep = torch.ones(2, 5, dtype=torch.bool)
    keep[1, 3:] = False
    edit = Intervention((Edit((3, 7), 2.0),))
    hooks = hooks_across(edit, transcoder, "here", "there")
    assert list(hooks) == ["here", "there"]
    assert hooks["here"](x, keep=keep) is x
    changed = hooks["there"](y, keep=keep) - y
    expected = (2.0 - transcoder.encode(x)[..., [3, 7]]) @ transcoder.W_dec[[3, 7]]
    torch.testing.assert_close(changed, expected * keep[..., None], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="has to come before the one that it writes"):
        hooks_across(edit, transcoder, "here", "there")["there"](y)
