"""What came of a build, in a few lines of the log."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from afmsim.dataset import TABLE_NAME, ProteinRow

logger = logging.getLogger(__name__)

_MAX_FAILURES_SHOWN = 10


def log_summary(store: Path, table: Sequence[ProteinRow], built: Sequence[dict[str, Any]], elapsed_s: float) -> None:
    """
    Log failures, speed and totals.

    Parameters
    ----------
    table
        All proteins of the store.
    built
        Journal rows of the proteins that this run made.
    """
    failed = [row for row in table if row.status == "failed"]
    for row in failed[:_MAX_FAILURES_SHOWN]:
        logger.warning("failed: %s: %s", row.protein_id, row.reason)
    if len(failed) > _MAX_FAILURES_SHOWN:
        logger.warning("and %d more; all stand in %s", len(failed) - _MAX_FAILURES_SHOWN, store / TABLE_NAME)
    if built:
        busy_s = sum(row["elapsed_s"] for row in built)
        surface_s = sum(row["surface_s"] for row in built)
        logger.info(
            "%d proteins in %.1f s: %.1f per minute, %.0f %% of the ranks' time in the surface",
            len(built),
            elapsed_s,
            60.0 * len(built) / elapsed_s,
            100.0 * surface_s / busy_s if busy_s else 0.0,
        )
    num_done = sum(row.status == "done" for row in table)
    logger.info("%s: %d of %d proteins done, %d failed", store, num_done, len(table), len(failed))
