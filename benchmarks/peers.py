"""What the benchmarks share: real structures of all sizes, medians, tables of ratios."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from afmsim.source_list import estimated_num_atoms, find_sources
from afmsim.structure import Structure, read_structure

MOST_ATOMS_FOR_PYMOL = 60_000
"""PyMOL takes minutes for a ribosome; what is compared with it stays below."""


def structures_of_all_sizes(path: Path, num_structures: int) -> list[Structure]:
    """Return structures spread evenly over the sizes of a folder or list, those too large for PyMOL left out."""
    sized = [(estimated_num_atoms(source.path), source) for source in find_sources(path)]
    sources = [source for size, source in sorted(sized, key=lambda pair: pair[0]) if size <= MOST_ATOMS_FOR_PYMOL]
    chosen = np.unique(np.linspace(0, len(sources) - 1, min(num_structures, len(sources))).astype(int))
    return [read_structure(sources[index].path) for index in chosen]


def median_s(function: Callable[[], Any], num_runs: int = 3) -> tuple[float, Any]:
    """Return the median time of a function and its last result; the first call, which may compile, is not counted."""
    result = function()
    times_s = []
    for _ in range(num_runs):
        started_s = time.perf_counter()
        result = function()
        times_s.append(time.perf_counter() - started_s)
    return statistics.median(times_s), result


def once_s(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the time of one call of a slow peer and its result."""
    started_s = time.perf_counter()
    result = function()
    return time.perf_counter() - started_s, result


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Return intersection over union of two grids of 0 and 1."""
    return float((first & second).sum() / (first | second).sum())


def print_ratios(ours: str, ours_s: Sequence[float], peers_s: dict[str, Sequence[float]]) -> None:
    """Print median and sum of all times and how many times longer each peer took."""
    print(f"\n{'':28} {'median (ms)':>12} {'sum (s)':>9} {'ratio of sums':>14} {'median ratio':>13}")
    print(f"{ours:28} {statistics.median(ours_s) * 1e3:>12.1f} {sum(ours_s):>9.2f}")
    for name, times_s in peers_s.items():
        ratios = [peer / own for peer, own in zip(times_s, ours_s, strict=True)]
        total = sum(times_s) / sum(ours_s)
        print(
            f"{name:28} {statistics.median(times_s) * 1e3:>12.1f} {sum(times_s):>9.2f} {total:>14.1f} "
            f"{statistics.median(ratios):>13.1f}"
        )
