"""Options of the commands that score all methods in one table, and the task that they become."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from recon.poses.scan_options import add_scan_options
from recon.shapes.shape_task import REFINE, REGISTER, SPLITS, ShapeTask


def add_shape_options(parser: argparse.ArgumentParser) -> None:
    """Give `parser` what a `ShapeTask` is asked for beside the dataset, the views and the split's fractions."""
    group = parser.add_argument_group("the table of all methods")
    add = group.add_argument
    add("--split", choices=SPLITS, default="all", help="proteins that are scored (default: %(default)s)")
    add("--exclude", type=Path, help="file of protein ids whose families are left out, since choices were made by them")
    add("--max-proteins", type=int, help="score only the first so many (default: all)")
    add("--refiner", type=Path, help=f"weights for {REFINE} (default: those that come with the package)")
    add("--paper-run", type=Path, nargs="+", default=[], metavar="RUN", help="runs of recon.train for the method paper")
    add(
        "--view-run",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs of recon.train --frame view for the method view; for each number of views the nearest run is taken",
    )
    add("--target-size", type=int, default=32, help="voxels per axis that methods predict (default: %(default)s)")
    add_scan_options(parser)


def shape_task(arguments: argparse.Namespace, methods: Sequence[str]) -> ShapeTask:
    """
    Return the task that parsed arguments ask for.

    Raises
    ------
    ValueError
        They contradict each other.
    """
    return ShapeTask(
        store=Path(arguments.store).resolve(),
        methods=tuple(methods),
        view_counts=tuple(arguments.views),
        split=arguments.split,
        refiner=_resolved(arguments.refiner),
        paper_runs=tuple(path.resolve() for path in arguments.paper_run),
        view_runs=tuple(path.resolve() for path in arguments.view_run),
        target_size=arguments.target_size,
        validation_fraction=arguments.validation_fraction,
        test_fraction=arguments.test_fraction,
        max_proteins=arguments.max_proteins,
        exclude=_resolved(arguments.exclude),
        noise_sigma_nm=arguments.noise_sigma_nm,
        tip_radius_nm=arguments.tip_radius_nm,
        tip_half_angle_deg=arguments.tip_half_angle_deg,
        restorer=_resolved(arguments.restorer),
        seed=arguments.seed,
        device=arguments.device,
    )


def default_methods(arguments: argparse.Namespace) -> list[str]:
    """Return what is scored when nothing is said: registration, refined where there are weights for it."""
    from recon.shapes.carve_refiner import default_refiner_path

    has_weights = arguments.refiner or default_refiner_path(arguments.tip_radius_nm is not None).is_file()
    return [REFINE if has_weights else REGISTER]


def _resolved(path: Path | None) -> Path | None:
    return path.resolve() if path else None
