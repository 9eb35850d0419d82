"""Hands a training run to Slurm: writes a batch script that runs torchrun on every node, and gives it to sbatch.

The spec is frozen beside the script, in OUT/slurm. Before its time is up, and when it is preempted, the run saves
everything, goes back into the queue and goes on from there. docs/cluster.md is the way from a laptop to many nodes.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from commands.answer import Answer
from commands.train import add_run_arguments, spec_of
from training.run_state import replace_file
from training.slurm import SlurmJob, sbatch_script

EXAMPLE = "saes submit tiny --out checkpoints/first --slurm partition=gpu nodes=2 gpus=8 time=12:00:00 --dry-run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to run it")
    group.add_argument(
        "--slurm",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="nodes=N, gpus=N (a node; 0 with processes=N for CPUs), warn=SECONDS, restarts=N; any other key is an "
        "option of sbatch: partition, time, account ...",
    )
    group.add_argument(
        "--before", action="append", default=[], metavar="LINE", help="shell to run first, such as 'module load cuda'"
    )
    group.add_argument("--dry-run", action="store_true", help="print the script; write and submit nothing")
    add_run_arguments(parser, "what to train")


def run(arguments: argparse.Namespace) -> Answer:
    job = SlurmJob.from_settings(arguments.slurm)
    spec = spec_of(arguments)
    spec = spec.with_fields(out=str(spec.folder.absolute()))
    processes, share = job.nodes * job.processes_a_node, spec.latent_ranks
    if processes % share:
        raise ValueError(f"{processes} processes cannot be shared out in groups of {share} (latent_ranks)")
    folder = spec.folder / "slurm"
    frozen, path = folder / "spec.json", folder / "job.sbatch"
    script = sbatch_script(job, frozen, folder, Path.cwd(), Path(sys.executable).parent, arguments.before)
    if arguments.dry_run:
        return Answer(script.rstrip(), {"script": script, "job": None, "path": None})
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(frozen, lambda part: part.write_text(spec.to_json()))
    replace_file(path, lambda part: part.write_text(script))
    if shutil.which("sbatch") is None:
        raise ValueError(
            f"there is no sbatch on this machine; the job is written to {path}: `sbatch {path}` submits it"
        )
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"sbatch refused {path}: {done.stderr.strip() or done.stdout.strip()}")
    number = done.stdout.strip().split(";")[0]
    return Answer(f"job {number}: {path}\nits log: {folder / f'{number}.log'}", {"script": script, "job": number,
                  "path": str(path)})  # fmt: skip
