"""The folder that holds everything found about one SAE: study.json and Parquet tables. Opening one loads no torch."""

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, get_type_hints

from analysis.records import (
    WRITTEN,
    Ablation,
    ActivityScore,
    Affect,
    Agreement,
    AttemptLevel,
    AttemptSlope,
    AttemptTrace,
    Baseline,
    BenchRun,
    CaseEffect,
    ClampResult,
    ConceptEffect,
    Confound,
    DosePoint,
    DoseTest,
    DoseTrend,
    Excerpt,
    Explanation,
    FeatureCard,
    FiringWord,
    Foretelling,
    GeometryPoint,
    GeometryTest,
    Label,
    LevelShift,
    Necessity,
    PreferenceShift,
    PreferenceTest,
    Probe,
    SceneRead,
    SceneTest,
    StudyInfo,
    Transfer,
    TransferRating,
    Trial,
    WorkshopArm,
    WorkshopControls,
    Writer,
)

if TYPE_CHECKING:
    import numpy as np

    from analysis.concepts.concept import ConceptSet

SCHEMA = 3
TABLES: dict[str, type] = {
    "labels": Label,
    "writers": Writer,
    "baselines": Baseline,
    "confounds": Confound,
    "probes": Probe,
    "affect": Affect,
    "cards": FeatureCard,
    "excerpts": Excerpt,
    "firing_words": FiringWord,
    "trials": Trial,
    "clamps": ClampResult,
    "curves": DosePoint,
    "effects": ConceptEffect,
    "necessity": Necessity,
    "workshop": WorkshopArm,
    "workshop_controls": WorkshopControls,
    "attempt_levels": AttemptLevel,
    "attempt_traces": AttemptTrace,
    "attempt_slopes": AttemptSlope,
    "foretellings": Foretelling,
    "scenes": SceneRead,
    "scene_tests": SceneTest,
    "activity_scores": ActivityScore,
    "preference_tests": PreferenceTest,
    "preference_shifts": PreferenceShift,
    "level_shifts": LevelShift,
    "case_effects": CaseEffect,
    "coding": WorkshopArm,
    "dose_trends": DoseTrend,
    "dose_tests": DoseTest,
    "geometry": GeometryPoint,
    "geometry_tests": GeometryTest,
    "agreements": Agreement,
    "ablations": Ablation,
    "explanations": Explanation,
    "transfer": Transfer,
    "transfer_ratings": TransferRating,
    "bench": BenchRun,
}
GROUP = 8192
"""Rows of a table that are written, and later read, together."""
Row = TypeVar("Row")


