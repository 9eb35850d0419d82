"""Constants fitted to times: exact where the times are made from constants, and possible where they are measured."""

import pytest

from training.costs import CPU, StepCosts
from training.measure import SIZES, fitted, measured
from training.plan import work_of
from training.spec import TrainSpec


@pytest.mark.parametrize("kernel", ["sparse", "dense"])
def test_planted_constants_are_found(kernel):
    planted = StepCosts(3e-12, 2e-9, 1e-9 if kernel == "sparse" else 0.0, 2e-9, 5e-4)
    times = [
        sum(
            amount * cost
            for amount, cost in zip(
                work_of(kernel, rows, d_in, d_sae, rows * k, 2 * d_sae * d_in + 2 * d_sae + d_in),
                vars(planted).values(),
                strict=True,
            )
        )
        for d_in, d_sae, k, rows in SIZES
    ]
    found = fitted(kernel, SIZES, times)
    assert vars(found) == pytest.approx(vars(planted), rel=0.05, abs=1e-16)


def test_this_machine_has_constants(model_folders, monkeypatch, tmp_path):
    from training.language_models.outline import config_of

    monkeypatch.setattr("training.measure.SIZES", ((8, 32, 2, 16), (8, 64, 2, 32), (16, 64, 4, 16)))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n<|endoftext|>\n".join(f"Rain fell {number} times." for number in range(50)))
    spec = TrainSpec(model=str(model_folders["gemma2"]), corpus=str(corpus), sparsity="relu", d_sae=64, k=4)
    found = measured(spec, config_of(spec.model), text_tokens=100)
    assert "just now" in found.source
    assert found.token > 0
    assert found.told["files"] > 0
    assert found.model_flop["float32"] > 0
    assert sum(vars(found.sparse).values()) > 0
    assert found.sparse != CPU.sparse
