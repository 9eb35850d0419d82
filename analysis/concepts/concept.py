"""Concepts and their texts: data files, read and checked.

A concept set is a folder with one `NAME.jsonl` a concept (its first line the head, then a text a line), `neutral.jsonl`,
`ratings.tsv` (human valence and arousal, with their source) and `sealed/NAME.jsonl`. The sealed texts are read only when
asked for; a release opens them once. A list of names in `SUBSET.txt` makes a smaller set of the same files. In file names
a space is written as an underscore.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from analysis.concepts.column_map import NEUTRAL, bundled_maps, is_map

SPLITS = ("finding", "checking", "implicit", "contrast", "prompt", "judge")
"""What texts are for: choosing a label; checking it; checking it where the situation alone tells; seeing whether it is the
word that counts; openings to clamp at; training a judge that shares no text with any label."""
LEAST = {"finding": 10, "checking": 10, "implicit": 5, "contrast": 3, "judge": 16, "sealed": 4}
"""How many texts a concept of the bundled set has at least."""
EMOTIONS = "emotions"
CHARACTER = "character"
"""Twelve traits of character in six opposed pairs: the second bundled set."""
DETAILS = ("topic", "person", "form", "setting", "kind")
KINDS = ("negated", "quoted", "other")
"""How a contrast text holds the concept's word: the person is not so, the word is only mentioned, somebody else is so."""


@dataclass(frozen=True)
class Text:
    text: str
    topic: str
    person: str = ""
    """"first" or "third": who has the emotion."""
    form: str = ""
    """"story", "dialogue", "diary", "letter", ..."""
    setting: str = ""
    """Where or what it is about, one of a few settings that all concepts share: "kitchen", "sea", "law"."""
    kind: str = ""
    """Of a contrast text, one of `KINDS`."""
    style: str = ""
    """Whose hand it is, where a set has several: texts are compared with texts of the same style only. Said in the head of
    a concept, for all of its texts, and in each neutral text."""


@dataclass(frozen=True)
class Concept:
    name: str
    family: str
    definition: str
    names: tuple[str, ...]
    """Beginnings of words that name the concept ("afraid", "fright", "scare"): what the lexical share looks for."""
    readout_words: tuple[str, ...]
    """Words whose probability says how much of the concept a continuation shows; they stand in none of its texts."""
    texts: dict[str, tuple[Text, ...]]
    """By split."""
    valence: float | None = None
    arousal: float | None = None
    """Human ratings from 1 to 9; None is unrated."""

    def of(self, split: str) -> tuple[Text, ...]:
        return self.texts.get(split, ())


@dataclass(frozen=True)
class ConceptSet:
    name: str
    concepts: dict[str, Concept]
    neutral: dict[str, tuple[Text, ...]]
    """Texts that carry no concept, by split ("finding", "checking", "sealed"), and "prompt": openings shared by all."""
    hash: str
    ratings_source: str = ""
    opened_sealed: bool = False
    families: dict[str, list[str]] = field(default_factory=dict)

    def family_of(self, name: str) -> list[str]:
        """The concept and its siblings."""
        return self.families[self.concepts[name].family]


def bundled() -> Path:
    """The folder of the emotions that come with the toolkit."""
    return Path(str(files("analysis.concepts"))) / EMOTIONS


def bundled_names() -> list[str]:
    """The concept sets that come with the toolkit: the whole one, and its subsets."""
    return [EMOTIONS, *sorted(path.stem for path in bundled().glob("*.txt")), CHARACTER]


def load_concepts(source: str | Path = EMOTIONS, open_sealed: bool = False, strict: bool | None = None) -> ConceptSet:
    """Reads and checks a concept set: a bundled name ("emotions", or the smaller "core"), a folder, FOLDER:SUBSET, or the
    column map of a labelled data set (see `labelled_set.py`).

    `strict` (default: for the bundled sets) asks for the full number of texts in each split. Raises ValueError naming the
    file and line of whatever is wrong.
    """
    if is_map(source):
        from analysis.concepts.labelled_set import labelled_set

        return labelled_set(source, open_sealed)
    folder, subset = _found(source)
    strict = folder.parent == bundled().parent if strict is None else strict
    paths = _paths(folder, subset)
    ratings, source_line = ratings_in(folder / "ratings.tsv")
    seen: dict[str, str] = {}
    concepts = {_named(path): _concept(path, ratings, seen, open_sealed, strict) for path in paths}
    neutral_path = folder / f"{NEUTRAL}.jsonl"
    if not neutral_path.exists():
        raise ValueError(f"{folder} has no {NEUTRAL}.jsonl: texts without any concept are needed to compare with")
    neutral = _texts(_lines(neutral_path), neutral_path, seen)
    sealed_neutral = folder / "sealed" / neutral_path.name
    if open_sealed and sealed_neutral.exists():
        neutral |= _texts(_lines(sealed_neutral), sealed_neutral, seen)
    for split in ("finding", "checking", "prompt"):
        if not neutral.get(split):
            raise ValueError(f"{neutral_path} has no {split} texts")
    families: dict[str, list[str]] = {}
    for concept in concepts.values():
        families.setdefault(concept.family, []).append(concept.name)
    name = subset or folder.name
    return ConceptSet(name, concepts, neutral, _hash([*paths, neutral_path]), source_line, open_sealed, families)