class Study:
    """Reads and writes one study folder. Tables that were not made yet are empty."""

    def __init__(self, folder: Path, info: StudyInfo):
        self.folder, self.info = folder, info

    @classmethod
    def create(cls, folder: str | Path, info: StudyInfo) -> "Study":
        """A new study; what an earlier one left in the folder goes, tables are written one by one afterwards."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for table in TABLES:
            (folder / f"{table}.parquet").unlink(missing_ok=True)
        write_whole(folder / "study.json", json.dumps(info.as_dict(), indent=2).encode() + b"\n")
        return cls(folder, info)

    @classmethod
    def open(cls, folder: str | Path) -> "Study":
        """Opens a folder that `saes label` made.

        Raises FileNotFoundError when there is no study, ValueError when it is of another schema or damaged.
        """
        folder = Path(folder)
        path = folder / "study.json"
        if not path.exists():
            raise FileNotFoundError(
                f"{folder} is no study (it has no study.json): make one with `saes label CHECKPOINT --out {folder}`"
            )
        try:
            raw = json.loads(path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged ({error}): make the study again with `saes label`") from error
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            found = raw.get("schema") if isinstance(raw, dict) else None
            raise ValueError(
                f"{folder} was made by another version (schema {found}, this one reads {SCHEMA}): label the SAE again"
            )
        known = {field.name for field in fields(StudyInfo)}
        missing = sorted(
            field.name
            for field in fields(StudyInfo)
            if field.name not in raw and field.name not in ("settings", "opened_sealed")
        )
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}: make the study again with `saes label`")
        return cls(folder, StudyInfo(**{key: value for key, value in raw.items() if key in known}))

    @property
    def concepts(self) -> str:
        """The name or the folder of the concept set that it was labelled with."""
        return self.info.settings.get("concepts", self.info.concept_set)

    def concepts_at_hand(self) -> "ConceptSet | None":
        """The concept set that it was labelled with; None where that is gone, or is another now."""
        from analysis.concepts.concept import load_concepts

        try:
            found = load_concepts(self.concepts, strict=False)
        except (ValueError, FileNotFoundError):
            return None
        return found if found.hash == self.info.concept_hash else None

    def update_info(self, **changes: Any) -> None:
        self.info = StudyInfo(**{**self.info.as_dict(), **changes})
        write_whole(self.folder / "study.json", json.dumps(self.info.as_dict(), indent=2).encode() + b"\n")

    def write(self, table: str, rows: Iterable[Any]) -> None:
        """Replaces a table as a whole; the old one survives if anything fails.

        `rows` may be a generator: `GROUP` of them are held at a time. They keep their order; where they are sorted, what is
        asked of one latent or one concept is found without reading the whole file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = arrow_schema(TABLES[table])
        left = iter(rows)
        with (
            written_whole(self.folder / f"{table}.parquet") as file,
            pq.ParquetWriter(file, schema, compression="zstd") as writer,
        ):
            while group := [vars(row) for row in islice(left, GROUP)]:
                columns = {name: [row[name] for row in group] for name in schema.names}
                writer.write_table(pa.table(columns, schema=schema))

    def read(
        self, table: str, kind: type[Row] | None = None, where: tuple[str, Iterable[Any]] | None = None
    ) -> list[Row]:
        """A table's rows as records; empty when it was not made yet. `where` is a column and the values it may have."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / f"{table}.parquet"
        if not path.exists():
            return []
        column, values = where or ("", ())
        wanted = list(values)
        if where and not wanted:
            return []
        try:
            rows = pq.read_table(path, filters=[(column, "in", wanted)] if where else None).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}): run the step that makes it again") from error
        return [TABLES[table](**row) for row in rows]

    def stream(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Some columns of a table, row by row in its order, `GROUP` rows held at a time; nothing when it was not made yet."""
        import pyarrow.parquet as pq

        path = self.folder / f"{table}.parquet"
        if not path.exists():
            return
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=GROUP, columns=list(columns)):
                yield from zip(*(batch[name].to_pylist() for name in columns), strict=True)

    def diff_means(self) -> dict[str, "np.ndarray"]:
        """Each concept's difference of means `[d_in]`; empty where the study has none."""
        return self._arrays("diff_means")

    def untrained_centre(self) -> "np.ndarray | None":
        """[d_in] where the untrained SAE beside the labelled one is centred; None where there was none."""
        return self._arrays("untrained").get("centre")

    def write_arrays(self, name: str, arrays: "dict[str, np.ndarray]") -> None:
        """Replaces NAME.npz as a whole."""
        import numpy as np

        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]  # the stubs take any further name for an option
        write_whole(self.folder / f"{name}.npz", content.getvalue())

    def _arrays(self, name: str) -> dict[str, "np.ndarray"]:
        import numpy as np

        path = self.folder / f"{name}.npz"
        if not path.exists():
            return {}
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def labels(self, chosen: bool = True) -> list[Label]:
        """The frozen choice of each concept (or, with chosen=False, every label that was kept)."""
        return [label for label in self.read("labels", Label) if label.chosen or not chosen]

    def claim(self, name: str) -> Label | Writer:
        """The chosen label of a concept, or for NAME/written the latents that write it; ValueError lists what there is."""
        if not name.endswith(WRITTEN):
            return self.label(name)
        found = {one.name: one for one in self.read("writers", Writer)}
        if name not in found:
            raise ValueError(
                f"nothing is known to write {name.removesuffix(WRITTEN)!r} in {self.folder}; it has: "
                f"{', '.join(sorted(found)) or 'none (`saes label` finds them: label the SAE again)'}"
            )
        return found[name]

    def held(self, concepts: Sequence[str] | None, deed: str) -> list[Label]:
        """The held labels of these concepts (default: of all), once each; ValueError says why one cannot be `deed`."""
        held = {label.concept: label for label in self.labels() if label.is_held}
        if not held:
            raise ValueError(f"{self.folder} has no held label that could be {deed}")
        for name in concepts or ():
            if name not in held:
                status = self.label(name).status  # ValueError where there is no label at all
                raise ValueError(
                    f"the label of {name!r} is {status}: only held labels are {deed} ({', '.join(sorted(held))})"
                )
        return [held[name] for name in dict.fromkeys(concepts or held)]

    def label(self, concept: str) -> Label:
        """The chosen label of a concept; ValueError lists what there is."""
        found = {label.concept: label for label in self.labels()}
        if concept not in found:
            raise ValueError(f"no label for {concept!r} in {self.folder}; it has: {', '.join(sorted(found)) or 'none'}")
        return found[concept]


def arrow_schema(kind: type) -> Any:
    """The columns of a record's table, as pyarrow names their types."""
    import pyarrow as pa

    return pa.schema([(name, arrow_type(hint)) for name, hint in get_type_hints(kind).items()])


def arrow_type(hint: Any):
    import pyarrow as pa

    plain = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    if hint in plain:
        return plain[hint]
    arguments: tuple[Any, ...] = getattr(hint, "__args__", ())
    if getattr(hint, "__origin__", None) is list:
        return pa.list_(arrow_type(arguments[0]))
    inner = [argument for argument in arguments if argument is not type(None)]
    assert len(inner) == 1, f"no column type for {hint}"
    return arrow_type(inner[0])


def write_whole(path: Path, content: bytes) -> None:
    """Writes beside and renames, so that a full disk or a kill leaves the old file."""
    with written_whole(path) as file:
        file.write(content)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into that takes the place of `path` at the end, and only if nothing fails."""
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
