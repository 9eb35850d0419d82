"""What the language model is asked, and how its answers are read. Nothing here knows labels, concepts or splits."""

import json
from collections.abc import Sequence
from typing import Any

from analysis.explaining.asking import Question
from analysis.records import Excerpt

VERSION = "1"
"""Goes up with every change of a sentence below: scores are compared within one version only."""
MARKED = 0.5
"""Tokens are marked above this share of the excerpt's largest value."""
LARGEST_RATING = 10
LONGEST_EXPLANATION = 600
"""Characters."""

WRITE = """You describe what makes one latent of a sparse autoencoder fire. A latent has a value at every token of a text, \
mostly zero. Below are excerpts of texts that a language model read. Tokens at which the latent fires strongly stand in \
<<double angle brackets>>; their values, up to 10 for the largest that was seen, are listed after the excerpt. Some \
excerpts are drawn by chance. In others the latent is silent although similar latents fire: a good description does not \
fit those. Be as specific as the excerpts allow, and say nothing that only one of them bears out."""
WRITE_FORM = """one JSON object: {"explanation": "one sentence of at most 30 words that says when the latent fires"}"""
DETECT = """A latent of a sparse autoencoder fires at some tokens of some texts. Below are a description of when it fires, \
and numbered excerpts. Rate for each excerpt how sure you are that the latent fires somewhere in it, judging by the \
description alone: an integer from 0 (surely not) to 10 (surely); 6 and more says that it does."""
FUZZ = """A latent of a sparse autoencoder fires at some tokens of some texts. Below are a description of when it fires, \
and numbered excerpts in which some tokens stand in <<double angle brackets>>. Rate for each excerpt how sure you are \
that the marked tokens are those at which the latent fires, judging by the description alone: an integer from 0 (surely \
not) to 10 (surely); 6 and more says that they are."""


def write_question(shown: dict[str, list[Excerpt]], largest: float, max_tokens: int) -> Question:
    """Asks for an explanation from excerpts in named groups; `largest` is the value that counts as 10."""
    lines = []
    for about, excerpts in shown.items():
        lines += [f"{about}:", *(_with_values(one, largest) for one in excerpts), ""]
    return _question(WRITE, "\n".join(lines), WRITE_FORM, read_explanation, max_tokens)


def detect_question(explanation: str, excerpts: Sequence[Excerpt], max_tokens: int) -> Question:
    """Asks in which excerpts the latent fires; nothing is marked."""
    return _rating_question(DETECT, explanation, [plain(one) for one in excerpts], max_tokens)


def fuzz_question(explanation: str, marked: Sequence[str], max_tokens: int) -> Question:
    """Asks in which excerpts the right tokens are marked."""
    return _rating_question(FUZZ, explanation, marked, max_tokens)


def plain(excerpt: Excerpt) -> str:
    return _one_line("".join(excerpt.tokens))


def with_marks(excerpt: Excerpt, places: Sequence[int]) -> str:
    """The excerpt with the tokens at `places` in brackets."""
    at = set(places)
    parts = [_bracketed(token) if place in at else token for place, token in enumerate(excerpt.tokens)]
    return _one_line("".join(parts))


def firing_places(excerpt: Excerpt) -> list[int]:
    """The tokens that are marked as firing."""
    return [place for place, value in enumerate(excerpt.values) if value > MARKED * excerpt.peak]


def read_explanation(answer: str) -> str:
    """The sentence; ValueError where there is none."""
    text = _object_in(answer).get("explanation")
    if not isinstance(text, str) or not text.strip():
        raise ValueError('there is no "explanation" with a sentence in it')
    if len(text) > LONGEST_EXPLANATION:
        raise ValueError(f"the explanation has {len(text)} characters; one sentence is wanted")
    return _one_line(text)


def read_ratings(answer: str, count: int) -> list[float]:
    """One number from 0 to 10 for each excerpt; ValueError for anything else, so that no failure becomes a rating."""
    ratings = _object_in(answer).get("ratings")
    if not isinstance(ratings, list) or len(ratings) != count:
        found = f"{len(ratings)} of them" if isinstance(ratings, list) else "none"
        raise ValueError(f'"ratings" must be a list of {count} integers, there are {found}')
    for one in ratings:
        if isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one <= LARGEST_RATING:
            raise ValueError(f"{json.dumps(one)[:40]} is no integer from 0 to {LARGEST_RATING}")
    return [float(one) for one in ratings]


def _rating_question(task: str, explanation: str, texts: Sequence[str], max_tokens: int) -> Question:
    numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(texts, start=1))
    count = len(texts)
    form = f"""one JSON object: {{"ratings": [...]}} with {count} integers, one for each excerpt, in their order"""
    return _question(
        task, f"Description: {explanation}\n\n{numbered}", form, lambda answer: read_ratings(answer, count), max_tokens
    )


def _question(task: str, material: str, form: str, read: Any, max_tokens: int) -> Question:
    return Question((("system", f"{task}\nAnswer with {form}"), ("user", material)), read, form, max_tokens)


def _with_values(excerpt: Excerpt, largest: float) -> str:
    places = firing_places(excerpt)
    if not places:
        return f"- {plain(excerpt)}\n  (silent)"
    values = ", ".join(f"{excerpt.tokens[at].strip()} {10 * excerpt.values[at] / largest:.2g}" for at in places)
    return f"- {with_marks(excerpt, places)}\n  ({values})"


def _bracketed(token: str) -> str:
    """The token in brackets, its leading space before them."""
    word = token.strip()
    return f"{' ' if token[:1].isspace() else ''}<<{word}>>" if word else token


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _object_in(answer: str) -> dict[str, Any]:
    """The last JSON object in an answer, which may stand in a code fence or after some thinking."""
    decoder, found, at = json.JSONDecoder(), None, answer.find("{")
    while at >= 0:
        try:
            candidate, end = decoder.raw_decode(answer, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found = candidate
        at = answer.find("{", end)
    if found is None:
        raise ValueError("there is no whole JSON object in it")
    return found
