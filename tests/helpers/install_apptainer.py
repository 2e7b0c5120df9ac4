"""Install Debian sid's Apptainer on this Debian 12 machine, for tests only; as root: python -m THIS_MODULE.

Debian 12 has no Apptainer, and sid's wants glibc 2.38, of which it takes two functions only: `__isoc23_strtol` and
`__isoc23_strtoul`. Both exist as plain `strtol` and `strtoul` (the new ones also read binary literals), so their
names and versions are rewritten in the ELF tables and the package is built anew with the smaller demand.
Exit status 0: `apptainer` runs. 3: this no longer fits, with one line that says why.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

EXIT_DOES_NOT_FIT = 3
NEW_PREFIX = b"__isoc23_"
NEW_VERSION, OLD_VERSION = b"GLIBC_2.38", b"GLIBC_2.2.5"
PATCHED_PROGRAMS = ("usr/bin/apptainer", "usr/lib/x86_64-linux-gnu/apptainer/bin/starter")


class DoesNotFitError(RuntimeError):
    """Sid's package is no longer what this script knows."""


def main() -> int:
    """Install Apptainer unless it is there; return the exit status."""
    if shutil.which("apptainer"):
        return 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            _install(Path(folder))
        sys.stdout.write(_output("apptainer", "--version"))
    except (DoesNotFitError, subprocess.CalledProcessError, OSError) as error:
        output = getattr(error, "output", None) or ""
        sys.stderr.write(f"no Apptainer: {error} {' '.join(output.split())[-300:]}\n")
        return EXIT_DOES_NOT_FIT
    return 0


def without_new_glibc(program: bytes) -> bytes:
    """Return the ELF file with its two C23 functions and their version replaced by the old ones.

    The old name is the end of the new one, so a symbol's name only moves on by the length of the prefix; the
    needed version GLIBC_2.38 becomes a second entry for GLIBC_2.2.5.
    """
    patched = bytearray(program)
    sections = _sections(program)
    strings_start = sections[b".dynstr"][0]

    def string_at(offset: int) -> bytes:
        start = strings_start + offset
        return program[start : program.index(b"\0", start)]

    symbols_start, symbols_size = sections[b".dynsym"]
    versions_start = sections[b".gnu.version"][0]
    requirements = _needed_versions(program, sections[b".gnu.version_r"][0], string_at)
    new_index, new_place = requirements[NEW_VERSION]
    for number in range(symbols_size // 24):  # sizeof(Elf64_Sym)
        (version,) = struct.unpack_from("<H", program, versions_start + 2 * number)
        if version & 0x7FFF != new_index:
            continue
        (name_offset,) = struct.unpack_from("<I", program, symbols_start + 24 * number)
        name = string_at(name_offset)
        if name not in (NEW_PREFIX + b"strtol", NEW_PREFIX + b"strtoul"):
            raise DoesNotFitError(f"sid's Apptainer also needs {name.decode()} of {NEW_VERSION.decode()}")
        struct.pack_into("<I", patched, symbols_start + 24 * number, name_offset + len(NEW_PREFIX))
    old_place = requirements[OLD_VERSION][1]
    patched[new_place : new_place + 4] = program[old_place : old_place + 4]  # vna_hash
    patched[new_place + 8 : new_place + 12] = program[old_place + 8 : old_place + 12]  # vna_name
    return bytes(patched)


def _sections(program: bytes) -> dict[bytes, tuple[int, int]]:
    """Return offset and size of every section by name (ELF64, little endian)."""
    (table,) = struct.unpack_from("<Q", program, 0x28)
    entry_size, num_entries, names_index = struct.unpack_from("<HHH", program, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", program, table + entry_size * n) for n in range(num_entries)]
    names_start = headers[names_index][4]
    found = {}
    for name_offset, _, _, _, offset, size in headers:
        start = names_start + name_offset
        found[program[start : program.index(b"\0", start)]] = (offset, size)
    return found


def _needed_versions(program: bytes, start: int, string_at: Callable[[int], bytes]) -> dict[bytes, tuple[int, int]]:
    """Return index and file offset of each version that is needed of libc.so.6."""
    while True:
        _, num_versions, file_name, first, next_file = struct.unpack_from("<HHIII", program, start)
        if string_at(file_name) == b"libc.so.6":
            break
        if next_file == 0:
            raise DoesNotFitError("sid's Apptainer needs no libc.so.6")
        start += next_file
    versions, place = {}, start + first
    for _ in range(num_versions):
        _, _, index, name, next_version = struct.unpack_from("<IHHII", program, place)
        versions[string_at(name)] = (index, place)
        place += next_version
    missing = {NEW_VERSION, OLD_VERSION} - versions.keys()
    if missing:
        raise DoesNotFitError(f"sid's Apptainer does not need {b', '.join(missing).decode()}")
    return versions


def _install(folder: Path) -> None:
    if os.geteuid() != 0:
        raise DoesNotFitError("only root can install a package")
    package = _download(folder)
    root = folder / "root"
    _output("dpkg-deb", "--raw-extract", str(package), str(root))
    for name in PATCHED_PROGRAMS:
        program = root / name
        program.write_bytes(without_new_glibc(program.read_bytes()))
    control = root / "DEBIAN" / "control"
    control.write_text(re.sub(r"libc6 \(>= 2\.38\)", "libc6 (>= 2.36)", control.read_text()))
    (root / "DEBIAN" / "md5sums").unlink(missing_ok=True)
    rebuilt = folder / "apptainer.deb"
    _output("dpkg-deb", "--build", "-Znone", str(root), str(rebuilt))
    _output("apt-get", "install", "--yes", "--no-install-recommends", str(rebuilt))


def _download(folder: Path) -> Path:
    """Fetch sid's package by a package list of its own: this machine's lists never see sid."""
    mirror = _output("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    if not mirror:
        raise DoesNotFitError("this machine has no package lists; run apt-get update first")
    (folder / "lists" / "partial").mkdir(parents=True)
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={key}] {mirror[0]} sid main\n")
    private = [f"-oDir::Etc::SourceList={folder}/sources.list", "-oDir::Etc::SourceParts=/dev/null"]
    private += [f"-oDir::State::Lists={folder}/lists", f"-oDir::Cache={folder}/cache", "-oAPT::Sandbox::User=root"]
    _output("apt-get", *private, "update")
    _output("apt-get", *private, "download", "apptainer", folder=folder)
    return next(folder.glob("apptainer_*.deb"))


def _output(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
