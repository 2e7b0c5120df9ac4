"""Real ranks of torch on this machine, started as torchrun would, without its seconds of start-up."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence


def start_ranks(num_ranks: int, *command: str) -> list[subprocess.Popen[str]]:
    """Start `python COMMAND` once per rank, each with one thread; the caller waits for them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env=os.environ
            | {
                "TORCHELASTIC_RUN_ID": "test",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(num_ranks),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_ranks)
    ]


def finish(ranks: Sequence[subprocess.Popen[str]], timeout_s: float = 240.0) -> list[tuple[int, str]]:
    """Wait for ranks; return status and standard error of each. None is left behind, in time or not."""
    try:
        errors = [rank.communicate(timeout=timeout_s)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, error) for rank, error in zip(ranks, errors, strict=True)]


def run_ranks(num_ranks: int, *command: str) -> list[tuple[int, str]]:
    """Run `python COMMAND` once per rank; return status and standard error of each."""
    return finish(start_ranks(num_ranks, *command))
