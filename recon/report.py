"""Write a report of scored runs and of a table of all methods: one HTML page that needs no other file."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging

if TYPE_CHECKING:
    from recon.reporting.run_results import RunResult

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.report`."""
    parser = argparse.ArgumentParser(prog="python -m recon.report", description=__doc__)
    parser.add_argument("--runs", type=Path, help="folder that holds the runs' folders")
    parser.add_argument("--shapes", type=Path, help="table of all methods that recon.evaluate --out wrote")
    parser.add_argument("--out", type=Path, required=True, help="HTML file to write")
    parser.add_argument(
        "--sheet", type=Path, help="PNG picture of the dataset (default: drawn from the dataset, if it is there)"
    )
    parser.add_argument("--store", type=Path, help="dataset (default: the one of the first run)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    try:
        write_report(arguments.runs, arguments.out, arguments.sheet, arguments.store, arguments.shapes)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"recon.report: {error}\n")
        return 2
    logger.info("wrote %s", arguments.out)
    return 0


def write_report(
    runs: Path | None,
    out: Path,
    sheet: Path | None = None,
    store: Path | None = None,
    shapes: Path | None = None,
) -> None:
    """
    Write the page to `out`.

    Raises
    ------
    ValueError
        There is neither a folder of runs nor a table, or the table is none of recon.evaluate.
    recon.run_folder.RunError
        There is no scored run in `runs`.
    """
    from hpc.atomic_file import write_text_atomically
    from recon.reporting.page_parts import whole_page

    if runs is None and shapes is None:
        raise ValueError("got nothing to report; give --runs, a folder of runs, or --shapes, a table of all methods")
    sections = []
    if shapes is not None:
        from recon.reporting.shape_page import shape_sections

        sections += shape_sections(shapes)
    if runs is not None:
        sections += _run_sections(runs, sheet, store)
    write_text_atomically(out, whole_page(sections))


def _run_sections(runs: Path, sheet: Path | None, store: Path | None) -> list[str]:
    from recon.reporting import figures
    from recon.reporting.report_page import ReportImages, headline, run_sections
    from recon.reporting.run_results import read_results

    results = read_results(runs)
    shown, _ = headline(results)
    store = store or Path(shown.record.config.store)
    images = ReportImages(
        sheet=figures.png_data_uri(sheet.read_bytes()) if sheet else _drawn_sheet(store),
        training_curves=figures.training_curves(results),
        iou_by_views=figures.iou_by_views(results),
        learning_curve=figures.learning_curve(results),
        training_predictions=_predictions(shown, "train"),
        validation_predictions=_predictions(shown, "validation"),
    )
    return run_sections(results, images, _dataset_facts(store))


def _predictions(result: "RunResult", split: str) -> str:
    from recon.reporting import figures

    chosen = [prediction for prediction in result.predictions if prediction.split == split]
    if not chosen:
        return ""
    trained_views = result.record.config.views
    nearest = min(result.scores, key=lambda row: abs(row.views - trained_views))
    return figures.predictions_figure(chosen, nearest.threshold)


def _drawn_sheet(store: Path) -> str:
    """Return the dataset's contact sheet as a data URI, empty where there is no dataset any more."""
    from afmsim.dataset import open_dataset
    from afmsim.preview import draw_contact_sheet
    from recon.reporting import figures

    if not store.exists():
        return ""
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.png"
        draw_contact_sheet(open_dataset(store), sheet)
        return figures.png_data_uri(sheet.read_bytes())


def _dataset_facts(store: Path) -> dict[str, str]:
    from afmsim.dataset import open_dataset

    if not store.exists():
        return {"dataset": store.name}
    dataset = open_dataset(store)
    return {
        "dataset": store.name,
        "proteins": f"{len(dataset.done_indices)} done of {len(dataset.protein_ids)} structure files",
        "views per protein": str(dataset.num_views),
        "images": f"{dataset.image_size} by {dataset.image_size} pixels",
        "fine grid, target grid": f"{dataset.grid_size}³ voxels, {dataset.target_size}³ voxels",
    }


if __name__ == "__main__":
    sys.exit(main())
