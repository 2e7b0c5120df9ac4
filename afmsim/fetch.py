"""
Fetch structures by id from the Protein Data Bank, or from a server laid out like it.

    python -m afmsim.fetch --ids ids.txt --out structures
    python -m afmsim.build --structures structures --store dataset.zarr

Files appear as DIR/<id>.cif.gz, each seen to hold a protein; the same command continues what was begun and asks again
for what is missing. What could not be had stands in DIR/failed.csv.

Exit status: 0 every id is there; 1 some failed; 2 the command cannot be carried out; 130 interrupted.
"""

import argparse
import csv
import io
import logging
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from afmsim.download import Downloader, DownloadError, DownloadSettings, gzip_problem
from afmsim.structure_check import StructureCheck
from hpc.atomic_file import write_text_atomically
from hpc.logs import set_up_logging
from hpc.progress import Progress

logger = logging.getLogger(__name__)

DEFAULT_BASE_URL = "https://files.rcsb.org/download"
FAILED_NAME = "failed.csv"

# The whole alphabet of what becomes a part of a URL or of a path.
_PDB_ID = re.compile(r"[0-9][A-Za-z0-9]{3}|[Pp][Dd][Bb]_[0-9][A-Za-z0-9]{7}")
_ALPHAFOLD_ID = re.compile(r"AF-[A-Z0-9]{6,10}-F[0-9]{1,4}-model_v[0-9]{1,2}")
_MAX_PARALLEL = 32
_MAX_FAILURES_SHOWN = 10
_MAX_ID_SHOWN = 60


@dataclass(frozen=True)
class Failure:
    """One row of the table of failures."""

    entry_id: str
    reason: str
    num_attempts: int


def main(argv: list[str] | None = None) -> int:
    """Fetch the structures that the command line asks for; return the exit status."""
    args = _parser().parse_args(argv)
    set_up_logging()
    try:
        return _fetch(args)
    except ValueError as error:
        logger.error("%s", error)
        return 2
    except KeyboardInterrupt:
        logger.warning("interrupted; the same command continues")
        return 130


def _fetch(args: argparse.Namespace) -> int:
    entry_ids = read_ids(args.ids)
    downloader = Downloader(args.base_url, _settings(args))
    _make_folder(args.out)
    with StructureCheck() as check:

        def fetch_one(entry_id: str) -> Failure | None:
            return _fetch_one(entry_id, args.out, f".{args.format}.gz", downloader, check)

        failures = _fetch_all(entry_ids, fetch_one, args.parallel, downloader)
    write_failures(args.out / FAILED_NAME, failures)
    _log_summary(len(entry_ids), failures, args.out)
    return 1 if failures else 0


def _fetch_one(
    entry_id: str, folder: Path, suffix: str, downloader: Downloader, check: StructureCheck
) -> Failure | None:
    """Fetch one structure, unless it is there; return why it could not be had."""
    stem = remote_stem(entry_id)
    if stem is None:
        return Failure(entry_id, "not an id of the Protein Data Bank, such as 4hhb or pdb_00004hhb", 0)
    path = folder / f"{stem.lower()}{suffix}"
    if path.is_file() and not gzip_problem(path):
        return None
    try:
        downloader.download(stem + suffix, path, lambda received: check(received, path.name))
    except DownloadError as error:
        return Failure(entry_id, str(error), error.num_attempts)
    return None


def _fetch_all(
    entry_ids: list[str], fetch_one: Callable[[str], Failure | None], num_parallel: int, downloader: Downloader
) -> list[Failure]:
    """Fetch several at a time; return the failures in the order of the ids."""
    with ThreadPoolExecutor(num_parallel) as pool, Progress(len(entry_ids), "structures") as progress:
        futures = [pool.submit(fetch_one, entry_id) for entry_id in entry_ids]
        num_failed = 0
        try:
            for num_done, future in enumerate(as_completed(futures), start=1):
                num_failed += future.result() is not None
                progress.update(num_done, f"{num_failed} failed" if num_failed else "")
        except BaseException:
            downloader.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [failure for failure in (future.result() for future in futures) if failure is not None]


