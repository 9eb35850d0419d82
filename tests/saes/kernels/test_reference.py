"""The reference step against torch.optim by hand, and what every sparsity must do when trained."""

import copy

import pytest
import torch

from saes.autoencoder import SAEConfig, SparseAutoencoder
from saes.kernels.reference import ReferenceStep
from saes.kernels.step import StepSettings

SPARSITIES = ["topk", "batch_topk", "jump_relu", "relu", "gated"]


def planted(rows, d_in=12, latents=20, seed=0):
    """Activations that are sums of few fixed directions, with a mean."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(latents, d_in, generator=torch.Generator().manual_seed(99))
    codes = (torch.rand(rows, latents, generator=generator) < 0.15) * torch.rand(rows, latents, generator=generator)
    return codes @ directions + 1.0


def test_one_step_is_adam_on_the_projected_gradient():
    x = planted(32)
    sae = SparseAutoencoder(SAEConfig(12, 24, "topk", k=3), seed=5)
    names = ("W_enc", "W_dec", "b_enc", "b_dec")
    W_enc, W_dec, b_enc, b_dec = by_hand = [getattr(sae, name).detach().clone().requires_grad_() for name in names]
    pre = (x - b_dec) @ W_enc + b_enc
    values, latents = pre.topk(3)
    z = torch.zeros_like(pre).scatter(1, latents, values.relu())
    (z @ W_dec + b_dec - x).square().sum(1).mean().backward()
    with torch.no_grad():
        W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
        torch.optim.Adam(by_hand, lr=1e-2).step()
        W_dec /= W_dec.norm(dim=1, keepdim=True)
    ReferenceStep(sae, StepSettings())(x, 1e-2)
    for name, expected in zip(names, by_hand, strict=True):
        torch.testing.assert_close(getattr(sae, name), expected, msg=name)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_training_lowers_the_loss_and_keeps_directions_at_length_one(sparsity):
    sae = SparseAutoencoder(SAEConfig(12, 40, sparsity, k=4))
    step = ReferenceStep(sae, StepSettings(l1_coefficient=0.05, l0_coefficient=0.005))
    x = planted(256)
    first = step(x, 1e-2)
    for seed in range(60):
        step(planted(256, seed=seed), 1e-2)
    last = step(x, 1e-2)
    assert float(last.loss) < 0.5 * float(first.loss)
    assert float(last.explained_variance) > 0.5 > float(first.explained_variance)
    assert float(last.loss) == pytest.approx(sum(float(term) for term in last.terms.values()), rel=1e-5)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(40))


def test_penalties_make_the_code_sparser():
    def l0_after(sparsity, weight):
        sae = SparseAutoencoder(SAEConfig(12, 40, sparsity))
        step = ReferenceStep(sae, StepSettings(l1_coefficient=weight, l0_coefficient=weight))
        return float([step(planted(128, seed=seed), 1e-2) for seed in range(80)][-1].l0)

    assert l0_after("relu", 1.0) < 0.7 * l0_after("relu", 0.0)
    assert l0_after("jump_relu", 0.3) < 0.7 * l0_after("jump_relu", 0.0)
    assert l0_after("gated", 2.0) < 0.7 * l0_after("gated", 0.0)


def test_batch_topk_follows_its_threshold_from_the_first_batch_on():
    sae = SparseAutoencoder(SAEConfig(12, 40, "batch_topk", k=4))
    step = ReferenceStep(sae, StepSettings(threshold_decay=0.5))
    smallest = []
    for seed in range(3):
        z = sae.encode(planted(64, seed=seed)).detach()
        smallest.append(float(z[z > 0].min()))
        step(planted(64, seed=seed), 1e-3)
    assert float(sae.running_threshold) == pytest.approx(smallest[0] / 4 + smallest[1] / 4 + smallest[2] / 2, rel=1e-5)


def test_rows_since_fired_counts_rows():
    sae = SparseAutoencoder(SAEConfig(12, 40, "topk", k=4))
    with torch.no_grad():
        sae.b_enc[7] = -100.0
        sae.b_enc[8] = 100.0
    step = ReferenceStep(sae, StepSettings(dead_after_rows=60))
    shares = [float(step(planted(32), 1e-4).dead) for _ in range(4)]
    assert step.rows_since_fired[7] == 128
    assert step.rows_since_fired[8] == 0
    assert shares[:2] == [0.0, 0.0]
    assert shares[2] > 0


def test_rescue_brings_dead_latents_back():
    def living(coefficient):
        sae = SparseAutoencoder(SAEConfig(12, 40, "topk", k=4))
        with torch.no_grad():
            sae.b_enc[20:] = -5.0
        step = ReferenceStep(sae, StepSettings(auxk_coefficient=coefficient, dead_after_rows=256, k_aux=8))
        for seed in range(150):
            step(planted(128, seed=seed), 1e-2)
        return int((step.rows_since_fired[20:] < 256).sum())

    assert living(0.0) <= 2
    assert living(1 / 32) >= 8


def test_the_gradient_is_clipped_over_all_parameters():
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(5))
    free = SparseAutoencoder(SAEConfig(6, 20, "topk", k=3), seed=1)
    clipped = copy.deepcopy(free)
    seen = []
    for sae, limit in ((free, None), (clipped, 0.01)):
        step = ReferenceStep(sae, StepSettings(clip_norm=limit))
        before = step.update.optimiser.step

        def note(before=before, sae=sae):
            seen.append(torch.stack([parameter.grad.norm() for parameter in sae.parameters()]).norm())
            before()

        step.update.optimiser.step = note
        step(x, 1e-3)
    assert seen[0] > 0.1
    assert 0.005 < seen[1] <= 0.01  # a little below: the decoder's part along its rows is taken off after the clipping


def recovered(sparsity, steps=400, lr=5e-3, d_in=16, latents=20, sae=None, **settings):
    """Cosine of each planted direction with the nearest of the SAE's, after training on them."""
    directions = torch.nn.functional.normalize(torch.randn(latents, d_in, generator=torch.Generator().manual_seed(99)))
    sae = sae or SparseAutoencoder(SAEConfig(d_in, 40, sparsity, k=3), seed=2)
    step = ReferenceStep(sae, StepSettings(dead_after_rows=5000, k_aux=8, **settings))
    generator = torch.Generator().manual_seed(1)
    for number in range(steps):
        codes = (torch.rand(256, latents, generator=generator) < 0.1) * (
            2 + torch.rand(256, latents, generator=generator)
        )
        step(codes @ directions, lr * min(1.0, 4 * (1 - number / steps)))
    return (directions @ sae.directions.T).max(1).values


