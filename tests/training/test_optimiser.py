"""The learning rate rises, stays and falls."""

from training.optimiser import learning_rate


def test_rises_stays_and_falls():
    rates = [learning_rate(step, 100, 2.0, warmup=0.1, decay=0.2) for step in range(100)]
    assert rates[0] == 0.2
    assert rates[10:80] == [2.0] * 70
    assert rates[90] == 1.0
    assert 0 < rates[-1] <= 0.1
    assert [learning_rate(step, 3, 2.0, 0.0, 0.0) for step in range(3)] == [2.0] * 3
