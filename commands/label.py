"""Finds latents that carry emotion concepts, and checks them on texts that no choice of the run saw.

The search (latent, recipe, pooling) happens on finding texts; the one frozen choice per concept is then scored on
checking, implicit and contrast texts. Beside each label stand the latents that write its concept: those whose directions
together come nearest to its difference of means on finding texts. Leaves a study.

--read puts each text into a chat by the model's own template and reads some of its tokens: those of the text as what the
user says, or as what the assistant says, or the one token before the reply (the last of the generation prompt).
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.records import Label
from commands.answer import Answer
from commands.places import DEFAULT, find_folder, is_bundled

READS = ("all", "user", "assistant", "before_reply")
"""As in `training.language_models.chat`, which is not opened for a help text."""

EXAMPLE = "saes label storyteller-sae --out checkpoints/my-study"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to label")
    group.add_argument(
        "checkpoint", nargs="?", metavar="CHECKPOINT", help=f"an SAE, or an npz of named directions (default {DEFAULT})"
    )
    group.add_argument("--sae-lens", nargs=2, metavar=("RELEASE", "ID"), help="an SAE of SAELens' registry instead")
    group.add_argument("--model", metavar="NAME_OR_DIR", help="default: the one that the SAE was trained on")
    group.add_argument("--hook-name", metavar="NAME", help="the place it was trained at, where it does not say")
    group.add_argument(
        "--read", default="all", choices=READS, help="of a chat model: whose tokens (default all, without a chat)"
    )
    group.add_argument(
        "--concepts",
        default="emotions",
        metavar="emotions|core|PATH",
        help="the concept set: all 171, the core of 24, or your own",
    )
    group.add_argument("--out", metavar="STUDY", help="folder of the study (default: beside the SAE's weights)")
    group.add_argument(
        "--cards",
        default="labelled",
        metavar="labelled|all|N",
        help="latents that get a card and excerpts to look at: those of labels, all, or N more drawn at random",
    )
    group.add_argument("--open-sealed", action="store_true", help="also read the sealed texts; once, for a release")


def run(arguments: argparse.Namespace) -> Answer:
    if arguments.sae_lens and arguments.checkpoint:
        raise ValueError("give a CHECKPOINT or --sae-lens RELEASE ID, not both")
    release, checkpoint = arguments.sae_lens or (None, find_folder(arguments.checkpoint or DEFAULT))
    from analysis.labelling.journey import label

    study = label(
        checkpoint,
        arguments.concepts,
        arguments.model,
        arguments.out or _beside(checkpoint, release),
        sae_lens_release=release,
        hook_name=arguments.hook_name,
        read=arguments.read,
        open_sealed=arguments.open_sealed,
        cards=arguments.cards,
        seed=arguments.seed or 0,
        device=arguments.device,
    )
    labels = study.labels()
    text = f"{table(labels)}\n\nnext: saes validate {study.folder}"
    return Answer(text, {"concepts": {one.concept: shown(one) for one in labels}, "study": str(study.folder)})


def table(labels: list[Label]) -> str:
    """The chosen labels, a line each, and how many are held."""
    lines = [
        f"{'concept':<12}{'kind':<8}{'latents':<24}{'checking [95 %]':<22}{'all':<7}{'implicit':<10}{'q':<8}status"
    ]
    for one in labels:
        latents = ", ".join(map(str, one.latents))
        implicit = "-" if one.auroc_implicit is None else f"{one.auroc_implicit:.2f}"
        interval = f"{one.auroc_checking:.2f} [{one.auroc_checking_low:.2f}, {one.auroc_checking_high:.2f}]"
        lines.append(
            f"{one.concept:<12}{one.kind:<8}{latents:<24}{interval:<22}{one.auroc_all:<7.2f}{implicit:<10}"
            f"{one.q:<8.3f}{one.status}"
        )
    held = [one for one in labels if one.is_held]
    distinct = len({latent for one in held for latent in one.latents})
    return "\n".join([*lines, f"{len(held)} of {len(labels)} concepts held, by {distinct} distinct latents"])


def shown(one: Label) -> dict[str, Any]:
    """What scripts get of a label."""
    names = (
        "latents",
        "auroc_finding",
        "auroc_checking",
        "auroc_family",
        "runner_up",
        "auroc_implicit",
        "q",
        "lexical_share",
        "status",
        "kind",
        "auroc_all",
        "auroc_checking_low",
        "auroc_checking_high",
        "auroc_contrast",
        "auroc_sealed",
        "effect_finding",
    )
    everything = asdict(one)
    return {name: everything[name] for name in names}


def _beside(checkpoint: str | Path, release: str | None) -> Path | None:
    """Where the study goes where nothing lies to put it beside, and never into the installed package; None is beside."""
    if release is not None:
        return Path("checkpoints") / f"{release}-{str(checkpoint).replace('/', '-')}-study"
    if is_bundled(Path(checkpoint)):
        return Path("checkpoints") / Path(checkpoint).name / "study"
    return None
