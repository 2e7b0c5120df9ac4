"""Logs that say which rank speaks; set up by the entry point, never at import."""

import logging
import sys


def set_up_logging(rank: int = 0, size: int = 1) -> None:
    """Log to standard error: rank 0 from INFO on, the others warnings only."""
    origin = f" {rank}/{size}" if size > 1 else ""
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.WARNING,
        format=f"%(asctime)s{origin} %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
