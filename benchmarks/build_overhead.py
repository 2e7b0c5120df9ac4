"""
What a build costs beside PyMOL: from file to store without a surface program, and with PyMOL against PyMOL alone.

    python benchmarks/build_overhead.py --structures DIR --num 50

PyMOL alone reads the same cleaned structures and makes the same surfaces, one process after the other; the build does
the same with all that follows, on one rank. Both have the whole machine.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from peers import structures_of_all_sizes

from afmsim import build
from afmsim.build_store import journaled_rows
from afmsim.pymol_surface import surface_mesh
from afmsim.source_list import find_sources


def timed_build_s(listed: Path, store: Path, surface: str) -> float:
    """Return the time from the first claim to the last protein."""
    started_s = time.perf_counter()
    status = build.main([f"--structures={listed}", f"--store={store}", f"--surface={surface}"])
    assert status == 0, f"the build ended with {status}"
    return time.perf_counter() - started_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    parser.add_argument("--num", type=int, default=50, help="structures of all sizes to take (default: %(default)s)")
    args = parser.parse_args()
    structures = structures_of_all_sizes(args.structures, args.num)
    path_of = {source.protein_id: source.path for source in find_sources(args.structures)}
    surface_mesh(structures[0].mmcif_text)  # PyMOL has started
    pymol_s = []
    for structure in structures:
        started_s = time.perf_counter()
        surface_mesh(structure.mmcif_text)
        pymol_s.append(time.perf_counter() - started_s)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "structures.txt"
        listed.write_text("".join(f"{path_of[structure.protein_id].resolve()}\n" for structure in structures))
        timed_build_s(listed, Path(folder) / "warm.zarr", "ses")  # compiled code is there
        ses_s = timed_build_s(listed, Path(folder) / "ses.zarr", "ses")
        rows = journaled_rows(Path(folder) / "ses.zarr")
        with_pymol_s = timed_build_s(listed, Path(folder) / "pymol.zarr", "pymol")
    of_protein_s = [row["elapsed_s"] for row in rows.values()]
    print(f"\n{len(structures)} structures of {structures[0].num_atoms} to {structures[-1].num_atoms} atoms")
    print(f"ses, file to sample: median {statistics.median(of_protein_s):.3f} s, largest {max(of_protein_s):.2f} s")
    print(f"ses, whole build:    {ses_s / len(structures):.3f} s per protein, written and journaled")
    print(f"PyMOL alone:         {sum(pymol_s):.1f} s, median {np.median(pymol_s):.2f} s")
    print(f"build with PyMOL:    {with_pymol_s:.1f} s, {with_pymol_s / sum(pymol_s):.2f} times PyMOL alone")


if __name__ == "__main__":
    main()
