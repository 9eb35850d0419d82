"""Does a feature follow the danger, or the number? Prompts in which one number is turned up step by step.

Each family has a control in which the same number is harmless. A label's trend in a family is Spearman's correlation of the
number with its mean level from the number on; what counts is the trend in the family minus that in its control, signed by
what the family says should rise or fall. Beside the labels stand random groups of latents that fire as often: the share
of them that follows as much is the null.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from analysis.cases.arms import random_labels
from analysis.cases.kept import Kept
from analysis.intervals import control_span
from analysis.monitoring.reader import LevelReader
from analysis.monitoring.transcript import Document, chat_document, plain_document
from analysis.opening import open_subject
from analysis.records import DoseTest, DoseTrend, Label
from analysis.study import Study
from saes.dictionary import Dictionary
from saes.nearest import did_you_mean
from training.language_models.language_model import LanguageModel

FORMS = ("story", "chat")
CONTROLS = 60
"""Random groups, which copy the labels in turn."""
DRAWS = 4000
FIELDS = ("name", "control", "role", "values", "story", "chat", "rises", "falls", "why")


@dataclass(frozen=True)
class DoseFamily:
    name: str
    control: str
    """The family in which the same number is harmless; "" in a control."""
    role: str
    """"danger" or "control"."""
    values: tuple[float, ...]
    story: str
    chat: str
    rises: tuple[str, ...]
    """Concepts whose level should rise with the number; `falls`: should fall."""
    falls: tuple[str, ...]
    why: str

    def sign(self, concept: str) -> int:
        return (concept in self.rises) - (concept in self.falls)

    def document(self, value: float, form: str, tokenizer: object) -> tuple[Document, int]:
        """The text with that number, and where the number ends in it."""
        template = getattr(self, form).strip()  # as a chat's template has it
        before, _, after = template.partition("{n}")
        number = f"{value:g}" if value < 1e6 else f"{int(value)}"
        text = before + number + after
        document = (
            plain_document(text) if form == "story" else chat_document([{"role": "user", "content": text}], tokenizer)
        )
        start = document.turns[0].start
        return document, start + len(before) + len(number)


def tables_of(held: Mapping[str, Any], name: str, place: Path) -> list[dict[str, Any]]:
    """What stands under each [[name]] of a TOML file; ValueError where `name` is something else."""
    found = held.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{place}: {name} must be written as [[{name}]], once for each")
    return found


def load_families(path: str | Path | None = None) -> dict[str, DoseFamily]:
    """The bundled families, or those of a file of the same form, by name. Raises ValueError naming what is wrong."""
    place = Path(str(path)) if path else Path(str(files("analysis.cases"))) / "doses.toml"
    try:
        held = tomllib.loads(place.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{place} is not TOML: {error}") from error
    found = {}
    for number, row in enumerate(tables_of(held, "family", place), start=1):
        name = row.get("name", f"family {number}")
        if missing := sorted(set(FIELDS) - row.keys()):
            raise ValueError(f"{place}: {name} lacks {', '.join(missing)}")
        if more := sorted(row.keys() - set(FIELDS)):
            raise ValueError(f"{place}: {name}: there is no field {more[0]!r}{did_you_mean(more[0], FIELDS)}")
        fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        family = DoseFamily(**fields)
        for form in FORMS:
            if not isinstance(getattr(family, form), str) or getattr(family, form).count("{n}") != 1:
                raise ValueError(f"{place}: {name}: {form} must hold {{n}} once")
        numbers = isinstance(family.values, tuple) and all(type(one) in (int, float) for one in family.values)
        if not numbers or len(family.values) < 4 or list(family.values) != sorted(set(family.values)):
            raise ValueError(f"{place}: {name}: values must be at least 4 numbers that ascend")
        if name in found:
            raise ValueError(f"{place}: there are two families {name}")
        found[name] = family
    for family in found.values():
        if family.role == "danger" and (family.control not in found or found[family.control].values != family.values):
            raise ValueError(
                f"{place}: {family.name} needs a control family with the same values, got {family.control!r}"
            )
    if not any(family.role == "danger" for family in found.values()):
        raise ValueError(f"{place} holds no family of role danger")
    return found


def dose_case(
    study: Study | str | Path, model: LanguageModel | str | Path | None = None, families: Mapping[str, DoseFamily] | None = None,
    concepts: Sequence[str] | None = None, form: str = "story", controls: int = CONTROLS, seed: int = 0, progress: bool = True,
    *, dictionary: Dictionary | None = None, device: str = "auto",
) -> Study:  # fmt: skip
    """Reads every family at every value; writes the tables `dose_trends` (a row a family and concept) and `dose_tests`.

    What was read, with its levels, is left in `dose_transcripts.jsonl`, after which a run that was stopped goes on. Concepts:
    those that are named, or all held labels that some family expects to move. Raises ValueError where none is.
    """
    study = study if isinstance(study, Study) else Study.open(study)
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, got {form!r}")
    families = load_families() if families is None else families
    dangers = [family for family in families.values() if family.role == "danger"]
    expected = {name for family in dangers for name in (*family.rises, *family.falls)}
    labels = _labels(study, concepts, expected)
    model, dictionary, hook_name = open_subject(study, model, dictionary, device)
    nulls = random_labels(labels, study, model, dictionary, hook_name, controls, seed)
    everyone = [*labels, *nulls]
    reader = LevelReader(model, dictionary, hook_name, everyone)
    settings = {
        "model": model.name, "sae_hash": study.info.sae_hash, "form": form,
        "families": [asdict(family) for family in families.values()],
        "labels": [[label.concept, label.latents, label.scales] for label in everyone],
    }  # fmt: skip
    means: dict[str, Float[np.ndarray, "value label"]] = {}
    with (
        Kept(
            study.folder / "dose_transcripts.jsonl", settings, lambda piece: (piece["family"], piece["value"])
        ) as kept,
        tqdm(families.values(), desc="doses", unit="family", disable=not progress) as bar,
    ):
        for family in bar:
            pieces = []
            for value in family.values:
                if (family.name, value) not in kept:
                    document, end = family.document(value, form, model.tokenizer)
                    found = [round(float(level), 6) for level in after_number(reader, document, end)]
                    levels = dict(zip((label.concept for label in labels), found, strict=False))
                    pieces.append({
                        "family": family.name, "role": family.role, "value": value, "text": document.text, "levels": levels,
                        "controls": found[len(labels) :],
                    })  # fmt: skip
            kept.add(pieces)
            of_family = [kept[family.name, value] for value in family.values]
            means[family.name] = np.array([[*one["levels"].values(), *one["controls"]] for one in of_family])
    trends = {name: trends_of(families[name].values, levels) for name, levels in means.items()}
    rows, tests = [], []
    contrasts = np.stack([trends[family.name] - trends[family.control] for family in dangers])
    for column, label in enumerate(labels):
        signs = np.array([family.sign(label.concept) for family in dangers])
        for place, family in enumerate(dangers):
            rows.append(
                DoseTrend(
                    family.name, label.concept, form, int(signs[place]), float(trends[family.name][column]),
                    float(trends[family.control][column]), list(map(float, family.values)),
                    [float(level) for level in means[family.name][:, column]],
                    [float(level) for level in means[family.control][:, column]],
                )
            )  # fmt: skip
        if np.any(signs):
            like = [len(labels) + place for place in range(len(nulls))]
            tests.append(followed(label.concept, form, signs, contrasts[:, column], contrasts[:, like], seed))
    study.write("dose_trends", rows)
    study.write("dose_tests", with_q(tests))
    return study


def after_number(reader: LevelReader, document: Document, end: int) -> Float[np.ndarray, " label"]:
    """The mean level over the tokens that begin at the number's end or later; a chat's template marks among them."""
    parts = [block.levels[block.places[:, 0] >= end] for block in reader.blocks(document)]
    found = np.concatenate(parts)
    if not len(found):
        raise ValueError(f"no token follows the number in {document.text[:60]!r}")
    return found.mean(axis=0)


def trends_of(values: Sequence[float], levels: Float[np.ndarray, "value label"]) -> Float[np.ndarray, " label"]:
    """Spearman's correlation of value and level; 0 where the level never changes."""
    from scipy.stats import rankdata

    ranks = rankdata(levels, axis=0)
    ranks -= ranks.mean(axis=0)
    order = np.arange(len(values), dtype=float)
    order -= order.mean()
    size = np.sqrt((order @ order) * (ranks**2).sum(axis=0))
    return np.divide(order @ ranks, size, out=np.zeros(levels.shape[1]), where=size > 1e-12)


