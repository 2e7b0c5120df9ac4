"""
Score methods that predict shapes, for several numbers of views: intersection over union (IoU), Chamfer distance, poses.

With --store and --out, several methods are scored in one table, on the same proteins, seen by the same views:

    mean-shape        the mean training shape in the frame of the first view; no image is used
    paper, view       trained runs of recon.train (--paper-run, --view-run), which answer in the axes of the structure
                      file (column frame: pdb) and in those of the first view (turned)
    known             carved with the true orientations, the limit of carving
    register          orientations found from the height maps alone, then carved; nothing is trained
    register+refine   the same, refined by a small network

Each protein is scored in the frame that the method answers in. --out is the table; beside it lie the scores of each
protein, the calibration, the proteins that failed, the best, the median and the worst prediction, and the poses and
scores from which a stopped command goes on. Ranks (torchrun, srun, submitit) share the proteins. The exit status is 1
when some proteins failed.

With --run, one trained network is scored.

Training, validation and test proteins are those of the run's config.json; each is seen by a fixed draw of its views,
which the run keeps in evaluation_views.csv. The threshold is chosen on the training proteins, once per number of views.
Ranks share the proteins. Written into the run's folder:

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
from recon.shapes.shape_options import add_shape_options, default_methods, shape_task
from recon.shapes.shape_task import SHAPE_METHODS
from recon.train_config import TrainConfig

if TYPE_CHECKING:
    from recon.scores import ScoreRow

logger = logging.getLogger(__name__)

DEFAULT_VIEW_COUNTS = (1, 3, 5, 8, 10)
NETWORK = "network"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.evaluate`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--run", type=Path, help="folder of a run of recon.train, for the method network")
    add(
        "--method",
        nargs="+",
        choices=(NETWORK, *SHAPE_METHODS),
        help="how shapes are predicted; all but network may be given together (default: network with --run, else "
        "register+refine, or register where the package lacks the refiner's weights, as for a tip)",
    )
    add(
        "--views",
        type=int,
        nargs="+",
        default=list(DEFAULT_VIEW_COUNTS),
        help="numbers of views to score with (default: 1 3 5 8 10)",
    )
    add("--store", type=Path, help="dataset (default: the one that the run was trained on)")
    add("--out", type=Path, help="table of all methods but network")
    add("--device", choices=("auto", "cpu", "gpu"), default="auto", help="what computes (default: %(default)s)")
    add_shape_options(parser)
    for name, words in (("validation_fraction", "validation"), ("test_fraction", "test")):
        default = getattr(TrainConfig, name)
        add(f"--{words}-fraction", type=float, default=default, help=f"share of the split {words} (default: {default})")
    add("--seed", type=int, default=0, help="seed of the split and of the draw of views (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    place = place_in(os.environ)
    set_up_logging(place.rank, place.size)
    try:
        if arguments.method == [NETWORK] or (arguments.method is None and arguments.run):
            return _evaluate_network(arguments)
        return _evaluate_shapes(arguments)
    except (ValueError, OSError, OtherRankError, LostRankError) as error:
        sys.stderr.write(f"recon.evaluate: {error}\n")
        return 2


def _evaluate_network(arguments: argparse.Namespace) -> int:
    """Score a run by itself; return the exit status."""
    if arguments.run is None:
        raise ValueError("the method network needs --run; other methods need --store and --out")
    for row in evaluate(arguments.run, arguments.views, arguments.store, arguments.device):
        logger.info(
            "%2d views, %-10s IoU %.3f (%.3f to %.3f), mean shape %.3f, best ball %.3f",
            *(row.views, row.split, row.iou_mean, row.iou_low, row.iou_high, row.mean_shape_iou, row.best_ball_iou),
        )
    return 0


def _evaluate_shapes(arguments: argparse.Namespace) -> int:
    """Score methods in one table; return the exit status."""
    if NETWORK in (arguments.method or ()) or arguments.store is None or arguments.out is None:
        raise ValueError(
            f"the methods {', '.join(SHAPE_METHODS)} need --store and --out; give network alone, with --run"
        )
    from recon.shapes.evaluate_shapes import evaluate_shapes

    task = shape_task(arguments, arguments.method or default_methods(arguments))
    table = evaluate_shapes(task, arguments.out)
    for row in table.rows:
        logger.info(
            "%2d views, %-15s IoU %.3f (%.3f to %.3f), Chamfer %.3f nm, pose error %.2f degrees",
            *(row.views, row.method, row.iou_mean, row.iou_low, row.iou_high),
            *(row.chamfer_nm_mean, row.pose_error_deg_median),
        )
    if table.failures:
        first = table.failures[0]
        logger.error("%d proteins failed; the first, %s: %s", len(table.failures), first.protein_id, first.reason)
    return 1 if table.failures else 0


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
