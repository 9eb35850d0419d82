"""Drawing tokens: from the likeliest ones only, the likeliest at temperature 0, and each row from its own stream."""

import pytest
import torch

from training.language_models.generation import HEAD, drawn, left_padded, sample, write

END = 9


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def counting(step: torch.Tensor) -> torch.Tensor:
    """After token n comes n + 1 (ten tokens in all), and n + 2 half as likely."""
    last = step[:, -1]
    logits = torch.full((len(last), 10), -1e9)
    rows = torch.arange(len(last))
    logits[rows, (last + 2).clamp(max=9)] = -0.6931
    logits[rows, (last + 1).clamp(max=9)] = 0.0
    return logits


def written(prompts, seeds, temperature=1.0, stopped=None, tokens=6, top_p=1.0):
    return write(counting, torch.tensor(prompts), tokens, temperature, top_p, seeds, torch.tensor([END]), stopped)


@pytest.mark.parametrize(("top_p", "possible"), [(0.4, {2}), (0.6, {1, 2}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2})])
def test_top_p_draws_from_the_likeliest_tokens_that_hold_it(top_p, possible):
    draws = torch.linspace(0, 1, 201)[:-1]
    found = sample(logits_of(0.2, 0.3, 0.5).expand(len(draws), -1), 1.0, top_p, draws)
    assert set(found.tolist()) == possible


def test_draws_run_down_from_the_likeliest_token_in_its_share():
    draws = torch.linspace(0, 1, 1001)[:-1]
    found = sample(logits_of(0.2, 0.3, 0.5).expand(len(draws), -1), 1.0, 1.0, draws)
    assert found[0] == 2
    assert found[-1] == 0
    shares = torch.bincount(found) / len(draws)
    torch.testing.assert_close(shares, torch.tensor([0.2, 0.3, 0.5]), atol=0.002, rtol=0)


def test_temperature_sharpens():
    draws = torch.linspace(0, 1, 1001)[:-1]
    cold = sample(logits_of(0.2, 0.3, 0.5).expand(len(draws), -1), 0.5, 1.0, draws)
    shares = torch.bincount(cold) / len(draws)
    torch.testing.assert_close(shares, torch.tensor([0.04, 0.09, 0.25]) / 0.38, atol=0.002, rtol=0)


def test_a_vocabulary_wider_than_the_head_is_drawn_from_whole():
    flat = torch.zeros(1, 2 * HEAD)  # no HEAD tokens hold all of it
    found = sample(flat.expand(2 * HEAD, -1), 1.0, 1.0, (torch.arange(2 * HEAD) + 0.5) / (2 * HEAD))
    assert sorted(found.tolist()) == list(range(2 * HEAD))
    peaked = torch.zeros(1, 2 * HEAD)
    peaked[0, 7] = 20.0
    assert sample(peaked, 1.0, 0.9, torch.tensor([0.999])).tolist() == [7]


def test_temperature_0_takes_the_likeliest_whatever_the_seeds():
    assert written([[1], [3]], ["a", "b"], temperature=0) == [[2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8]]  # 9 ends a row
    assert written([[1], [3]], ["c", "d"], temperature=0) == written([[1], [3]], ["a", "b"], temperature=0)


def test_a_row_s_text_depends_on_its_own_seed_alone():
    seeds = [f"{number}" for number in range(8)]
    together = written([[0]] * 8, seeds)
    assert together == [written([[0]], [seed])[0] for seed in seeds]
    assert together[::-1] == written([[0]] * 8, seeds[::-1])
    assert len({tuple(row) for row in together}) > 1
    assert written([[0], [0]], ["5", "5"])[0] == written([[0], [0]], ["5", "5"])[1]


def test_longer_writing_begins_the_same():
    assert written([[0]], ["3"], tokens=2)[0] == written([[0]], ["3"], tokens=4)[0][:2]


def test_a_closed_row_writes_no_more():
    found = written([[0], [0]], ["a", "b"], temperature=0, stopped=lambda row, so_far: row == 1 and len(so_far) == 2)
    assert found == [[1, 2, 3, 4, 5, 6], [1, 2]]


def test_draws_are_uniform_and_a_stream_a_seed():
    draws = drawn(["a", "b", "a"], 2000, torch.device("cpu"))
    assert ((draws >= 0) & (draws < 1)).all()
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.02)


def test_left_padding_puts_last_tokens_in_one_column():
    ids, real = left_padded([[1, 2, 3], [4]], fill=7)
    assert ids.tolist() == [[1, 2, 3], [7, 7, 4]]
    assert real.tolist() == [[True, True, True], [False, False, True]]


def test_whoever_listens_hears_each_token_when_it_is_drawn_and_can_end_the_writing():
    heard = []

    def listen(fresh):
        heard.append(list(fresh))
        return len(heard) == 3

    found = write(counting, torch.tensor([[6], [1]]), 6, 0.0, 1.0, ["a", "b"], torch.tensor([END]), None, listen)
    assert heard == [[7, 2], [8, 3], [None, 4]], "the end token closes the first row, and is no token of it"
    assert found == [[7, 8], [2, 3, 4]]
    heard.clear()
    assert written([[6], [1]], ["a", "b"], temperature=0) == write(
        counting,
        torch.tensor([[6], [1]]),
        6,
        0.0,
        1.0,
        ["a", "b"],
        torch.tensor([END]),
        None,
        lambda fresh: heard.append(fresh),
    )
    assert len(heard) == 6, "who answers nothing only listens"
