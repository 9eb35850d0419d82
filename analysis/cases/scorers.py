"""Numbers of a written text: what a case measures. Each scorer is made from a mapping, as a case's file holds it.

{words: [great, lovely]}               how many of its words are among these, a hundred words
{regex: "(?i)i refuse"}                1 where it is found, else 0
{python: "my_module:score"}            a function of (prompt, text) -> number, found on the Python path
{llm: http://host/v1/NAME, question: "How harsh is this answer?"}   a rating from 0 to 10 by a language model
"""

import importlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Scorer = Callable[[Sequence[str], Sequence[str]], list[float]]
"""(prompts, texts) -> a number a text; NaN where there is none."""
KINDS = ("words", "regex", "python", "llm")
ASKED = (
    "You rate texts. Answer with one whole number from 0 to 10 and nothing else.",
    "{question}\n\nThe text answers this:\n{prompt}\n\nThe text:\n{text}\n\nYour number from 0 to 10:",
)
RATING = re.compile(r"^\s*(10|[0-9])(?:\s*/\s*10)?\s*\.?\s*$")


def scorer_of(field: str, held: Any, device: str = "auto") -> Scorer:
    """The scorer that a field of a case's file describes. Raises ValueError that names the field and what would do."""
    kinds = [kind for kind in KINDS if isinstance(held, Mapping) and kind in held]
    if len(kinds) != 1:
        raise ValueError(f"{field}: a scorer is one of {', '.join(KINDS)}, as in {{words: [great, lovely]}}")
    kind, value = kinds[0], held[kinds[0]]
    more = sorted(set(held) - {kind} - ({"question"} if kind == "llm" else set()))
    if more:
        raise ValueError(f"{field}: a scorer by {kind} has no field {more[0]!r}")
    match kind:
        case "words":
            return _words(field, value)
        case "regex":
            return _regex(field, value)
        case "python":
            return _python(field, value)
    return _llm(field, value, held.get("question"), device)


def _words(field: str, value: Any) -> Scorer:
    if not isinstance(value, list) or not value or not all(isinstance(word, str) and word.strip() for word in value):
        raise ValueError(f"{field}.words must be a list of words, got {value!r}")
    wanted = {word.lower() for word in value}

    def score(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        found = []
        for text in texts:
            said = re.findall(r"[\w']+", text.lower())
            found.append(100.0 * sum(word in wanted for word in said) / len(said) if said else float("nan"))
        return found

    return score


def _regex(field: str, value: Any) -> Scorer:
    try:
        pattern = re.compile(value)
    except (re.error, TypeError) as error:
        raise ValueError(f"{field}.regex: {value!r} is no regular expression ({error})") from error
    return lambda prompts, texts: [float(pattern.search(text) is not None) for text in texts]


def _python(field: str, value: Any) -> Scorer:
    module, colon, name = str(value).partition(":")
    if not colon or not module or not name:
        raise ValueError(f"{field}.python is 'module:function', got {value!r}")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{field}.python: {value} cannot be found ({error})") from error

    def score(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        found = []
        for prompt, text in zip(prompts, texts, strict=True):
            try:
                found.append(float(function(prompt, text)))
            except Exception as error:  # a user's own code may raise anything
                raise ValueError(f"{field}.python: {value} gave no number for {text[:40]!r} ({error})") from error
        return found

    return score


def _llm(field: str, value: Any, question: Any, device: str) -> Scorer:
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"{field}: a scorer by llm needs a question")
    from analysis.explaining.opening import open_llm

    llm = open_llm(str(value), device=device)

    def score(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
        system, user = ASKED
        found = []
        for prompt, text in zip(prompts, texts, strict=True):
            asked = user.format(question=question, prompt=prompt, text=text)
            found.append(rating(llm.ask((("system", system), ("user", asked)), 8)))
        return found

    return score


def rating(answer: str) -> float:
    """The number that was asked for; NaN for any other answer."""
    found = RATING.match(answer)
    return float(found[1]) if found else math.nan
