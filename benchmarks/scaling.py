"""Tokens a second of one training step: with 1, 2, 4 processes on this machine's cores, and with ever more latents.

python benchmarks/scaling.py [--processes 1,2,4] [--d-sae 4096,16384,65536,262144] [--json] [--record]

All configurations share the cores, so more processes can win nothing but what one process cannot keep busy; what they cost
is what the exchange between them costs. "processes" splits the rows, "latent_processes" the latents; both use the same sums
(kernels.cpu) with any number of processes, and "fastest" splits the rows with the kernel that is chosen by itself. "d_sae" is one process, "d_sae_latent_2" two that share the latents. Medians over steps.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time

from record import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=_numbers, default=[1, 2, 4], metavar="N,N")
    parser.add_argument("--d-sae", type=_numbers, default=[4096, 16384, 65536, 262144], metavar="N,N")
    parser.add_argument("--at", type=int, default=16384, metavar="N", help="latents while the processes vary")
    parser.add_argument("--d-in", type=int, default=256, metavar="N")
    parser.add_argument("--rows", type=int, default=2048, metavar="N", help="of the global batch")
    parser.add_argument("--sparsity", default="topk")
    parser.add_argument("--k", type=int, default=32, metavar="N")
    parser.add_argument("--steps", type=int, default=7, metavar="N")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measured(**json.loads(arguments.worker))))
        return
    sizes = {name: getattr(arguments, name) for name in ("d_in", "rows", "sparsity", "k", "steps")}

    def speed(processes: int, latent_ranks: int, d_sae: int, kernels: str = "cpu") -> int:
        return launched(processes, {**sizes, "latent_ranks": latent_ranks, "d_sae": d_sae, "kernels": kernels})

    many = [n for n in arguments.processes if n > 1]
    result = {
        "processes": {str(n): speed(n, 1, arguments.at) for n in arguments.processes},
        "latent_processes": {str(n): speed(n, n, arguments.at) for n in many},
        "fastest": {str(n): speed(n, 1, arguments.at, "auto") for n in arguments.processes},
        "d_sae": {str(n): speed(1, 1, n) for n in arguments.d_sae},
        "d_sae_latent_2": {str(n): speed(2, 2, n) for n in arguments.d_sae},
        "sizes": {**sizes, "d_sae": arguments.at},
    }
    if arguments.record:
        record("scaling", result)
    print(json.dumps(result, indent=None if arguments.json else 2))


def launched(processes: int, settings: dict) -> int:
    """Tokens a second of so many processes that share this machine's cores evenly."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = max(1, (os.cpu_count() or 1) // processes)
    place = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
             "OMP_NUM_THREADS": threads}  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps(settings)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, **{name: str(value) for name, value in place.items()}, "RANK": str(n), "LOCAL_RANK": str(n)},
        )
        for n in range(processes)
    ]  # fmt: skip
    told = [rank.communicate()[0] for rank in ranks]
    if any(rank.returncode for rank in ranks):
        raise RuntimeError(f"a process of {processes} failed with {settings}")
    return round(json.loads(told[0])["tokens_per_second"])


def measured(
    d_in: int, d_sae: int, rows: int, sparsity: str, k: int, steps: int, latent_ranks: int, kernels: str
) -> dict:
    """On one rank: the median speed of the step, gradient clipping and all, on activations that are sparse sums."""
    import torch

    from saes.autoencoder import SAEConfig, SparseAutoencoder
    from saes.kernels.choose import choose_step
    from saes.kernels.slices import latents_of
    from saes.kernels.step import StepSettings
    from training.ranks import join_ranks

    ranks = join_ranks(latent_ranks, rows, "cpu")
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(4 * d_in, d_in, generator=generator)
    codes = torch.rand(rows, 4 * d_in, generator=generator)
    x = (codes * (codes > 0.98)) @ directions + 0.1 * torch.randn(rows, d_in, generator=generator)
    sae = latents_of(SparseAutoencoder(SAEConfig(d_in, d_sae, sparsity, k)), ranks.axes)
    step = choose_step(sae, StepSettings(clip_norm=1.0), kernels)
    own, times = ranks.axes.own(x).clone(), []
    for _ in range(steps + 2):  # the first ones still find their memory
        ranks.wait()
        began = time.perf_counter()
        step(own, 1e-4)
        times.append(time.perf_counter() - began)
    return {"tokens_per_second": rows / statistics.median(times[2:])}


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
