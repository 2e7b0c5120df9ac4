"""Which files a build is about: every file that was named, found or listed gets one place in the store."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from afmsim.structure import protein_id_from_path

# Read by `afmsim.structure`.
_SUPPORTED = (".pdb", ".ent", ".cif", ".mmcif")
# Structure formats that are not read: their files get a row with the reason instead of silently staying out.
_UNSUPPORTED = (".mmtf", ".bcif", ".pdbqt", ".pqr")
_COMPRESSED = ("", ".gz", ".xz", ".bz2", ".zst")
_STRUCTURE_SUFFIXES = tuple(kind + packed for kind in _SUPPORTED + _UNSUPPORTED for packed in _COMPRESSED)

# Typical bytes of text per heavy atom, and how well gzip packs them (median of some hundred PDB entries).
_BYTES_PER_ATOM = 95.0
_GZIP_RATIO = 4.6


@dataclass(frozen=True)
class Source:
    """One input file."""

    protein_id: str
    source_file: str
    """The file as it was listed: relative to the folder or the list, so that a moved copy is the same input."""
    path: Path


class SourceListError(ValueError):
    """No list of structures can be made of what was given."""


def find_sources(structures: Path) -> list[Source]:
    """
    Return the sources of a folder (sorted by name) or of a text file with one path per line (in its order).

    Paths in a list are relative to the list's folder; empty lines and lines that begin with # are passed over. Ids are
    unique: a second file of the same name gets a number behind it.
    """
    if structures.is_dir():
        names = sorted(
            str(path.relative_to(structures))
            for path in structures.rglob("*")
            if path.name.lower().endswith(_STRUCTURE_SUFFIXES) and not path.name.startswith(".") and path.is_file()
        )
        return _sources(names, structures)
    if structures.name.lower().endswith(_STRUCTURE_SUFFIXES):
        return _sources([structures.name], structures.parent)
    try:
        lines = structures.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise SourceListError(
            f"expected a folder of structure files or a text file that lists them, got {structures}: {error.strerror}"
        ) from None
    names = [line.strip() for line in lines]
    return _sources([name for name in names if name and not name.startswith("#")], structures.parent)


def _sources(names: Iterable[str], folder: Path) -> list[Source]:
    sources: list[Source] = []
    taken: set[str] = set()
    for name in names:
        stem = protein_id_from_path(Path(name))
        protein_id, number = stem, 2
        while protein_id in taken:
            protein_id, number = f"{stem}_{number}", number + 1
        taken.add(protein_id)
        sources.append(Source(protein_id, _printable(name), folder / name))
    if not sources:
        raise SourceListError(
            f"found no structure file in {folder}; expected names that end in {', '.join(_SUPPORTED)}, also with .gz"
        )
    return sources


def _printable(name: str) -> str:
    """Return a file name as one line of valid text: names on Linux may hold any byte, a table may not."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def estimated_num_atoms(path: Path) -> float:
    """Estimate the number of atoms from the size of the file, without reading it; 0 where there is none."""
    try:
        num_bytes = path.stat().st_size
    except OSError:
        return 0.0
    return num_bytes * (_GZIP_RATIO if path.suffix.lower() == ".gz" else 1.0) / _BYTES_PER_ATOM
