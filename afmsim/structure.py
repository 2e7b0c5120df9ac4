"""The protein of a structure file: its heavy atoms, its chains, and a cleaned mmCIF of them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from afmsim.structure_text import (
    DEFAULT_MAX_BYTES,
    SUPPORTED_SUFFIXES,
    StructureError,
    first_model_of_pdb,
    is_html,
    is_mmcif,
    read_text,
    unpacked_name,
)

if TYPE_CHECKING:
    import gemmi

__all__ = ["Structure", "StructureError", "angstrom_to_nm", "protein_id_from_path", "read_structure"]

DEFAULT_MAX_ATOMS = 2_000_000

# The radii PyMOL 3 assigns, in angstrom, so that every surface is made of the same spheres.
_RADIUS_ANGSTROM = {
    "C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80, "Se": 1.90, "P": 1.80,
    "F": 1.47, "Cl": 1.75, "Br": 1.85, "I": 1.98, "B": 1.85, "Si": 2.10, "As": 1.85, "Te": 2.06,
}  # fmt: skip
_OTHER_RADIUS_ANGSTROM = 1.80

_MAX_ID_LENGTH = 100


@dataclass(frozen=True)
class Structure:
    """Heavy atoms of the protein chains of one file, in the file's axes."""

    protein_id: str
    positions_nm: np.ndarray
    """float64 (atom, xyz)"""
    radii_nm: np.ndarray
    """float32 (atom,), van der Waals"""
    elements: tuple[str, ...]
    """symbol per atom"""
    chain_names: tuple[str, ...]
    sequences: tuple[str, ...]
    """one letter per residue that has atoms, one text per chain; X where a residue has no letter"""
    mmcif_text: str
    """mmCIF of exactly these atoms"""

    @property
    def num_atoms(self) -> int:
        """Number of heavy atoms."""
        return len(self.elements)

    @property
    def num_chains(self) -> int:
        """Number of protein chains, copies of an assembly included."""
        return len(self.chain_names)


def angstrom_to_nm(length_angstrom: np.ndarray) -> np.ndarray:
    """Convert angstrom to nanometre, the only length unit inside the suite."""
    return length_angstrom / 10.0


def protein_id_from_path(path: Path) -> str:
    """
    Return the file's name without its structure suffix, made of `[A-Za-z0-9._-]` only.

    Each run of other characters becomes one underscore, and leading dots and hyphens go, so that an id can be a file
    name, a field of a CSV row or an argument of a command. Two paths may yield the same id.
    """
    name = unpacked_name(path.name)
    for suffix in SUPPORTED_SUFFIXES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[:_MAX_ID_LENGTH] or "unnamed"


def read_structure(
    path: Path,
    *,
    assembly: str | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_atoms: int = DEFAULT_MAX_ATOMS,
) -> Structure:
    """
    Read the protein chains of the first model of a PDB or mmCIF file, plain or gzipped.

    Kept are amino acid residues, modified ones too where they are bonded into a chain; of alternate locations the one
    with the highest occupancy. Water, ligands, nucleic acids and hydrogen are left out.

    Parameters
    ----------
    assembly
        Name of the biological assembly to build, such as "1", where the file describes it; otherwise the chains stay
        as they are.
    max_bytes, max_atoms
        Limits on the unpacked text and on the protein's atoms, against files that would fill the memory.

    Raises
    ------
    StructureError
        The file cannot be read, holds no protein or exceeds a limit.
    """
    import gemmi

    from afmsim.protein_chains import protein_model

    source = _parse(read_text(path, max_bytes), path.name)
    model = protein_model(source[0]) if len(source) else gemmi.Model(1)
    if not len(model):
        raise StructureError(f"{path.name!r} has no protein atoms: {_contents(source)}; expected amino acid residues")
    model = _assembled(source, model, assembly, path.name, max_atoms)
    return _structure_of_model(model, protein_id_from_path(path), path.name)


