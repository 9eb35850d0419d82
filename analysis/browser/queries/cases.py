"""The case studies of a study: which were run, what each found in a sentence, its tables, and its transcripts."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.browser.queries import transcripts
from analysis.browser.queries.findings import Records, says
from analysis.browser.queries.shown_table import ShownTable, shown_table
from analysis.browser.queries.store import DamagedTable, Store
from analysis.browser.queries.transcripts import Entry, Facts, Index
from analysis.cases.figures import about
from analysis.report import tables
from analysis.report.table import Table

ROWS = 50
"""Transcripts a page."""
LABELS = ("label", "diff_means")
CONTROL = re.compile(r"control_(\d+)_(up|down)")
"""An arm of the workshop: a group of random latents or a random direction, as its record says."""


@dataclass(frozen=True)
class Kind:
    """One sort of case study."""

    title: str
    question: str
    command: str
    """What runs it, but for the study."""
    reads: tuple[str, ...]
    """Its tables; it was run where the first has rows."""
    transcript: str = ""
    """Its file in the study."""
    facts: Facts | None = None


KINDS: dict[str, Kind] = {
    "workshop": Kind(
        "Workshop", "Somebody is asked for a rule that does not exist. How often is one faked, and does a clamp change that?",
        "saes case workshop", ("workshop", "workshop_controls"), "workshop_transcripts.jsonl", transcripts.workshop_facts,
    ),
    "coding": Kind(
        "Workshop, in code", "A chat model is asked for programs whose requirements cannot be met, beside twins that can. How often "
        "does it special-case the tests, and does a clamp change that?",
        "saes case workshop --arm code", ("coding",), "coding_transcripts.jsonl", transcripts.coding_facts,
    ),
    "foretell": Kind(
        "Foretelling", "Do levels after failed attempts tell, before it is written, whether an episode will end in cheating?",
        "saes case foretell", ("foretellings", "attempt_slopes", "attempt_traces", "attempt_levels"),
    ),
    "dose": Kind(
        "Doses", "One number of a prompt is turned up step by step: which labels follow the danger, and not the number?",
        "saes case dose", ("dose_tests", "dose_trends"),
    ),
    "scenes": Kind(
        "Scenes", "A sad user, a dangerous dose, a missing attachment, each beside a twin in which the one fact that matters is "
        "another: do they wake the labels that they should?",
        "saes case scenes", ("scenes", "scene_tests"),
    ),
    "preference": Kind(
        "Preference", "Which activities does the model prefer, which labels go with that, and what do clamps change?",
        "saes case preference", ("preference_tests", "preference_shifts", "activity_scores"),
    ),
    "compare": Kind(
        "Two models", "The same prompts through another model of the same width: which labels' levels differ?",
        "saes case compare OTHER_MODEL", ("level_shifts",),
    ),
    "harsh-or-sweet": Kind(
        "Harsh or sweet", "Flawed work is shown in hope of praise: how much does the answer praise, criticise, and hurt?",
        "saes case harsh-or-sweet", ("case_effects",), "case_harsh-or-sweet.jsonl", transcripts.written_facts,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CaseHead:
    """A case in the list."""

    name: str
    title: str
    question: str
    ran: bool
    says: str
    """What it found, in a sentence; "" where it was not run."""
    command: str
    """What runs it."""
    problems: list[str]
    """What of it cannot be read."""
    transcripts: int
    figure: bool
    table: ShownTable | None
    """Its first."""


@dataclass(frozen=True)
class CaseList:
    cases: list[CaseHead]
    """Those that were run first."""


@dataclass(frozen=True)
class Filters:
    """Which transcripts are asked for; "" is all."""

    arm: str = ""
    outcome: str = ""
    kind: str = ""
    """"impossible" or "possible"."""

    def match(self, one: Entry) -> bool:
        return (
            (not self.arm or one.arm == self.arm)
            and (not self.outcome or one.outcome == self.outcome)
            and (not self.kind or one.impossible is (self.kind == "impossible"))
        )

    @property
    def query(self) -> dict[str, str]:
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class EpisodeHead:
    """A transcript in a list."""

    number: int
    task: str
    arm: str
    arm_title: str
    outcome: str
    impossible: bool | None
    attempts: int
    texts: int = 1
    """Of a prompt: how many were written."""


@dataclass(frozen=True)
class Option:
    value: str
    title: str
    n: int
    control: bool = False
    """Whether it is a control's arm."""


@dataclass(frozen=True)
class Transcripts:
    """One page of a case's transcripts under some filters."""

    file: str
    found: int
    total: int
    page: int
    pages: int
    rows: list[EpisodeHead]
    arms: list[Option]
    outcomes: list[Option]
    kinds: list[Option]
    unreadable: int
    prompts: bool
    """Whether a row is a prompt with all texts that were written at it, and not an episode."""


@dataclass(frozen=True)
class CasePage:
    name: str
    title: str
    question: str
    command: str
    ran: bool
    problems: list[str]
    says: str
    figure: bool
    about: str
    """What is seen on its figure."""
    tables: list[ShownTable]
    transcripts: Transcripts | None
    filters: Filters
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The study's own rows, by table."""