class Head(NamedTuple):
    """What a concept's file says before its texts, and the concept's human ratings."""

    family: str
    definition: str
    valence: float | None
    arousal: float | None


def concept_heads(source: str | Path) -> tuple[dict[str, Head], str]:
    """The head of each concept of a set, and the set's hash, in a tenth of the time that reading and checking the texts
    takes. Raises as `load_concepts` does for a set that is not there."""
    if is_map(source):
        found = load_concepts(source, strict=False)
        heads = {
            one.name: Head(one.family, one.definition, one.valence, one.arousal) for one in found.concepts.values()
        }
        return heads, found.hash
    folder, subset = _found(source)
    paths = _paths(folder, subset)
    ratings = ratings_in(folder / "ratings.tsv")[0]
    heads = {}
    for path in paths:
        with path.open(encoding="utf-8") as file:
            head = json.loads(file.readline())
        if not isinstance(head, dict) or not {"family", "definition"} <= set(head):
            raise ValueError(f"{path}:1: the head lacks a family or a definition")
        heads[_named(path)] = Head(head["family"], head["definition"], *ratings.get(_named(path), (None, None)))
    return heads, _hash([*paths, folder / f"{NEUTRAL}.jsonl"])


def _paths(folder: Path, subset: str) -> list[Path]:
    """The files of a set's concepts, in order."""
    paths = sorted(path for path in folder.glob("*.jsonl") if path.stem != NEUTRAL)
    if subset:
        wanted = _names_in(folder / f"{subset}.txt", {path.stem for path in paths})
        paths = [path for path in paths if path.stem in wanted]
    if not paths:
        raise ValueError(f"{folder} holds no concepts: it needs one NAME.jsonl for each")
    return paths


