"""Concepts and their texts: data files, read and checked.

A concept set is a folder with one `NAME.jsonl` a concept (its first line the head, then a text a line), `neutral.jsonl`,
`ratings.tsv` (human valence and arousal, with their source) and `sealed/NAME.jsonl`. The sealed texts are read only when
asked for; a release opens them once.
"""

import hashlib
import json
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

SPLITS = ("finding", "checking", "implicit", "contrast", "prompt", "judge")
LEAST = {"finding": 16, "checking": 12, "implicit": 8, "contrast": 4, "prompt": 6, "sealed": 6}
"""How many texts a concept of the bundled set has at least."""
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Text:
    text: str
    topic: str
    person: str = ""
    form: str = ""


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


def bundled(name: str = "emotions") -> Path:
    """The folder of a concept set that comes with the toolkit."""
    return Path(str(files("analysis.concepts"))) / name


def load_concepts(source: str | Path = "emotions", open_sealed: bool = False, strict: bool | None = None) -> ConceptSet:
    """Reads and checks a concept set: a bundled name or a folder.

    `strict` (default: for the bundled set) asks for the full number of texts in each split. Raises ValueError naming the
    file and line of whatever is wrong.
    """
    folder = bundled(str(source)) if bundled(str(source)).is_dir() else Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(f"no concept set {source!r}: give a folder, or one that is bundled: emotions")
    strict = folder == bundled() if strict is None else strict
    paths = sorted(path for path in folder.glob("*.jsonl") if path.stem != NEUTRAL)
    if not paths:
        raise ValueError(f"{folder} holds no concepts: it needs one NAME.jsonl for each")
    ratings, source_line = _ratings(folder / "ratings.tsv")
    seen: dict[str, str] = {}
    concepts = {path.stem: _concept(path, ratings, seen, open_sealed, strict) for path in paths}
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
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.jsonl")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return ConceptSet(folder.name, concepts, neutral, digest.hexdigest()[:16], source_line, open_sealed, families)


def _concept(path: Path, ratings: dict, seen: dict[str, str], open_sealed: bool, strict: bool) -> Concept:
    lines = _lines(path)
    head = lines[0][1] if lines else {}
    for key in ("concept", "family", "definition", "readout_words"):
        if not head.get(key):
            raise ValueError(f"{path}:1: the head lacks {key!r}")
    if head["concept"] != path.stem:
        raise ValueError(f"{path}:1: the head says {head['concept']!r}, the file is called {path.stem!r}")
    texts = _texts(lines[1:], path, seen)
    sealed = path.parent / "sealed" / path.name
    if open_sealed and sealed.exists():
        texts.update(_texts(_lines(sealed), sealed, seen))
    if strict:
        for split, least in LEAST.items():
            if (split != "sealed" or open_sealed) and len(texts.get(split, ())) < least:
                raise ValueError(f"{path}: {len(texts.get(split, ()))} {split} texts, at least {least} are needed")
    for split in ("finding", "checking"):
        if len(texts.get(split, ())) < 2:
            raise ValueError(f"{path}: at least 2 {split} texts are needed")
    words = [word.lower() for word in head["readout_words"]]
    own = {word for split in texts.values() for text in split for word in _words(text.text)}
    if clash := sorted(set(words) & own):
        raise ValueError(f"{path}:1: readout words stand in the concept's own texts: {', '.join(clash)}")
    valence, arousal = ratings.get(path.stem, (None, None))
    names = tuple(head.get("names") or (path.stem,))
    return Concept(path.stem, head["family"], head["definition"], names, tuple(words), texts, valence, arousal)


def _texts(lines: list[tuple[int, dict]], path: Path, seen: dict[str, str]) -> dict[str, tuple[Text, ...]]:
    texts: dict[str, list[Text]] = {}
    for number, line in lines:
        where = f"{path}:{number}"
        if "split" not in line or not str(line.get("text", "")).strip():
            raise ValueError(f"{where}: a line needs a split and a text")
        if line["split"] not in (*SPLITS, "sealed"):
            raise ValueError(f"{where}: unknown split {line['split']!r}: one of {', '.join((*SPLITS, 'sealed'))}")
        for shingle in _shingles(line["text"]):
            if seen.setdefault(shingle, where) != where:
                raise ValueError(f"{where}: nearly the same as {seen[shingle]} (both say {shingle!r})")
        texts.setdefault(line["split"], []).append(
            Text(line["text"], line.get("topic", ""), line.get("person", ""), line.get("form", ""))
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


def _ratings(path: Path) -> tuple[dict[str, tuple[float | None, float | None]], str]:
    """concept -> (valence, arousal), and where they come from (the first line, a comment)."""
    if not path.exists():
        return {}, ""
    source, *rows = path.read_text().splitlines()
    ratings = {}
    for row in rows[1:]:
        name, valence, arousal = row.split("\t")[:3]
        ratings[name] = (float(valence) if valence else None, float(arousal) if arousal else None)
    return ratings, source.removeprefix("#").strip()


def _words(text: str) -> list[str]:
    return "".join(letter.lower() if letter.isalnum() else " " for letter in text).split()


def _shingles(text: str, length: int = 10) -> list[str]:
    """Runs of ten words: two texts that share one are nearly the same."""
    words = _words(text)
    if len(words) <= length:
        return [" ".join(words)]
    return [" ".join(words[start : start + length]) for start in range(len(words) - length + 1)]
