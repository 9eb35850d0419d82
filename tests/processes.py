"""Functions run by several processes at once, as torchrun would start them, without its seconds of importing torch."""

import io
import multiprocessing
import os
import socket
import time
import traceback

import torch

PRELOAD = ["torch", "torch._dynamo", "torch.distributed.device_mesh", "saes.kernels.choose", "training.loop"]


def on_ranks(size, function, *arguments, seconds=300):
    """What ``function(*arguments)`` gives on each rank; an exception on any is one here, and ends the others."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    port = free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [
        context.Process(target=_rank, args=(rank, size, port, pipes[rank][1], function, arguments), daemon=True)
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    results, waiting, until = {}, set(range(size)), time.monotonic() + seconds
    try:
        while waiting:
            for rank in sorted(waiting):
                if pipes[rank][0].poll(0.02):
                    done, value = pipes[rank][0].recv()
                    assert done, f"rank {rank} of {size} failed:\n{value}"
                    results[rank] = torch.load(io.BytesIO(value), weights_only=False)
                    waiting.discard(rank)
            assert time.monotonic() < until, f"ranks {sorted(waiting)} of {size} hang"
    finally:
        for process in processes:
            process.join(5 if len(results) == size else 0.1)
            process.kill()
    return [results[rank] for rank in range(size)]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _rank(rank, size, port, pipe, function, arguments):
    torch.set_num_threads(1)
    place = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
    os.environ |= {name: str(value) for name, value in place.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    try:
        value = io.BytesIO()  # tensors sent as they are would live in memory of a process that is about to end
        torch.save(function(*arguments), value)
        pipe.send((True, value.getvalue()))
    except BaseException:
        pipe.send((False, traceback.format_exc()))