def _hash(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _found(source: str | Path) -> tuple[Path, str]:
    """The folder of a concept set, and the name of the subset that is meant ("" for all of it)."""
    name = str(source)
    if name == CHARACTER:
        return bundled().with_name(CHARACTER), ""
    if name in bundled_names():
        return bundled(), "" if name == EMOTIONS else name
    if Path(source).is_dir():
        return Path(source), ""
    place, colon, subset = name.rpartition(":")
    if colon and Path(place).is_dir():
        if not (Path(place) / f"{subset}.txt").is_file():
            raise FileNotFoundError(f"{place} has no subset {subset!r}: {subset}.txt, a name a line, would be one")
        return Path(place), subset
    raise FileNotFoundError(
        f"no concept set {name!r}: give a folder, a column map (.yaml), or one that is bundled: "
        f"{', '.join([*bundled_names(), *bundled_maps()])}"
    )


def _names_in(path: Path, known: set[str]) -> set[str]:
    names = {line.strip().replace(" ", "_") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}
    if unknown := sorted(names - known):
        raise ValueError(f"{path} names concepts that {path.parent} does not hold: {', '.join(unknown)}")
    return names


def bundled_head(name: str) -> dict[str, Any]:
    """What the bundled set says of a concept beside its texts; empty for one that it does not hold."""
    path = bundled() / f"{name.replace(' ', '_')}.jsonl"
    return _lines(path)[0][1] if path.is_file() and name != NEUTRAL else {}


def bundled_openings() -> tuple[Text, ...]:
    """The openings to clamp at that all concepts of the bundled set share."""
    path = bundled() / f"{NEUTRAL}.jsonl"
    return _texts(_lines(path), path, {})["prompt"]


def ratings_of(source: str | Path) -> dict[str, tuple[float | None, float | None]]:
    """concept -> (valence, arousal) of a concept set; a labelled data set has those of the bundled one."""
    folder = bundled() if is_map(source) else _found(source)[0]
    return ratings_in(folder / "ratings.tsv")[0]


def _named(path: Path) -> str:
    return path.stem.replace("_", " ")


def _concept(path: Path, ratings: dict, seen: dict[str, str], open_sealed: bool, strict: bool) -> Concept:
    lines = _lines(path)
    head = lines[0][1] if lines else {}
    for key in ("concept", "family", "definition", "readout_words"):
        if not head.get(key):
            raise ValueError(f"{path}:1: the head lacks {key!r}")
    name = _named(path)
    if head["concept"] != name:
        raise ValueError(f"{path}:1: the head says {head['concept']!r}, by the file's name it would be {name!r}")
    style = head.get("style", "")
    texts = _texts(lines[1:], path, seen, style)
    sealed = path.parent / "sealed" / path.name
    if open_sealed and sealed.exists():
        texts.update(_texts(_lines(sealed), sealed, seen, style))
    if strict:
        for split, least in LEAST.items():
            if (split != "sealed" or open_sealed) and len(texts.get(split, ())) < least:
                raise ValueError(f"{path}: {len(texts.get(split, ()))} {split} texts, at least {least} are needed")
    for split in ("finding", "checking"):
        if len(texts.get(split, ())) < 2:
            raise ValueError(f"{path}: at least 2 {split} texts are needed")
    words = [word.lower() for word in head["readout_words"]]
    own = {word for split, some in texts.items() if split != "judge" for text in some for word in words_of(text.text)}
    if clash := sorted(set(words) & own):
        raise ValueError(f"{path}:1: readout words stand in the concept's own texts: {', '.join(clash)}")
    valence, arousal = ratings.get(name, (None, None))
    names = tuple(head.get("names") or (name,))
    return Concept(name, head["family"], head["definition"], names, tuple(words), texts, valence, arousal)


def _texts(
    lines: list[tuple[int, dict]], path: Path, seen: dict[str, str], style: str = ""
) -> dict[str, tuple[Text, ...]]:
    texts: dict[str, list[Text]] = {}
    for number, line in lines:
        where = f"{path}:{number}"
        if "split" not in line or not str(line.get("text", "")).strip():
            raise ValueError(f"{where}: a line needs a split and a text")
        if line["split"] not in (*SPLITS, "sealed"):
            raise ValueError(f"{where}: unknown split {line['split']!r}: one of {', '.join((*SPLITS, 'sealed'))}")
        if line.get("kind", "") not in ("", *KINDS):
            raise ValueError(f"{where}: unknown kind {line['kind']!r}: one of {', '.join(KINDS)}")
        for shingle in shingles(line["text"]):
            if seen.setdefault(shingle, where) != where:
                raise ValueError(f"{where}: nearly the same as {seen[shingle]} (both say {shingle!r})")
        texts.setdefault(line["split"], []).append(
            Text(line["text"], style=style or line.get("style", ""), **{name: line.get(name, "") for name in DETAILS})
        )
    return {split: tuple(found) for split, found in texts.items()}


def _lines(path: Path) -> list[tuple[int, dict]]:
    """The objects of a jsonl file, each with the number of its line."""
    lines = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not raw.strip():
            continue
        try:
            line = json.loads(raw)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error.msg})") from error
        if not isinstance(line, dict):
            raise ValueError(f"{path}:{number}: a line must be a JSON object")
        lines.append((number, line))
    return lines


def ratings_in(path: Path) -> tuple[dict[str, tuple[float | None, float | None]], str]:
    """concept -> (valence, arousal), and where they come from (the first line, a comment)."""
    if not path.exists():
        return {}, ""
    source, *rows = path.read_text().splitlines()
    ratings = {}
    for row in rows[1:]:
        name, valence, arousal = row.split("\t")[:3]
        ratings[name] = (float(valence) if valence else None, float(arousal) if arousal else None)
    return ratings, source.removeprefix("#").strip()


def masked(text: str, names: Sequence[str], mask: str = "so") -> str:
    """The text with every word that begins with one of `names` (and every phrase that is one) replaced."""
    pattern = "|".join(
        re.escape(name) + (r"\b" if " " in name else r"[\w-]*") for name in sorted(names, key=len, reverse=True)
    )
    return re.sub(rf"\b(?:{pattern})", mask, text, flags=re.IGNORECASE)


def words_of(text: str) -> list[str]:
    return "".join(letter.lower() if letter.isalnum() else " " for letter in text).split()


def shingles(text: str, length: int = 10) -> list[str]:
    """Runs of ten words: two texts that share one are nearly the same."""
    words = words_of(text)
    if len(words) <= length:
        return [" ".join(words)]
    return [" ".join(words[start : start + length]) for start in range(len(words) - length + 1)]
