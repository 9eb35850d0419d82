"""A gallery of scenes (a sad user, a dangerous dose, a missing attachment, ...), each beside a twin in which the one fact that
matters is another: do the labels that a scene should wake read more in it than in its twin, and more than other labels do?
"""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from analysis.cases.doses import tables_of
from analysis.cases.kept import write_lines
from analysis.monitoring.reader import LevelReader
from analysis.monitoring.transcript import Document, chat_document, plain_document
from analysis.records import SceneRead, SceneTest
from analysis.study import Study
from saes.dictionary import Dictionary
from training.language_models.language_model import LanguageModel

FORMS = ("story", "chat")
FIELDS = ("kind", "name", "expected", "story", "story_twin", "chat", "chat_twin")
DRAWS = 4000


@dataclass(frozen=True)
class Scene:
    kind: str
    name: str
    expected: tuple[str, ...]
    """Concepts that it should wake, and its twin should not."""
    story: str
    story_twin: str
    chat: tuple[dict[str, str], ...]
    chat_twin: tuple[dict[str, str], ...]

    def documents(self, form: str, tokenizer: Any) -> tuple[Document, Document]:
        """The scene, and its twin."""
        if form == "story":
            return plain_document(self.story), plain_document(self.story_twin)
        return chat_document(self.chat, tokenizer), chat_document(self.chat_twin, tokenizer)


def load_scenes(path: str | Path | None = None) -> list[Scene]:
    """The bundled gallery, or a file of the same form. Raises ValueError naming what a scene lacks."""
    place = Path(str(path)) if path else Path(str(files("analysis.cases"))) / "scenes.toml"
    try:
        held = tomllib.loads(place.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{place} is not TOML: {error}") from error
    scenes = []
    for number, row in enumerate(tables_of(held, "scene", place), start=1):
        if missing := sorted(set(FIELDS) - row.keys()):
            raise ValueError(f"{place}: scene {number} lacks {', '.join(missing)}")
        fields: dict[str, Any] = {
            name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in FIELDS
        }
        scenes.append(Scene(**fields))
    if not scenes:
        raise ValueError(f"{place} holds no scene")
    return scenes


def named_documents(form: str, tokenizer: Any, scenes: Sequence[Scene] | None = None) -> Iterator[Document]:
    """Each scene and its twin as a text to be monitored, whose turns bear its name."""
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, got {form!r}")
    for scene in load_scenes() if scenes is None else scenes:
        for words, document in zip(("", ", twin"), scene.documents(form, tokenizer), strict=True):
            name = f"{scene.name.replace('_', ' ')}{words}"
            turns = tuple(
                replace(turn, speaker=name if form == "story" else f"{name}, {turn.speaker}") for turn in document.turns
            )
            yield replace(document, turns=turns)


def gallery(
    study: Study | str | Path, model: LanguageModel | str | Path | None = None, scenes: Sequence[Scene] | None = None,
    form: str = "story", seed: int = 0, progress: bool = True, *, dictionary: Dictionary | None = None, device: str = "auto",
) -> tuple[list[SceneRead], SceneTest]:  # fmt: skip
    """Writes `scenes` (a row a scene and held label that some scene expects), `scene_tests` and `scenes_transcripts.jsonl` (every
    text that was read, with its levels). ValueError where no such label held."""
    study = study if isinstance(study, Study) else Study.open(study)
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, got {form!r}")
    scenes = load_scenes() if scenes is None else list(scenes)
    wanted = {name for scene in scenes for name in scene.expected}
    names = [label.concept for label in study.labels() if label.is_held and label.concept in wanted]
    if not names:
        raise ValueError(
            f"no label of {study.folder} held of a concept that the scenes expect ({', '.join(sorted(wanted))})"
        )
    reader = LevelReader.of_study(study, names, model, dictionary, device)
    rows, lines = [], []
    for scene in tqdm(scenes, desc="scenes", unit="scene", disable=not progress):
        documents = scene.documents(form, reader.model.tokenizer)
        levels, twins = (mean_level(reader, one) for one in documents)
        lines += [
            {"kind": scene.kind, "scene": scene.name, "twin": bool(side), "expected": scene.expected, "text": document.text,
             "levels": dict(zip(names, (round(float(value), 6) for value in found), strict=True))}
            for side, (document, found) in enumerate(zip(documents, (levels, twins), strict=True))
        ]  # fmt: skip
        rows += [
            SceneRead(
                scene.kind, scene.name, form, name, name in scene.expected, float(levels[at]), float(twins[at]),
                float(levels[at] - twins[at]),
            )
            for at, name in enumerate(names)
        ]  # fmt: skip
    study.write("scenes", rows)
    rises = np.array([row.rise for row in rows]).reshape(len(scenes), len(names))
    expected = np.array([row.expected for row in rows]).reshape(rises.shape)
    test = gallery_test(rises, expected, form, seed)
    study.write("scene_tests", [test])
    write_lines(study.folder / "scenes_transcripts.jsonl", lines)
    return rows, test


def mean_level(reader: LevelReader, document: Document) -> np.ndarray:
    """Over all tokens that somebody says."""
    blocks = list(reader.blocks(document))
    levels = np.concatenate([block.levels[block.turns >= 0] for block in blocks])
    return levels.mean(axis=0)


def gallery_test(rises: np.ndarray, expected: np.ndarray, form: str = "story", seed: int = 0) -> SceneTest:
    """`[scene, label]` rises, and where they are expected."""
    spread = rises.std(axis=0)
    scaled = np.divide(rises, spread, out=np.zeros_like(rises), where=spread > 0)
    rng = np.random.default_rng(seed)
    found, low, high = _mean_where(scaled, expected, rng)
    others = _mean_where(scaled, ~expected, rng)
    drawn = (
        np.array([scaled[:, rng.permutation(rises.shape[1])][expected].mean() for _ in range(DRAWS)])
        if expected.any()
        else np.zeros(0)
    )
    p = float((1 + np.sum(drawn >= found - 1e-12)) / (1 + len(drawn)))
    return SceneTest(form, found, low, high, *others, p, int(expected.sum()), len(rises))


def _mean_where(values: np.ndarray, some: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """The mean of the pairs that are meant, with a bootstrap interval over scenes; NaN where there are none."""
    if not some.any():
        return (float("nan"),) * 3
    sums, counts = np.where(some, values, 0.0).sum(axis=1), some.sum(axis=1)
    drawn = rng.integers(len(values), size=(DRAWS, len(values)))
    totals = counts[drawn].sum(axis=1)
    means = sums[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values[some].mean()), float(low), float(high)