def test_a_gated_one_recovers_planted_directions():
    cosines = recovered("gated", lr=2e-2, l1_coefficient=3.0)
    assert cosines.median() > 0.97
    assert cosines.mean() > 0.9


@pytest.mark.parametrize("sparsity", ["topk", "batch_topk"])
def test_matryoshka_puts_what_matters_most_first(sparsity):
    def explained_by_the_first(prefixes):
        sae = SparseAutoencoder(SAEConfig(12, 40, sparsity, k=4, prefixes=prefixes), seed=3)
        step = ReferenceStep(sae, StepSettings(auxk_coefficient=0.0))
        for seed in range(100):
            metrics = step(planted(128, seed=seed), 1e-2)
        assert float(metrics.loss) == pytest.approx(float(metrics.terms["reconstruction"]))
        x = planted(256, seed=1000)
        z = sae.encode(x)
        first = sae.decode(z * (torch.arange(40) < 8))
        return float(1 - (x - first).square().sum() / (x - x.mean(0)).square().sum())

    assert explained_by_the_first((8,)) > explained_by_the_first(()) + 0.1


def test_a_matryoshka_recovers_planted_directions():
    sae = SparseAutoencoder(SAEConfig(16, 40, "batch_topk", k=2, prefixes=(20, 30)), seed=2)
    assert recovered("batch_topk", sae=sae).median() > 0.97


@pytest.mark.parametrize(
    ("sparsity", "settings"),
    [
        ("relu", {"penalty": "l1", "l1_coefficient": 1.0}),
        ("relu", {"penalty": "tanh", "l1_coefficient": 0.5, "tanh_scale": 2.0}),
        ("relu", {"penalty": "p_anneal", "l1_coefficient": 1.0, "total_steps": 400, "p_end": 0.5}),
        ("jump_relu", {"penalty": "tanh", "l0_coefficient": 0.5, "tanh_scale": 2.0, "bandwidth": 0.5}),
        ("jump_relu", {"penalty": "target_l0", "l0_coefficient": 0.5, "target_l0": 2.0, "bandwidth": 0.5}),
    ],
)
def test_every_penalty_recovers_planted_directions(sparsity, settings):
    assert recovered(sparsity, lr=1e-2, **settings).median() > 0.95


def test_target_l0_is_reached():
    def l0_for(target):
        sae = SparseAutoencoder(SAEConfig(12, 40, "jump_relu"))
        settings = StepSettings(penalty="target_l0", target_l0=target, l0_coefficient=10.0, bandwidth=0.3)
        step = ReferenceStep(sae, settings)
        return float(torch.stack([step(planted(128, seed=seed), 1e-2).l0 for seed in range(400)])[-20:].mean())

    assert l0_for(3.0) == pytest.approx(3.0, rel=0.25)
    assert l0_for(8.0) == pytest.approx(8.0, rel=0.25)


