"""What the first page shows: the study and its SAE, the map of emotions, what held, and what was rejected and why."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from analysis.browser.queries.concept_facts import concept_facts
from analysis.browser.queries.feature_index import STATUSES, feature_index
from analysis.browser.queries.store import DamagedTable, Store
from analysis.records import CLAIMS, CONTROLS, Label
from analysis.report.reasons import STATUS_ABOUT, rejections

EXAMPLES = 3
MOST_BYTES = 1_000_000
"""Of a file beside the SAE that is read."""


@dataclass(frozen=True)
class Fact:
    name: str
    value: str


@dataclass(frozen=True)
class Figure:
    """A number to begin with, as it is shown, and what it is of."""

    value: str
    about: str


@dataclass(frozen=True)
class Mark:
    """A chosen label on the map."""

    concept: str
    family: str
    latents: list[int]
    valence: float
    arousal: float
    """Of its concept, from 1 to 9 by human ratings."""
    status: str
    auroc: float
    """On checking texts, with its 95 % interval."""
    auroc_low: float
    auroc_high: float
    n_texts: int
    effect: float | None
    """Of clamping it, by the judge; None where it was not clamped."""
    effect_low: float | None
    effect_high: float | None
    n_prompts: int | None


@dataclass(frozen=True)
class StatusCount:
    status: str
    n: int
    about: str


@dataclass(frozen=True)
class Rejected:
    """One reason for which labels were rejected; a label may have several."""

    reason: str
    n: int
    concepts: list[str]
    examples: list[str]
    """Of the first of them, with their numbers."""


@dataclass(frozen=True)
class Overview:
    model: str
    figures: list[Figure]
    facts: list[Fact]
    marks: list[Mark]
    unrated: list[str]
    """Concepts with a label but without human ratings, which have no place on the map."""
    statuses: list[StatusCount]
    rejected: list[Rejected]
    rules: str
    """What a label had to pass."""
    n_cards: int
    n_labels: int
    n_clamps: int
    """Labels that were clamped."""
    damaged: list[str]
    """A sentence for each table that cannot be read."""


def overview(store: Store) -> Overview:
    """The first page. What a damaged table would say is left out, and the table named."""
    damaged: list[str] = []

    def tried(ask: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return ask()
        except DamagedTable as error:
            if str(error) not in damaged:
                damaged.append(str(error))
            return otherwise

    for table in store.names:
        tried(partial(store.rows, f'SELECT 1 FROM "{table}" LIMIT 0'), [])
    info = store.info
    rules = info.settings.get("rules") or {}
    labels = tried(lambda: store.rows(_labels(clamped=True)), None)
    if labels is None:  # where the clamps are damaged, the labels may still be whole
        labels = tried(lambda: store.rows(_labels(clamped=False)), [])
    clamps = tried(lambda: store.rows("SELECT concept, arm, status FROM clamps"), [])
    facts = tried(lambda: concept_facts(store), {})
    n_cards = tried(lambda: len(feature_index(store).latents), 0)
    marks, unrated = [], []
    for row in labels:
        about = facts.get(row["concept"])
        if about is None or about.valence is None or about.arousal is None:
            unrated.append(row["concept"])
            continue
        shown = {name: row[name] for name in Mark.__dataclass_fields__ if name in row}
        marks.append(Mark(**shown, family=about.family, valence=about.valence, arousal=about.arousal))
    rejected = tried(lambda: store.records("labels", "chosen AND status = 'rejected' ORDER BY concept"), [])
    counted = Counter(row["status"] for row in labels)
    return Overview(
        model=info.model,
        figures=_figures(labels, clamps),
        facts=_facts(store),
        marks=marks,
        unrated=sorted(unrated),
        statuses=[StatusCount(name, counted[name], STATUS_ABOUT[name]) for name in STATUSES if counted[name]],
        rejected=_rejected(rejected, rules),
        rules=_rules(rules),
        n_cards=n_cards,
        n_labels=len(labels),
        n_clamps=sum(row["arm"] == "label" for row in clamps),
        damaged=damaged,
    )


def _labels(clamped: bool) -> str:
    """Each chosen label, with what clamping it did."""
    names = ("effect", "effect_low", "effect_high", "n_prompts")
    given = ("clamps.judge", "clamps.judge_low", "clamps.judge_high", "clamps.n_prompts") if clamped else ["NULL"] * 4
    return f"""
        SELECT one.concept, one.latents, one.status, one.auroc_checking AS auroc, one.auroc_checking_low AS auroc_low,
            one.auroc_checking_high AS auroc_high, one.n_positive + one.n_negative AS n_texts,
            one.auroc_implicit AS implicit, {", ".join(f"{value} AS {name}" for name, value in zip(names, given, strict=True))}
        FROM labels AS one
        {"LEFT JOIN clamps ON clamps.concept = one.concept AND clamps.arm = 'label'" if clamped else ""}
        WHERE one.chosen ORDER BY one.concept
    """


def _figures(labels: list[dict[str, Any]], clamps: list[dict[str, Any]]) -> list[Figure]:
    held = [row for row in labels if row["status"] not in ("candidate", "rejected")]
    implicit = [row["implicit"] for row in labels if row["implicit"] is not None]
    tested = [row for row in clamps if row["arm"] == "label"]
    controls = [row for row in clamps if row["arm"] in CONTROLS]
    found = []
    if labels:
        found.append(Figure(f"{len(held)} / {len(labels)}", "concepts with a label that held on checking texts"))
        found.append(Figure(f"{median(row['auroc'] for row in labels):.2f}", f"median AUROC on checking texts, all {len(labels)}, failures included"))  # fmt: skip
    if implicit:
        found.append(Figure(f"{median(implicit):.2f}", f"median AUROC on texts that imply it, n = {len(implicit)}"))
    if tested:
        passed = sum(row["status"] == "validated" for row in tested)
        found.append(Figure(f"{passed} / {len(tested)}", "clamped labels validated"))
    if any(row["arm"] == "written" for row in clamps):
        validated = {row["concept"] for row in clamps if row["arm"] in CLAIMS and row["status"] == "validated"}
        words = "concepts validated, by their label or by the latents that write them"
        found.append(Figure(f"{len(validated)} / {len({row['concept'] for row in tested})}", words))
    if controls:
        passed = sum(row["status"] == "validated" for row in controls)
        found.append(Figure(f"{passed} / {len(controls)}", "controls that passed the same rule"))
    return found


def _facts(store: Store) -> list[Fact]:
    """The model and its SAE, with what the SAE's own folder says where that is at hand."""
    info = store.info
    config, quality = _beside(store)
    found = [
        ("model", info.model),
        ("site", info.site),
        ("SAE", f"{Path(info.sae_folder).name} ({info.sae_hash[:12]})"),
    ]
    if config.get("architecture"):
        found.append(("architecture", str(config["architecture"])))
    if isinstance(config.get("d_in"), int) and isinstance(config.get("d_sae"), int):
        found.append(("size", f"{config['d_sae']:,} latents (d_sae) on {config['d_in']:,} dimensions (d_in)"))
    for name, words, form in (
        ("explained_variance", "explained variance, held-out text", "{:.3f}"),
        ("l0", "latents that fire at a token (L0)", "{:.1f}"),
        ("dead", "dead latents", "{:.1%}"),
        ("ce_recovered", "cross-entropy recovered when the SAE stands in", "{:.3f}"),
    ):
        value = quality.get(name)
        if isinstance(value, int | float):
            found.append((words, form.format(value)))
    found += [
        ("concept set", f"{info.concept_set} ({info.concept_hash[:8]})"),
        ("made", f"{info.created[:16].replace('T', ' ')} UTC by emotion-saes {info.version}, commit {info.commit}"),
        ("command", info.command),
        ("sealed texts", "opened" if info.opened_sealed else "not opened"),
    ]
    return [Fact(name, value) for name, value in found]


