"""
One build of a store at a time: a lock file that outlives neither its holder nor a lost node.

Kernel locks are not reliable on every shared file system, so the lock is a file that is linked into place (atomic on
NFS too) and touched now and then. A lock is stale when its process is gone from this host, when it belongs to an
earlier life of this very Slurm job, or when it has not been touched for some minutes.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TOUCH_INTERVAL_S = 20.0
# A holder on another host counts as lost after this long without a touch, by the file system's own clock.
_LOST_AFTER_S = 180.0


class StoreLockedError(ValueError):
    """Another process works on the store."""


@contextmanager
def store_lock(path: Path) -> Iterator[None]:
    """
    Hold the lock file `path` while the block works.

    Raises
    ------
    StoreLockedError
        Another living process holds it.
    """
    mine = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    mine.write_text(json.dumps(_holder_of_this_process()), encoding="utf-8")
    try:
        _claim(path, mine)
    finally:
        mine.unlink()
    released = threading.Event()
    touching = threading.Thread(target=_keep_touching, args=(path, released), daemon=True)
    touching.start()
    try:
        yield
    finally:
        released.set()
        touching.join()
        path.unlink(missing_ok=True)


def _claim(path: Path, mine: Path) -> None:
    """Link `mine` to `path`; a stale lock in the way is taken away first."""
    for _ in range(3):
        try:
            path.hardlink_to(mine)
            return
        except FileExistsError:
            held = _read(path)
        if held is None:
            continue
        if not _is_stale(path, held, now_s=mine.stat().st_mtime):
            raise StoreLockedError(
                f"{path.parent} is being built by process {held.get('pid')} on {held.get('host')}"
                + (f" (Slurm job {held['job_id']})" if held.get("job_id") else "")
                + f"; wait until it ends, or remove {path} if you know that it is gone"
            )
        path.unlink(missing_ok=True)
    raise StoreLockedError(f"{path.parent} is being claimed by several builds at once; start one again")


def _holder_of_this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _start_ticks(os.getpid()),
        "job_id": os.environ.get("SLURM_JOB_ID", ""),
    }


def _read(path: Path) -> dict[str, Any] | None:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}


def _is_stale(path: Path, held: dict[str, Any], now_s: float) -> bool:
    if held.get("host") == socket.gethostname():
        return _start_ticks(held.get("pid", 0)) != held.get("started")
    if held.get("job_id") and held["job_id"] == os.environ.get("SLURM_JOB_ID"):
        return True
    try:
        return now_s - path.stat().st_mtime > _LOST_AFTER_S
    except FileNotFoundError:
        return True


def _start_ticks(pid: int) -> str:
    """Return when a living process started, as /proc says it; an empty text for one that is gone or a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]


def _keep_touching(path: Path, released: threading.Event) -> None:
    while not released.wait(_TOUCH_INTERVAL_S):
        if path.exists():
            os.utime(path)