def kinds(store: Store) -> dict[str, Kind]:
    """Every case by its name in an address: the built-in ones, then those of the user's own files."""
    try:
        named = [row["case"] for row in store.rows('SELECT DISTINCT "case" FROM case_effects ORDER BY "case"')]
    except DamagedTable:  # "harsh-or-sweet", whose table it is too, says so
        named = []
    own = {}
    for name in named:
        if name == "harsh-or-sweet":
            continue
        file = f"case_{name}.jsonl"
        plain = Path(file).name == file and "\\" not in file and "\0" not in file
        own[name if name not in KINDS else f"own-{name}"] = Kind(
            name, "A case of your own: what clamps change in its scores.", "saes case run FILE.yaml", ("case_effects",),
            file if plain else "", transcripts.written_facts,
        )  # fmt: skip
    return KINDS | own


def case_list(store: Store) -> CaseList:
    """Every case, built in or the user's own. One that cannot be read says so, and the others are shown all the same."""
    heads = []
    for name, kind in kinds(store).items():
        records, problems = read(store, name, kind)
        try:
            lines = index_of(store, kind)
        except DamagedTable as error:
            lines = None
            problems.append(str(error))
        was_run = ran(kind, records)
        heads.append(
            CaseHead(
                name, kind.title, kind.question, was_run, says(name, records), command(store, kind), problems,
                len(lines.entries) if lines else 0, was_run, next(shown_tables(name, kind, records)) if was_run else None,
            )
        )  # fmt: skip
    return CaseList(sorted(heads, key=lambda one: not (one.ran or one.problems)))


def case_page(store: Store, name: str, filters: Filters, page: int) -> CasePage | None:
    """None where there is no such case. DamagedTable where its transcripts cannot be read."""
    kind = kinds(store).get(name)
    if kind is None:
        return None
    records, problems = read(store, name, kind)
    was_run = ran(kind, records)
    return CasePage(
        name, kind.title, kind.question, command(store, kind), was_run, problems, says(name, records), was_run,
        about(name) if was_run else "", [table for table in shown_tables(name, kind, records) if table.rows],
        transcript_list(store, kind, filters, page), filters,
        {table: [dict(vars(one)) for one in some] for table, some in records.items()},
    )  # fmt: skip


def read(store: Store, name: str, kind: Kind) -> tuple[Records, list[str]]:
    """The records of a case's tables, and of each that cannot be read (it has none then) a sentence that says so."""
    found: Records = {}
    problems = []
    for table in kind.reads:
        own = name if name in KINDS else kind.title
        where, values = ('"case" = ?', [own]) if table == "case_effects" else ("true", [])
        try:
            found[table] = store.records(table, where, values)
        except DamagedTable as error:
            found[table] = []
            problems.append(str(error))
    return found, problems


def ran(kind: Kind, records: Records) -> bool:
    return bool(records[kind.reads[0]])


def command(store: Store, kind: Kind) -> str:
    """What runs the case on this study."""
    import shlex

    return f"{kind.command} --study {shlex.quote(_from_here(store.folder))}"


def shown_tables(name: str, kind: Kind, records: Records) -> Iterator[ShownTable]:
    """The report's own tables of the case, the main one first, and what they leave out, folded."""
    if kind.reads == ("case_effects",):
        effects = records["case_effects"]
        yield shown("effects", tables.case_effects(effects))
        controls = [one for one in effects if one.arm not in LABELS]
        yield _records("controls", "Controls, one by one", controls, CONTROL_COLUMNS)
        return
    match name:
        case "workshop":
            yield shown(name, tables.workshop(records[name]))
            yield shown("workshop_controls", tables.workshop_controls(records["workshop_controls"]))
            drawn = [one for one in records[name] if one.arm.startswith("control")]
            yield _records("controls", "Controls, one by one", drawn, WORKSHOP_CONTROL_COLUMNS)
        case "coding":
            yield shown(name, tables.workshop(records[name]))
        case "foretell":
            yield shown("foretellings", tables.foretellings(records["foretellings"]))
            yield shown("attempt_slopes", tables.attempt_slopes(records["attempt_slopes"]))
            yield shown("attempt_traces", tables.attempt_traces(records["attempt_traces"]), folded=True)
            yield shown("attempt_levels", tables.attempt_levels(records["attempt_levels"]), folded=True)
        case "dose":
            yield shown("dose_tests", tables.dose_tests(records["dose_tests"]))
            yield _records("dose_trends", "Family by family", records["dose_trends"], TREND_COLUMNS)
        case "scenes":
            yield shown("scenes", tables.scenes(records["scenes"]))
            yield shown("scene_tests", tables.scene_tests(records["scene_tests"]))
            rest = [one for one in records["scenes"] if not one.expected]
            yield _records("others", "Labels that nothing was expected of", rest, SCENE_COLUMNS)
        case "preference":
            yield shown("preference_tests", tables.preference_tests(records["preference_tests"]))
            yield shown("preference_shifts", tables.preference_shifts(records["preference_shifts"]))
            activities = sorted(records["activity_scores"], key=lambda one: -one.elo)
            yield _records("activity_scores", "Activities, the most preferred first", activities, ACTIVITY_COLUMNS)
        case _:
            yield shown("level_shifts", tables.level_shifts(records["level_shifts"]))


