"""Excerpts: the strongest, middling ones and texts by chance are what they say, and stay within their counts."""

import numpy as np

from analysis.firings import Firings
from analysis.labelling.excerpts import CHANCE, MIDDLING, TOP, excerpts_of
from analysis.labelling.split import TextTable

TEXTS = 60
STRINGS = [[f" t{text}w{token}" for token in range(40)] for text in range(TEXTS)]
TABLE = TextTable(
    [""] * TEXTS,
    np.array(["afraid"] * TEXTS),
    np.array([""] * TEXTS),
    np.array(["finding"] * TEXTS),
    np.array([""] * TEXTS),
)


def firings(texts, shuffled=False):
    """Latent 3 fires in each of `texts` at token 20 with the text's number, and half as strongly at token 5."""
    text = np.repeat(np.array(texts, dtype=int), 2)
    token = np.tile([5, 20], len(texts))
    value = np.where(token == 20, text, text / 2).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(text)) if shuffled else np.arange(len(text))
    return Firings(text[order], token[order], np.full(len(text), 3)[order], value[order], np.full(TEXTS, 40), 8)


def peaks(found, drawn):
    return [one.peak for one in found if one.drawn == drawn]


def test_the_strongest_texts_stand_first_and_once_each():
    for shuffled in (False, True):
        found = excerpts_of(firings(range(1, 51), shuffled), STRINGS, TABLE, 3)
        assert peaks(found, "top") == list(range(50, 50 - TOP, -1))
        first = found[0]
        assert first.tokens[first.values.index(first.peak)] == " t50w20"


def test_middling_texts_lie_in_the_middle_and_are_no_strong_ones():
    found = excerpts_of(firings(range(1, 51)), STRINGS, TABLE, 3)
    middling = peaks(found, "middling")
    assert len(middling) == MIDDLING
    assert all(10 <= peak <= 33 for peak in middling)
    assert middling == sorted(middling, reverse=True)


def test_texts_by_chance_are_of_all_texts():
    """Over many draws silent texts come as often as they are, and strong ones too."""
    silent, strong, count = 0, 0, 0
    for seed in range(60):
        found = excerpts_of(firings(range(30, 60)), STRINGS, TABLE, 3, seed)
        chance = peaks(found, "chance")
        assert len(chance) == CHANCE
        silent += sum(peak == 0 for peak in chance)
        strong += sum(peak >= 52 for peak in chance)
        count += len(chance)
    assert 0.4 < silent / count < 0.6
    assert strong > 0


def test_a_latent_that_fires_rarely_or_never_has_what_there_is():
    few = excerpts_of(firings([7, 9]), STRINGS, TABLE, 3)
    assert peaks(few, "top") == [9.0, 7.0]
    assert not peaks(few, "middling")
    never = excerpts_of(firings([]), STRINGS, TABLE, 3)
    assert {one.drawn for one in never} == {"chance"}
    assert not any(one.peak for one in never)


def test_the_draw_depends_on_seed_and_latent_alone():
    one, again, other = (excerpts_of(firings(range(1, 51)), STRINGS, TABLE, 3, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
