"""What the clamp bench offers: labels and latents that can be pushed, what one dose unit is, and which doses are safe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.browser.queries.remembered import Remembered
from analysis.browser.queries.store import Store
from analysis.latent_units import active_values, units_of
from analysis.records import WRITTEN, BenchRun
from saes.latent_statistics import LabelUnits, LatentStatistics
from saes.nearest import did_you_mean
from saes.written_intervention import DOSE_LEVEL

MOST_SAVED = 50
CLAIMED = f"""(
    SELECT concept AS name, latents, scales, weights, status FROM labels WHERE chosen
    UNION ALL SELECT concept || '{WRITTEN}', latents, scales, weights, status FROM writers
)"""
"""What a name may stand for: a concept's label, or the latents that write it."""


@dataclass(frozen=True)
class Pushable:
    """A label, or a latent by its number, as a slider shows it."""

    name: str
    latents: list[int]
    status: str | None
    """Of the label; None for a latent by its number."""
    concepts: list[str]
    """What a latent by its number is a label of."""
    unit: float | None
    """Of its first latent: the activation that is one dose unit; None where the study has no card of it."""
    peak: float | None
    """The largest activation that was seen, in dose units."""
    safe_low: float | None
    safe_high: float | None
    """Doses between which its text was measured to stay fluent; None where that was not measured."""


@dataclass(frozen=True)
class Choice:
    """An entry of the list that a name is typed from."""

    name: str
    status: str


def choices(store: Store) -> list[Choice]:
    """Every chosen label, and what writes each concept; those that held come first."""
    rows = store.rows(f"SELECT name, status FROM {CLAIMED} ORDER BY status IN ('candidate', 'rejected'), name")
    return [Choice(row["name"], row["status"]) for row in rows]


def pushable(store: Store, name: str) -> Pushable:
    """Raises ValueError, with the nearest name, for what the study does not know."""
    name = name.strip()
    if name.isascii() and name.isdecimal():
        return _latent(store, name)
    label = store.one(f"SELECT latents, scales, weights, status FROM {CLAIMED} WHERE name = ?", [name])
    if label is None:
        known = [one.name for one in choices(store)]
        raise ValueError(f"there is no label {name[:60]!r} in this study{did_you_mean(name, known)}")
    unit = label["scales"][0] * label["weights"][0]
    peak = store.value("SELECT list_last(histogram_edges) FROM cards WHERE latent = ?", [label["latents"][0]])
    low, high = safe(store).get(name, (None, None))
    return Pushable(
        name, label["latents"], label["status"], [], unit, peak / unit if peak and unit else None, low, high
    )


def _latent(store: Store, name: str) -> Pushable:
    latent = int(name)
    if latent >= 2**31:
        raise ValueError(f"there is no latent {latent}")
    known = statistics(store, [latent]).active.get(latent)
    rows = store.rows(
        "SELECT concept FROM labels WHERE chosen AND list_contains(latents, ?) ORDER BY concept", [latent]
    )
    unit = known.percentile(DOSE_LEVEL) if known else None
    peak = known.percentile(100) / unit if known and unit else None
    return Pushable(str(latent), [latent], None, [row["concept"] for row in rows], unit, peak, None, None)


def statistics(store: Store, latents: Sequence[int]) -> LatentStatistics:
    """Of all chosen labels and of what writes each concept, and of these latents as far as they have cards."""
    asked = [int(latent) for latent in latents]
    sql = "SELECT latent, histogram_counts, histogram_edges FROM cards WHERE list_contains(?::BIGINT[], latent)"
    cards = store.rows(sql, [asked]) if asked else []
    active = {
        row["latent"]: active_values(row["histogram_counts"], row["histogram_edges"])
        for row in cards
        if any(row["histogram_counts"])
    }
    return LatentStatistics(store.folder.name, active, _claims(store).units)


def safe(store: Store) -> Mapping[str, tuple[float, float]]:
    """By a claim's name the doses between which its text was measured to stay fluent."""
    return _claims(store).safe


@dataclass(frozen=True)
class Claims:
    """What is known of every name that may stand in a clamp."""

    units: Mapping[str, LabelUnits]
    safe: Mapping[str, tuple[float, float]]


def _read(store: Store) -> Claims:
    units = {
        row["name"]: units_of(row["latents"], row["scales"], row["weights"])
        for row in store.rows(f"SELECT name, latents, scales, weights FROM {CLAIMED}")
    }
    rows = store.rows(
        f"SELECT concept || if(arm = 'written', '{WRITTEN}', '') AS name, safe_low, safe_high FROM clamps "
        "WHERE arm IN ('label', 'written') AND safe_low IS NOT NULL AND safe_high IS NOT NULL"
    )
    return Claims(units, {row["name"]: (row["safe_low"], row["safe_high"]) for row in rows})


_claims = Remembered(_read, lambda store: store.stamp("labels", "writers", "clamps"))
"""The first token waits for them."""


def saved(store: Store) -> list[BenchRun]:
    """The latest first."""
    rows = store.rows("SELECT * FROM bench ORDER BY created DESC, run DESC LIMIT ?", [MOST_SAVED])
    return [BenchRun(**row) for row in rows]
