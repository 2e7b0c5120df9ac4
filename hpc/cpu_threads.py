"""Cores shared evenly between the ranks of a node."""

import os


def num_usable_cores() -> int:
    """Return how many cores this process may use, as its affinity (set by Slurm, for instance) says."""
    return len(os.sched_getaffinity(0))


def share_cores(local_size: int) -> int:
    """Give this rank its share of the node's cores for compiled parallel code; return the number of threads."""
    import numba

    num_threads = max(1, min(num_usable_cores() // local_size, numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(num_threads)
    return num_threads