def _parse(text: str, name: str) -> "gemmi.Structure":
    import gemmi

    try:
        if is_mmcif(text):
            for block in gemmi.cif.read_string(text):
                if block.find_mmcif_category("_atom_site."):
                    return gemmi.make_structure_from_block(block)
            return gemmi.Structure()
        if Path(unpacked_name(name)).suffix.lower() in (".cif", ".mmcif"):
            kind = "a web page" if is_html(text) else "text that does not begin with data_"
            raise StructureError(f"{name!r} is {kind}; expected an mmCIF file")
        coordinates = first_model_of_pdb(text, name)
        if is_html(text) and "\nATOM" not in text:
            raise StructureError(f"{name!r} is a web page, not a structure; fetch the file itself")
        return gemmi.read_pdb_string(coordinates)
    except (RuntimeError, ValueError) as error:  # gemmi raises both
        if isinstance(error, StructureError):
            raise
        reason = " ".join(str(error).split())
        raise StructureError(f"{name!r} is no readable PDB or mmCIF file: {reason}") from None


def _contents(source: "gemmi.Structure") -> str:
    """Say what a file without protein holds."""
    names = sorted({residue.name or "nameless" for chain in source[0] for residue in chain}) if len(source) else []
    if not names:
        return "it has no coordinates at all"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"its residues are {', '.join(names[:5])}{more}"


def _assembled(
    source: "gemmi.Structure", model: "gemmi.Model", assembly: str | None, name: str, max_atoms: int
) -> "gemmi.Model":
    """Apply the named assembly, if the file has it, after checking how large the result would be."""
    import gemmi

    chosen = next((one for one in source.assemblies if assembly and one.name == assembly), None)
    num_copies = sum(len(generator.operators) for generator in chosen.generators) if chosen else 1
    num_atoms = model.count_atom_sites() * max(1, num_copies)
    if num_atoms > max_atoms:
        raise StructureError(
            f"{name!r} has up to {num_atoms} protein atoms ({num_copies} copies), more than the limit of {max_atoms}; "
            "raise max_atoms if the memory allows"
        )
    if chosen is None:
        return model
    assembled = gemmi.make_assembly(chosen, model, gemmi.HowToNameCopiedChain.AddNumber)
    if not assembled.count_atom_sites():
        raise StructureError(f"{name!r} has no protein chain in assembly {assembly}; choose another or none")
    return assembled


def _structure_of_model(model: "gemmi.Model", protein_id: str, name: str) -> Structure:
    import gemmi

    atoms = [atom for chain in model for residue in chain for atom in residue]
    elements = tuple(atom.element.name for atom in atoms)
    radii_angstrom = np.array([_RADIUS_ANGSTROM.get(element, _OTHER_RADIUS_ANGSTROM) for element in elements])
    positions_angstrom = np.array([atom.pos.tolist() for atom in atoms], dtype=np.float64)
    if not np.isfinite(positions_angstrom).all():
        raise StructureError(f"{name!r} has coordinates that are no numbers; expected finite x, y, z for each atom")
    cleaned = gemmi.Structure()
    cleaned.name = protein_id
    cleaned.add_model(model)
    cleaned.setup_entities()
    cleaned.assign_serial_numbers()
    document = cleaned.make_mmcif_document(gemmi.MmcifOutputGroups(False, atoms=True, auth_all=True, group_pdb=True))
    return Structure(
        protein_id=protein_id,
        positions_nm=angstrom_to_nm(positions_angstrom),
        radii_nm=angstrom_to_nm(radii_angstrom).astype(np.float32),
        elements=elements,
        chain_names=tuple(chain.name for chain in model),
        sequences=tuple("".join(_letter(residue.name) for residue in chain) for chain in model),
        mmcif_text=document.as_string(),
    )


def _letter(residue_name: str) -> str:
    import gemmi

    letter = gemmi.find_tabulated_residue(residue_name).one_letter_code.strip().upper()
    return letter or "X"
