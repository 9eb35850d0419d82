"""At which words latents fire, from their excerpts: what a search over excerpts looks up instead of reading them all."""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence

from analysis.records import FiringWord
from analysis.study import Study

WORD = re.compile(r"\w[\w'’-]*")


def words_fired(tokens: Sequence[str], values: Sequence[float]) -> set[str]:
    """The words of an excerpt, in small letters, of which at least one token fires. A word may be of several tokens."""
    ends, fires = [], []
    place = 0
    for token, value in zip(tokens, values, strict=False):
        place += len(token)
        ends.append(place)
        fires.append(value > 0)
    found, at = set(), 0
    for word in WORD.finditer("".join(tokens)):
        while at < len(ends) and ends[at] <= word.start():
            at += 1
        here = at
        while here < len(ends) and (here == at or ends[here - 1] < word.end()):
            if fires[here]:
                found.add(word.group().lower())
                break
            here += 1
    return found


def firing_words(excerpts: Iterable[tuple[int, Sequence[str], Sequence[float]]]) -> Iterator[FiringWord]:
    """Every word at which any latent fires, in order, from (latent, tokens, values) a row, a latent's rows together."""
    found: dict[str, array] = {}
    for latent, tokens, values in excerpts:
        if any(values):
            for word in words_fired(tokens, values):
                latents = found.setdefault(word, array("q"))
                if not latents or latents[-1] != latent:
                    latents.append(latent)
    for word in sorted(found):
        yield FiringWord(word, list(found[word]))


def write_firing_words(study: Study) -> None:
    """Writes the table `firing_words` of a study whose excerpts are written, without holding those."""
    study.write("firing_words", firing_words(study.stream("excerpts", ["latent", "tokens", "values"])))
