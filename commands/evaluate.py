"""Judges checkpoints (ours, SAELens', sparsify's, dictionary_learning's, Gemma Scope's) on held-out text, and draws their frontier where there are several.

Explained variance, L0, dead share, densities, cross-entropy and KL recovered (SAELens' versions under SAELens' names),
cosines of the weights, and signs of absorbed and split features. Leaves quality.json beside each checkpoint, or in --out.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from commands.answer import Answer
from commands.places import is_bundled
from commands.spec_flags import count

EXAMPLE = "saes evaluate storyteller-sae --tokens 4k --out checkpoints/judged"

COLUMNS = {
    "explained_variance": ("expl. var.", "{:.4f}"),
    "l0": ("L0", "{:.1f}"),
    "dead": ("dead", "{:.1%}"),
    "ce_recovered": ("CE rec.", "{:.4f}"),
    "kl_recovered": ("KL rec.", "{:.4f}"),
    "ce_loss_score": ("ce_loss_score", "{:.4f}"),
    "max_decoder_cosine": ("max cos", "{:.3f}"),
    "encoder_decoder_cosine_sim": ("enc-dec cos", "{:.3f}"),
    "absorption": ("absorption", "{:.4f}"),
    "splitting": ("splitting", "{:.4f}"),
}
FROM_TRAINING = ("tokens_trained", "seconds")
"""What a run left in quality.json that no evaluation can know."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to judge")
    group.add_argument(
        "checkpoints", nargs="+", metavar="CHECKPOINT", help="a folder, or one that holds several, as a sweep leaves it"
    )
    group = parser.add_argument_group("on what")
    group.add_argument("--tokens", type=count, metavar="N", help="default: as its spec says, else 32,768")
    group.add_argument("--corpus", metavar="NAME_OR_PATH", help="default: held-out documents of what it was trained on")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the one that the SAE was trained on")
    group.add_argument("--hook-name", metavar="NAME", help="the place it was trained at, where it does not say")
    group = parser.add_argument_group("what to leave")
    group.add_argument("--out", metavar="DIR", help="folder for quality.json (a folder each, where several) and figure")


def run(arguments: argparse.Namespace) -> Answer:
    if arguments.tokens is not None and arguments.tokens < 1:
        raise ValueError(f"--tokens must be at least 1, got {arguments.tokens}")
    from training.evaluate import QUALITY, HeldOut, evaluate_checkpoints, find_checkpoints

    folders = find_checkpoints(arguments.checkpoints)
    held_out = HeldOut(arguments.tokens, arguments.corpus, arguments.model, arguments.hook_name, arguments.seed or 0)
    places = _places(folders, arguments.out)
    found: dict[str, dict[str, Any]] = {}
    for folder, quality in evaluate_checkpoints(folders, held_out, arguments.device):
        before = folder / QUALITY
        known = json.loads(before.read_text()) if before.exists() else {}
        quality |= {name: known[name] for name in FROM_TRAINING if name in known}
        found[str(folder)] = quality
        place = places[folder]
        if place is not None:
            _keep(place / QUALITY, quality)
    lines, figure = [table(found)], None
    kept = [str(place / QUALITY) for place in places.values() if place is not None]
    if kept:
        lines.append(f"written: {', '.join(kept)}")
    else:
        lines.append("nothing written: bundled checkpoints and single files stay as they came; --out keeps the figures")
    if len(found) > 1:
        from analysis.figures import frontier

        figure = (Path(arguments.out) if arguments.out else _beside(folders)) / "frontier.png"
        figure.parent.mkdir(parents=True, exist_ok=True)
        frontier(figure, {Path(name).name: (one["l0"], one["explained_variance"]) for name, one in found.items()})
        lines.append(f"frontier: {figure}")
    return Answer("\n".join(lines), {"checkpoints": found, "figure": None if figure is None else str(figure)})


def table(found: dict[str, dict[str, Any]]) -> str:
    """A column a checkpoint would not fit: a line each."""
    width = max(len(Path(name).name) for name in found) + 2
    lines = [" " * width + "".join(f"{title:>14}" for title, _ in COLUMNS.values())]
    for name, one in found.items():
        cells = (
            form.format(one[column]) if one.get(column) is not None else "-" for column, (_, form) in COLUMNS.items()
        )
        lines.append(f"{Path(name).name:<{width}}" + "".join(f"{cell:>14}" for cell in cells))
    unsure = [Path(name).name for name, one in found.items() if not one["held_out"]]
    if unsure:
        lines.append(f"whether this text was kept from their training is not known: {', '.join(unsure)}")
    return "\n".join(lines)


def _keep(path: Path, quality: dict[str, Any]) -> None:
    from training.run_state import replace_file

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda part: part.write_text(json.dumps(quality, indent=2, allow_nan=False) + "\n"))


def _places(folders: list[Path], out: str | None) -> dict[Path, Path | None]:
    """Where each checkpoint's figures go; None is nowhere."""
    if out is None:
        return {folder: None if is_bundled(folder) or folder.is_file() else folder for folder in folders}
    if len(folders) == 1:
        return {folders[0]: Path(out)}
    names = [folder.name for folder in folders]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"two checkpoints are called {sorted(twice)[0]}, so one --out cannot keep both: evaluate them apart"
        )
    return {folder: Path(out) / folder.name for folder in folders}


def _beside(folders: list[Path]) -> Path:
    """The folder around the first checkpoint that is not bundled; else the working folder."""
    return next((folder.parent for folder in folders if not is_bundled(folder)), Path("."))