def _beside(store: Store) -> tuple[dict[str, Any], dict[str, Any]]:
    """The SAE's cfg.json and quality.json: around the study, else where study.json says; empty where they are of another."""
    hook_name = store.info.settings.get("hook_name")
    for folder in (store.folder.parent, Path(store.info.sae_folder)):
        config = _json_object(folder / "cfg.json")
        if config and (config.get("metadata") or {}).get("hook_name", hook_name) == hook_name:
            return config, _json_object(folder / "quality.json")
    return {}, {}


def _json_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text()) if path.stat().st_size <= MOST_BYTES else None
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _rejected(labels: list[Label], rules: dict[str, Any]) -> list[Rejected]:
    found: dict[str, list[str]] = {}
    sentences: dict[str, list[str]] = {}
    for label in labels:
        for reason, sentence in rejections(label, rules).items():
            found.setdefault(reason, []).append(label.concept)
            sentences.setdefault(reason, []).append(f"{label.concept}: {sentence}")
    return [
        Rejected(reason, len(concepts), concepts, sentences[reason][:EXAMPLES])
        for reason, concepts in sorted(found.items(), key=lambda one: -len(one[1]))
    ]


def _rules(rules: dict[str, Any]) -> str:
    if not rules:
        return ""
    return (
        f"A label is held when its AUROC on checking texts, which no choice saw, is at least {rules.get('least_auroc', 0.8):g}, "
        f"its q-value at most {rules.get('most_q', 0.05):g}, and it is no detector of the concept's name."
    )