def followed(
    concept: str, form: str, signs: np.ndarray, contrast: Float[np.ndarray, " family"],
    null: Float[np.ndarray, "family control"], seed: int = 0,
) -> DoseTest:  # fmt: skip
    """The mean signed contrast over the families that expect something of the concept, with its interval and its nulls.

    p: families' contrasts with signs flipped at random, one-sided (a label whose trends mean nothing flips as easily). The
    share of controls is of random groups whose mean signed contrast over the same families is as large.
    """
    some = signs != 0
    mine = signs[some] * contrast[some]
    rng = np.random.default_rng(seed)
    drawn = mine[rng.integers(len(mine), size=(DRAWS, len(mine)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(mine) > 1 else (np.nan, np.nan)
    flipped = (rng.choice([-1.0, 1.0], size=(DRAWS, len(mine))) * mine).mean(axis=1)
    theirs = (signs[some, None] * null[some]).mean(axis=0)
    return DoseTest(
        concept, form, float(mine.mean()), float(low), float(high), float((1 + np.sum(flipped >= mine.mean() - 1e-12)) / (1 + DRAWS)),
        1.0, float(np.mean(theirs >= mine.mean())) if len(theirs) else float("nan"), len(theirs), int(some.sum()),
        *control_span(theirs),
    )  # fmt: skip


def with_q(tests: Sequence[DoseTest]) -> list[DoseTest]:
    from dataclasses import replace

    from analysis.labelling.scores import benjamini_hochberg

    if not tests:
        return []
    q = benjamini_hochberg(np.array([one.p for one in tests]))
    return [replace(one, q=float(value)) for one, value in zip(tests, q, strict=True)]


def _labels(study: Study, concepts: Sequence[str] | None, expected: set[str]) -> list[Label]:
    if concepts:
        return [study.label(concept) for concept in concepts]
    labels = [label for label in study.labels() if label.is_held and label.concept in expected]
    if not labels:
        raise ValueError(f"no label of {study.folder} held of a concept that the families expect to move: name some")
    return labels
