"""A short name for the content of a file."""

import hashlib
from pathlib import Path


def file_digest(path: Path) -> str:
    """Return 16 hexadecimal digits that differ where the content differs."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:16]