CONTROL_COLUMNS = {"score": "scorer", "matched to": "concept", "arm": "arm", "control": "arm_id", "dose": "dose", "unclamped": "base",
                   "change [95 %]": "effect", "prompts": "n_prompts"}  # fmt: skip
WORKSHOP_CONTROL_COLUMNS = {"control": "arm", "kind": "kind", "latents": "latents", "dose": "dose", "push": "push", "cheating": "cheat_rate",
                            "change [95 %]": "change", "invalid endings": "invalid_rate", "honest": "honest_rate",
                            "direct effect": "direct_effect", "impossible tasks": "n_impossible"}  # fmt: skip
TREND_COLUMNS = {
    "family": "family",
    "concept": "concept",
    "expected": "sign",
    "trend": "trend",
    "trend of the control": "trend_control",
}
SCENE_COLUMNS = {
    "kind": "kind",
    "scene": "name",
    "concept": "concept",
    "level": "level",
    "in the twin": "twin_level",
    "rise": "rise",
}
ACTIVITY_COLUMNS = {"category": "category", "activity": "activity", "Elo": "elo"}


def _records(name: str, title: str, records: Sequence[Any], columns: Mapping[str, str]) -> ShownTable:
    return shown(name, tables.of_records(title, records, columns), folded=True)


def shown(name: str, table: Table, folded: bool = False) -> ShownTable:
    """A report's table, with the keys of arms in words."""
    arms = [at for at, head in enumerate(table.columns) if head in ("clamp", "control")]
    rows = [
        tuple(arm_title(cell) if at in arms and isinstance(cell, str) else cell for at, cell in enumerate(row))
        for row in table.rows
    ]
    return shown_table(replace(table, rows=rows), name, folded)


def transcript_list(store: Store, kind: Kind, filters: Filters, page: int) -> Transcripts | None:
    """None where the case leaves none, or left none yet."""
    lines = index_of(store, kind)
    if lines is None or not lines.entries:
        return None
    prompts = kind.facts is transcripts.written_facts
    heads = _prompt_heads(lines.entries) if prompts else [_head(one) for one in lines.entries if filters.match(one)]
    pages = max(1, -(-len(heads) // ROWS))
    page = min(max(1, page), pages)
    return Transcripts(
        kind.transcript, len(heads), len(lines.entries), page, pages, heads[(page - 1) * ROWS : page * ROWS],
        _options(lines.entries, lambda one: one.arm, arm_title), _options(lines.entries, lambda one: one.outcome, str),
        _options(lines.entries, lambda one: "" if one.impossible is None else "impossible" if one.impossible else "possible", str),
        lines.unreadable, prompts,
    )  # fmt: skip


def arm_title(arm: str) -> str:
    """An arm's key in words."""
    if found := CONTROL.fullmatch(arm):
        return f"control {int(found[1]) + 1} {found[2]}"
    kind, _, rest = arm.partition("/")
    if not rest:
        return tables.arm_words(arm)
    *named, dose = rest.split("/")
    concept, own = named[0], named[-1]
    about = concept if kind == "label" else f"{tables.ARMS.get(kind, kind)} {own} for {concept}"
    return f"{f'{concept}, difference of means' if kind == 'diff_means' else about} {_signed(dose)}"


def index_of(store: Store, kind: Kind) -> Index | None:
    """Where the case's transcripts are; None where it leaves none, or left none yet."""
    if not kind.transcript or kind.facts is None:
        return None
    return transcripts.index(store.folder / kind.transcript, kind.facts)


def _head(one: Entry) -> EpisodeHead:
    return EpisodeHead(
        one.number, one.task, one.arm, arm_title(one.arm), one.outcome, one.impossible, one.attempts
    )  # fmt: skip


def _prompt_heads(entries: Sequence[Entry]) -> list[EpisodeHead]:
    counts: dict[int, int] = {}
    for one in entries:
        counts[int(one.task)] = counts.get(int(one.task), 0) + 1
    return [
        EpisodeHead(number, f"prompt {number + 1}", "", "", "", None, 0, texts) for number, texts in sorted(counts.items())
    ]  # fmt: skip


def _options(entries: Sequence[Entry], of: Callable[[Entry], str], title: Callable[[str], str]) -> list[Option]:
    """The values that there are, in the order of the file, with how many have each."""
    counts: dict[str, int] = {}
    for one in entries:
        if value := of(one):
            counts[value] = counts.get(value, 0) + 1
    return [Option(value, title(value), n, CONTROL.fullmatch(value) is not None) for value, n in counts.items()]


def _signed(dose: str) -> str:
    try:
        return f"{float(dose):+g}"
    except ValueError:
        return dose


def _from_here(folder: Path) -> str:
    """As a person in the current folder would name it."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
