"""A training run as a Slurm job: a batch script that starts torchrun on every node and goes back into the queue."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.run_state import QUEUE_AGAIN

OURS = ("ntasks", "ntasks-per-node", "gpus-per-node", "signal", "requeue", "no-requeue", "open-mode", "output", "chdir",
        "wrap")  # fmt: skip
"""What the script says itself, from the other settings or because stopping and going on rests on it."""

TIME = re.compile(r"\d+|\d+:\d\d|\d+:\d\d:\d\d|\d+-\d\d?(:\d\d){0,2}")
KEY = re.compile(r"[a-z][a-z0-9-]*")
VALUE = re.compile(r"[A-Za-z0-9_.:,/@%+=*\[\]()&|~-]*")


@dataclass(frozen=True)
class SlurmJob:
    """What a job asks Slurm for."""

    nodes: int = 1
    gpus: int = 1
    """Of each node; one process a GPU. 0 is a job without GPUs."""
    processes: int = 1
    """Processes a node, where there are no GPUs."""
    warn: int = 120
    """Seconds before its time is up at which the job is warned: time for saving."""
    restarts: int = 3
    """How often torchrun starts a run again whose process has died; it goes on from the last saved state."""
    options: tuple[tuple[str, str], ...] = ()
    """Further options of sbatch, as they are: partition, time, account, qos ..."""

    def __post_init__(self) -> None:
        for name, least in (("nodes", 1), ("gpus", 0), ("processes", 1), ("warn", 30), ("restarts", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"slurm's {name} must be at least {least}, got {getattr(self, name)}")
        for key, value in self.options:
            if key in OURS:
                raise ValueError(f"slurm's {key} is set by the script itself; leave it out")
            if not KEY.fullmatch(key) or not VALUE.fullmatch(value):
                raise ValueError(
                    f"{key}={value} is no option of sbatch: a word, =, and a value without spaces or quotes"
                )
            if key == "time" and not TIME.fullmatch(value):
                raise ValueError(f"slurm's time is minutes, H:MM:SS or D-HH:MM:SS, for example 12:00:00, not {value!r}")

    @classmethod
    def from_settings(cls, settings: Sequence[str]) -> "SlurmJob":
        """The job that ``settings`` ask for, each "key=value"; "key=" is an option without a value."""
        numbers: dict[str, int] = {}
        options: dict[str, str] = {}
        for setting in settings:
            key, equals, value = setting.partition("=")
            key = key.strip().lstrip("-").replace("_", "-")
            if not equals:
                raise ValueError(f"{setting!r} is not of the form key=value, partition=gpu for example")
            if key in ("nodes", "gpus", "processes", "warn", "restarts"):
                if not value.isdecimal():
                    raise ValueError(f"slurm's {key} must be a whole number, got {value!r}")
                numbers[key] = int(value)
            else:
                options[key] = value
        return cls(**numbers, options=tuple(options.items()))

    @property
    def processes_a_node(self) -> int:
        return self.gpus or self.processes


def sbatch_script(
    job: SlurmJob, spec: Path, folder: Path, working_folder: Path, binaries: Path, before: Sequence[str] = ()
) -> str:
    """The batch script of a run whose spec lies at ``spec`` and whose logs go into ``folder``.

    ``binaries`` is the folder of the Python environment's programs, torchrun among them; ``before`` are lines of shell to
    run first. All paths must be there on every node.
    """
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH --{key}={value}" if value else f"#SBATCH --{key}" for key, value in _directives(job, folder)),
        f"#SBATCH --chdir={shlex.quote(str(working_folder))}",
    ]
    values = {
        "BINARIES": shlex.quote(str(binaries)),
        "BEFORE": "\n".join(before),
        "NODES": str(job.nodes),
        "PROCESSES": str(job.processes_a_node),
        "RESTARTS": str(job.restarts),
        "WAIT": str(job.warn),
        "SHUTDOWN": str(max(20, job.warn - 15)),
        "SPEC": shlex.quote(str(spec)),
        "AGAIN": str(QUEUE_AGAIN),
    }
    return "\n".join(lines) + re.sub(r"@(\w+)@", lambda found: values[found[1]], TEMPLATE)


TEMPLATE = r"""
set -u
export PATH=@BINARIES@:"$PATH"
@BEFORE@
# Slurm warns this shell alone (B:USR1). The warning is passed on to srun, by it to torchrun on every node, and by that to
# the processes, which save the run and end with @AGAIN@. torchrun itself ends with 1 whatever they say.
warned=0
run=
pass_on() {
    warned=1
    interrupted=1
    if [ -n "$run" ]; then kill -s "$1" "$run" 2>/dev/null; fi
}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --wait=@WAIT@ torchrun --nnodes=@NODES@ --nproc-per-node=@PROCESSES@ --max-restarts=@RESTARTS@ \
    --rdzv-backend=c10d --rdzv-endpoint="$first:$((20000 + SLURM_JOB_ID % 20000))" \
    --rdzv-id="$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
    --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 --shutdown-timeout=@SHUTDOWN@ \
    -m commands train @SPEC@ --resume &
run=$!
if [ "$warned" -eq 1 ]; then kill -s USR1 "$run" 2>/dev/null; fi
interrupted=1
while [ "$interrupted" -eq 1 ]; do # a signal ends the wait, not the run
    interrupted=0
    wait "$run"
    code=$?
done

if [ "$code" -eq @AGAIN@ ] || { [ "$warned" -eq 1 ] && [ "$code" -ne 0 ] && [ "$code" -ne 2 ]; }; then
    echo "asked to stop: back into the queue, to go on from the saved state"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def _directives(job: SlurmJob, folder: Path) -> list[tuple[str, str]]:
    given = dict(job.options)
    gpus = [("gpus-per-node", str(job.gpus))] if job.gpus and "gres" not in given else []
    named = [] if "job-name" in given else [("job-name", _name(folder.parent.name))]
    return [
        *named,
        ("nodes", str(job.nodes)),
        ("ntasks-per-node", "1"),  # torchrun starts the processes of its node
        *gpus,
        *given.items(),
        ("requeue", ""),
        ("open-mode", "append"),
        ("signal", f"B:USR1@{job.warn}"),
        ("output", shlex.quote(str(folder / "%j.log"))),
    ]


def _name(folder: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", folder) or "saes"
