"""What two stores hold, compared byte by byte."""

import hashlib
from pathlib import Path

# What is no result: how a build went, and which folder it came from.
_NOT_DATA = ("journal", "zarr.json", "build.lock")


def array_digests(store: Path) -> dict[str, str]:
    """Return a digest per file of array data, by its path in the store, and of proteins.csv."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.relative_to(store).parts[0] not in _NOT_DATA
    }