def read_ids(path: Path) -> list[str]:
    """
    Return the ids of a text file, each entry once, in the order of the file.

    Ids are separated by white space or commas; from # to the end of a line is a comment. `4hhb`, `4HHB` and
    `pdb_00004hhb` name one entry, which a data set must not hold twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ValueError(f"expected a text file of ids, got {path}: {error.strerror}") from None
    words = re.sub(r"#[^\n]*", "", text).replace(",", " ").split()
    entries: dict[str, str] = {}
    for word in words:
        entries.setdefault(word.lower().removeprefix("pdb_0000"), word)
    if not entries:
        raise ValueError(f"{path} holds no ids; expected one per line, such as 4hhb")
    return list(entries.values())


def remote_stem(entry_id: str) -> str | None:
    """Return what the id is called on the server, or nothing where it is not plainly an id."""
    if _PDB_ID.fullmatch(entry_id):
        return entry_id.lower()
    return entry_id if _ALPHAFOLD_ID.fullmatch(entry_id) else None


def write_failures(path: Path, failures: list[Failure]) -> None:
    """Write the table of failures, which has only its head where all went well."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["id", "reason", "attempts"])
    writer.writerows([_shown(failure.entry_id), failure.reason, failure.num_attempts] for failure in failures)
    write_text_atomically(path, table.getvalue())


def _shown(entry_id: str) -> str:
    """Return an id of whatever a file held so that a terminal or a table can show it."""
    return entry_id[:_MAX_ID_SHOWN].encode("unicode_escape").decode("ascii")


def _log_summary(num_ids: int, failures: list[Failure], folder: Path) -> None:
    for failure in failures[:_MAX_FAILURES_SHOWN]:
        logger.warning("failed: %s: %s", _shown(failure.entry_id), failure.reason)
    if len(failures) > _MAX_FAILURES_SHOWN:
        logger.warning("and %d more; all stand in %s", len(failures) - _MAX_FAILURES_SHOWN, folder / FAILED_NAME)
    logger.info("%s: %d of %d structures, %d failed", folder, num_ids - len(failures), num_ids, len(failures))


def _settings(args: argparse.Namespace) -> DownloadSettings:
    if not 1 <= args.parallel <= _MAX_PARALLEL:
        raise ValueError(f"--parallel is {args.parallel}; expected 1 to {_MAX_PARALLEL}")
    for name in ("attempts", "timeout_s", "first_delay_s", "max_file_mb"):
        if not vars(args)[name] > 0:
            raise ValueError(f"--{name.replace('_', '-')} is {vars(args)[name]}; expected more than 0")
    return DownloadSettings(
        num_attempts=args.attempts,
        stall_timeout_s=args.timeout_s,
        first_delay_s=args.first_delay_s,
        max_bytes=int(args.max_file_mb * 1e6),
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out is {folder}, which cannot be made a folder: {error.strerror}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m afmsim.fetch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--ids", type=Path, required=True, help="text file of ids, separated by lines, spaces or commas")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the files; continued if begun")
    add("--format", choices=("cif", "pdb"), default="cif", help="file format (default: %(default)s)")
    add("--base-url", default=DEFAULT_BASE_URL, metavar="URL", help="https folder of ID.cif.gz (default: %(default)s)")
    add("--parallel", type=int, default=8, help="files at a time, 1 to 32 (default: %(default)s)")
    add("--attempts", type=int, default=5, help="attempts per file (default: %(default)s)")
    add("--timeout-s", type=float, default=30.0, help="time without a byte in s (default: %(default)s)")
    add("--first-delay-s", type=float, default=1.0, help="first pause in s, doubled each time (default: %(default)s)")
    add("--max-file-mb", type=float, default=200.0, help="largest file, gzipped, in MB (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
