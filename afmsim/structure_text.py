"""The text of a structure file: unpacked within a limit, told apart by content, freed of what readers cannot take."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

DEFAULT_MAX_BYTES = 2**30
SUPPORTED_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")
SUPPORTED_TEXT = f"{', '.join(SUPPORTED_SUFFIXES)}, each also with .gz"

_CHUNK_BYTES = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_OTHER_COMPRESSIONS = {
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_MMCIF_START = re.compile(r"(?:\s|#[^\n]*\n)*data_", re.IGNORECASE)
_HTML_START = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)


class StructureError(ValueError):
    """A file holds no protein that can be read; the message is one sentence for the user."""


def read_text(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> str:
    """
    Return the text of a plain or gzipped structure file.

    Gzip is known by its first bytes, not by the name. Each byte becomes one character (latin-1), so that no comment in
    whatever encoding can stop a batch.

    Raises
    ------
    StructureError
        The file is missing, empty, binary, longer than `max_bytes` when unpacked, or packed by anything but gzip.
    """
    name = path.name
    if not unpacked_name(name).lower().endswith(SUPPORTED_SUFFIXES):
        raise StructureError(f"{name!r} is of an unknown format; expected a name that ends in {SUPPORTED_TEXT}")
    try:
        content = _unpack(path, max_bytes)
    except OSError as error:
        raise StructureError(f"{name!r} cannot be read: {error.strerror or error}; check the path") from None
    except zlib.error as error:
        raise StructureError(f"{name!r} is damaged gzip data ({error}); fetch the file again") from None
    for magic, kind in _OTHER_COMPRESSIONS.items():
        if content.startswith(magic):
            raise StructureError(f"{name!r} is {kind} data; unpack it, or pack it with gzip ({SUPPORTED_TEXT})")
    if not content.strip():
        raise StructureError(f"{name!r} is empty; expected the text of a PDB or mmCIF file")
    if b"\0" in content[:_CHUNK_BYTES]:
        raise StructureError(f"{name!r} is binary data; expected the text of a PDB or mmCIF file")
    # "\r\r\n" and lone "\r" come from files that crossed operating systems.
    return re.sub(r"\r+\n?", "\n", content.decode("latin-1"))


def unpacked_name(file_name: str) -> str:
    """Return the file name without `.gz`."""
    return file_name[:-3] if file_name.lower().endswith(".gz") else file_name


def _unpack(path: Path, max_bytes: int) -> bytes:
    """Read the file chunk by chunk, so that a gzip bomb is refused before it fills the memory."""
    if not path.is_file() and path.exists():
        raise StructureError(f"{path.name!r} is no regular file; expected the text of a PDB or mmCIF file")
    parts: list[bytes] = []
    num_bytes = 0
    with path.open("rb") as stream:
        is_gzip = stream.read(2) == _GZIP_MAGIC
        stream.seek(0)
        plain = iter(lambda: stream.read(_CHUNK_BYTES), b"")
        for part in _gunzip(plain) if is_gzip else plain:
            num_bytes += len(part)
            if num_bytes > max_bytes:
                raise StructureError(
                    f"{path.name!r} holds more than {max_bytes} bytes of text; raise max_bytes if that is right"
                )
            parts.append(part)
    return b"".join(parts)


def _gunzip(packed_parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield parts of at most `_CHUNK_BYTES` unpacked bytes; gzip files may have several members in a row."""
    decoder = zlib.decompressobj(wbits=31)
    for packed in packed_parts:
        while packed:
            yield decoder.decompress(packed, _CHUNK_BYTES)
            packed = decoder.unconsumed_tail
            if decoder.eof:
                packed = decoder.unused_data
                if not packed.startswith(_GZIP_MAGIC):
                    return  # padding behind the last member
                decoder = zlib.decompressobj(wbits=31)
    if not decoder.eof:
        raise zlib.error("it ends too early")


def is_mmcif(text: str) -> bool:
    """Tell mmCIF by its content: files with the wrong suffix exist."""
    return _MMCIF_START.match(text) is not None


def is_html(text: str) -> bool:
    """Tell a web page, which a failed download leaves behind."""
    return _HTML_START.match(text) is not None


def first_model_of_pdb(text: str, name: str) -> str:
    """
    Return the coordinate lines of a PDB file's first model and its REMARK 350, in columns that every reader takes.

    Programs write digits, segment names or nothing at all where element and charge belong; the charge is not needed and
    an element is kept only where it is letters. Whatever else the file holds is left out.

    Raises
    ------
    StructureError
        A coordinate line has no three numbers in columns 31 to 54.
    """
    lines: list[str] = []
    has_atoms = False
    for line_number, line in enumerate(text.split("\n"), start=1):
        record = line[:6].rstrip()
        if record in ("ATOM", "HETATM"):
            lines.append(_clean_atom_line(line, line_number, name))
            has_atoms = True
        elif has_atoms and record in ("MODEL", "ENDMDL", "END"):
            break
        elif line.startswith("REMARK 350"):
            lines.append(line.rstrip())
    return "\n".join(lines) + "\nEND\n"


def _clean_atom_line(line: str, line_number: int, name: str) -> str:
    try:
        for start in (30, 38, 46):
            float(line[start : start + 8])
    except ValueError:
        raise StructureError(
            f"{name!r}, line {line_number}: expected three coordinates in columns 31 to 54 of the PDB format, "
            f"got {line[30:54]!r}; repair or remove the line"
        ) from None
    element = line[76:78].strip()
    return f"{line[:76]:<76}{element if element.isalpha() else '':>2}".replace("\t", " ")
