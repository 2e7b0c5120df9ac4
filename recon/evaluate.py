"""
Score a method by intersection over union, for several numbers of views.

With --method register (or register+refine, known) and --store, the views' orientations are found from the height maps
alone, the body is carved, and each protein is scored in the frame of its first view; no run is needed. `known` carves
with the true orientations, the limit of carving. --out is the table; beside it lie the scores of each protein, the
best, the median and the worst prediction, and the poses that were found.

With --run, a trained network is scored.

Training, validation and test proteins are those of the run's config.json; each is seen by a fixed draw of its views,
which the run keeps in evaluation_views.csv. The threshold is chosen on the training proteins, once per number of views.
Ranks (torchrun, srun, submitit) share the proteins. Written into the run's folder:

    iou_by_views.csv      mean, spread and bootstrap interval per number of views and split, and two baselines: the
                          mean training shape and the best ball, which look at no image
    iou_by_size.csv       the same by size of the protein
    iou_per_protein.csv   the same, protein by protein
    baselines.csv         the baselines with their spread
    results.json          settings, versions, commit and the table, in one file
    predictions/*.npz     probability and truth of a few proteins of training and validation
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging
from recon.distributed import LostRankError, OtherRankError, joined_ranks, place_in
from recon.scan_options import add_scan_options

if TYPE_CHECKING:
    from recon.scores import ScoreRow

logger = logging.getLogger(__name__)

DEFAULT_VIEW_COUNTS = (1, 3, 5, 8, 10)
NETWORK = "network"
SHAPE_METHODS = ("known", "register", "register+refine")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.evaluate`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="folder of a run of recon.train, for the method network")
    parser.add_argument(
        "--method",
        nargs="+",
        choices=(NETWORK, *SHAPE_METHODS),
        default=[NETWORK],
        help="how shapes are predicted; all but network may be given together (default: network)",
    )
    parser.add_argument(
        "--split",
        choices=("all", "train", "validation", "test"),
        default="all",
        help="proteins that are scored, not for the method network (default: %(default)s)",
    )
    parser.add_argument(
        "--test-fraction", type=float, default=0.1, help="share of the split test (default: %(default)s)"
    )
    parser.add_argument(
        "--exclude", type=Path, help="file of protein ids whose families are left out, since choices were made by them"
    )
    parser.add_argument("--max-proteins", type=int, help="score only the first so many (default: all)")
    parser.add_argument("--refiner", type=Path, help="weights of recon.train_carve_refiner, for register+refine")
    parser.add_argument(
        "--target-size", type=int, default=32, help="voxels per axis that methods carve (default: %(default)s)"
    )
    add_scan_options(parser)
    parser.add_argument("--out", type=Path, help="table of all methods but network")
    parser.add_argument(
        "--views",
        type=int,
        nargs="+",
        default=list(DEFAULT_VIEW_COUNTS),
        help="numbers of views to score with (default: 1 3 5 8 10)",
    )
    parser.add_argument("--store", type=Path, help="dataset (default: the one that the run was trained on)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto", help="what computes (default: %(default)s)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    place = place_in(os.environ)
    set_up_logging(place.rank, place.size)
    try:
        if arguments.method != [NETWORK]:
            return _evaluate_shapes(arguments)
        if arguments.run is None:
            raise ValueError("the method network needs --run; other methods need --store and --out")
        rows = evaluate(arguments.run, arguments.views, arguments.store, arguments.device)
    except (ValueError, OSError, OtherRankError, LostRankError) as error:
        sys.stderr.write(f"recon.evaluate: {error}\n")
        return 2
    for row in rows:
        logger.info(
            "%2d views, %-10s IoU %.3f (%.3f to %.3f), mean shape %.3f, best ball %.3f",
            *(row.views, row.split, row.iou_mean, row.iou_low, row.iou_high, row.mean_shape_iou, row.best_ball_iou),
        )
    return 0


def _evaluate_shapes(arguments: argparse.Namespace) -> int:
    """Score methods that need no run; return the exit status."""
    from recon.evaluate_shapes import ShapeTask, evaluate_shapes

    if NETWORK in arguments.method or arguments.store is None or arguments.out is None:
        raise ValueError(f"the methods {', '.join(SHAPE_METHODS)} need --store and --out; give network alone")
    task = ShapeTask(
        store=arguments.store,
        methods=arguments.method,
        view_counts=arguments.views,
        split=arguments.split,
        refiner=arguments.refiner,
        target_size=arguments.target_size,
        test_fraction=arguments.test_fraction,
        max_proteins=arguments.max_proteins,
        exclude=arguments.exclude,
        noise_sigma_nm=arguments.noise_sigma_nm,
        tip_radius_nm=arguments.tip_radius_nm,
        tip_half_angle_deg=arguments.tip_half_angle_deg,
        restorer=arguments.restorer,
    )
    for row in evaluate_shapes(task, arguments.out):
        logger.info(
            "%2d views, %-15s IoU %.3f (%.3f to %.3f), Chamfer %.3f nm, pose error %.2f degrees",
            *(row.views, row.method, row.iou_mean, row.iou_low, row.iou_high),
            *(row.chamfer_nm_mean, row.pose_error_deg_median),
        )
    return 0


def evaluate(
    run_path: Path, view_counts: Sequence[int], store: Path | None = None, device_name: str = "auto"
) -> "list[ScoreRow]":
    """
    Score the run's last snapshot and write the results into its folder; return the rows of iou_by_views.csv.

    Raises
    ------
    ValueError
        There is no trained run, or the dataset lacks its proteins or that many views.
    recon.distributed.OtherRankError, recon.distributed.LostRankError
        Another rank failed or vanished.
    """
    from recon.evaluation import Evaluation
    from recon.torch_device import torch_device

    place = place_in(os.environ)
    device = torch_device(device_name, place.local_rank)
    with joined_ranks(place, device) as ranks:
        evaluation = Evaluation(run_path, store, device, ranks)
        evaluation.check_view_counts(view_counts)
        scores = {num_views: evaluation.scores(num_views) for num_views in sorted(set(view_counts))}
        if ranks.is_main:
            evaluation.write(scores)
        ranks.barrier()
        return evaluation.rows(scores)


if __name__ == "__main__":
    sys.exit(main())
