"""Says what a training run will cost before anything is started: memory, communication, disk, tokens/s and hours.

Reads the language model's config.json alone. Figures for GPUs are computed from data sheets; for the CPU from constants
measured on one machine, or with --measure from a few steps on this one. docs/cluster.md explains the arithmetic.
"""

import argparse

from commands.answer import Answer
from commands.train import add_run_arguments, spec_of

EXAMPLE = "saes plan storyteller --gpus 8 --nodes 2 --device-kind h100"
KINDS = ("cpu", "a100", "h100", "h200")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("on what")
    group.add_argument("--gpus", type=int, default=1, metavar="N", help="of each node; of CPUs, processes (default 1)")
    group.add_argument("--nodes", type=int, default=1, metavar="N", help="default 1")
    group.add_argument("--device-kind", choices=KINDS, help="default: this machine's, as far as it is one of these")
    group.add_argument("--measure", action="store_true", help="run a few small steps here and fit the CPU's constants")
    add_run_arguments(parser, "what to train")


def run(arguments: argparse.Namespace) -> Answer:
    from training.costs import DEVICES
    from training.language_models.outline import config_of, outline_of
    from training.plan import World, plan, shards_bytes, what_fits

    spec = spec_of(arguments)
    kind = arguments.device_kind or _kind_here(spec.device)
    if arguments.measure and kind != "cpu":
        raise ValueError(f"--measure fits the constants of the CPU; for a {kind} leave it out")
    world = World(arguments.nodes, arguments.gpus, spec.latent_ranks)
    config = config_of(spec.model, spec.revision)
    outline = outline_of(config, spec.model, spec.hook_names)
    device = DEVICES[kind]
    plan(spec, outline, device, world)  # what cannot be shared out is said before anything is measured
    if arguments.measure:
        from training.measure import measured

        device = measured(spec, config)
    made = plan(spec, outline, device, world)
    if not made.fits:
        raise ValueError(what_fits(made, outline))
    data = made.as_dict() | {"shards_bytes": shards_bytes(spec, outline)}
    return Answer(table(data), data)


def table(data: dict) -> str:
    """The plan, group by group."""
    ranks = f"{data['data_ranks']} data x {data['latent_ranks']} latent"
    lines = [
        f"{data['devices_in_all']} x {data['device']} (nodes: {data['nodes']}; ranks: {ranks}), {data['kernel']} step",
        f"constants: {data['constants']}",
        f"SAE of {data['parameters']:,} parameters; language model of {data['model_parameters']:,}",
    ]
    for title, group, shown in (
        ("memory of a device", "memory", _bytes),
        ("received by a device in a step", "communication", _bytes),
        ("disk", "disk", _bytes),
        ("time of a step", "seconds_a_step", _seconds),
        ("time at beginning and end", "seconds_once", _seconds),
    ):
        lines += ["", f"{title}:" if any(data[group].values()) else f"{title}: nothing"]
        lines += [f"  {name:<28}{shown(value):>12}" for name, value in data[group].items() if value]
    lines += [
        "",
        f"{data['tokens_per_second']:,.0f} tokens/s, {data['steps']:,} steps: {_hours(data['hours'])}",
        f"its activations as shards on disk would take {_bytes(data['shards_bytes'])}",
    ]
    return "\n".join(lines)


def _kind_here(device: str) -> str:
    if device == "cpu":
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    name = torch.cuda.get_device_name().lower()
    for kind in KINDS[1:]:
        if kind in name:
            return kind
    raise ValueError(f"no constants are known for {name}; --device-kind takes one of {', '.join(KINDS)}")


def _bytes(number: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"


def _seconds(number: float) -> str:
    return f"{number:.3g} s" if number >= 1 else f"{number * 1e3:.3g} ms"


def _hours(number: float) -> str:
    return f"{number:.1f} hours" if number >= 1 else f"{number * 60:.3g} minutes"