def test_annealing_changes_the_power_and_not_the_size_of_the_penalty():
    settings = StepSettings(penalty="p_anneal", l1_coefficient=0.5, p_end=0.2, total_steps=11)
    assert [settings.power_at(step) for step in (0, 5, 10, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    step = ReferenceStep(SparseAutoencoder(SAEConfig(12, 40, "relu")), settings)
    sizes = [float(step(planted(64), 0.0).terms["lp"]) for _ in range(11)]  # nothing learns: the same batch, again
    assert sizes == pytest.approx([sizes[0]] * 11, rel=1e-4)
    assert abs(float(step.update.penalty_weight) - 1) > 0.1
    again = ReferenceStep(SparseAutoencoder(SAEConfig(12, 40, "relu")), settings)
    again.load_state_dict(copy.deepcopy(step.state_dict()))
    assert (again.update.steps, again.update.penalty_weight) == (11, step.update.penalty_weight)


@pytest.mark.parametrize(
    ("sparsity", "settings", "message"),
    [
        ("relu", {"penalty": "tan"}, "has l1, tanh, p_anneal, not penalty 'tan'; did you mean tanh"),
        ("relu", {"penalty": "l0"}, "has l1, tanh, p_anneal, not penalty 'l0'; l0 goes with jump_relu"),
        ("topk", {"penalty": "l1"}, "topk needs no penalty, not penalty 'l1'; l1 goes with relu, gated"),
        ("jump_relu", {"penalty": "target_l0"}, "needs target_l0"),
        ("gated", {"penalty": "p_anneal"}, "needs total_steps"),
    ],
)
def test_penalties_that_do_not_fit_are_refused(sparsity, settings, message):
    with pytest.raises(ValueError, match=message):
        ReferenceStep(SparseAutoencoder(SAEConfig(4, 16, sparsity, k=2)), StepSettings(**settings))


@pytest.mark.parametrize("settings", [{"tanh_scale": 0}, {"p_end": 0}, {"p_end": 1.5}, {"target_l0": -1}])
def test_impossible_numbers_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        StepSettings(**settings)


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("skip", [False, True])
def test_a_transcoder_learns_what_another_site_makes_of_x(sparsity, skip):
    mix = torch.randn(12, 7, generator=torch.Generator().manual_seed(5))

    def pair(seed):
        x = planted(128, seed=seed)
        return x, (x @ mix).relu()

    sae = SparseAutoencoder(SAEConfig(12, 60, sparsity, k=6, apply_b_dec_to_input=False, d_out=7, skip=skip))
    sae.start_at_mean(*pair(0))
    step = ReferenceStep(sae, StepSettings(l1_coefficient=0.01, l0_coefficient=0.001))
    first, *_, last = [step(x, 1e-2, target) for x, target in map(pair, range(80))]
    assert float(last.explained_variance) > 0.6
    assert float(last.loss) < float(first.loss)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(60))
    if skip:
        assert sae.W_skip.abs().max() > 0.01
    with pytest.raises(ValueError, match="needs the target"):
        step(pair(0)[0], 1e-2)


def test_a_crosscoder_s_latents_stay_at_the_sites_they_are_of():
    """Two directions live at one site each and two at both; the penalty by site tells them apart."""
    planted_at = torch.zeros(4, 2, 8)
    directions = torch.nn.functional.normalize(torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(3)), dim=2)
    for latent, sites in enumerate(([0], [1], [0, 1], [0, 1])):
        planted_at[latent, sites] = directions[latent, sites]
    sae = SparseAutoencoder(SAEConfig(16, 12, "relu", sites=(("a", 8), ("b", 8))), seed=1)
    step = ReferenceStep(sae, StepSettings(l1_coefficient=0.3))
    generator = torch.Generator().manual_seed(1)
    for _ in range(300):
        codes = (torch.rand(128, 4, generator=generator) < 0.2) * (1 + torch.rand(128, 4, generator=generator))
        step(codes @ planted_at.flatten(1), 1e-2)
    cosine, best = (torch.nn.functional.normalize(planted_at.flatten(1)) @ sae.directions.T).max(1)
    assert cosine.min() > 0.95
    share = sae.directions_at("a")[best].norm(dim=1).square()
    assert share[0] > 0.95
    assert share[1] < 0.05
    assert ((share[2:] > 0.3) & (share[2:] < 0.7)).all()
