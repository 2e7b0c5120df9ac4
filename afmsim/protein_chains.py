"""Which atoms of a model are its protein: the rule that tells a chain of amino acids from all else in the file."""

from itertools import groupby, pairwise

import gemmi

# Elements of amino acids and their usual modifications; any other one was misread from a shifted atom name, as calcium
# from CA.
_ELEMENTS = frozenset(["C", "N", "O", "S", "Se", "P", "H", "D", "F", "Cl", "Br", "I", "B", "Si", "As", "Te"])

# Generous, because models are not always refined: a peptide bond is 1.33 angstrom long, CA atoms are 2.9 or 3.8 apart.
_BOND_ANGSTROM = 2.0
_CA_CA_ANGSTROM = 4.5

_NO_ALTLOC = "\0"


def protein_model(model: gemmi.Model) -> gemmi.Model:
    """Return a new model of the heavy protein atoms of one, each atom in one place, without empty chains."""
    kept = gemmi.Model(1)
    for chain in model:
        chains: dict[str, gemmi.Chain] = {}
        for residue in _one_residue_per_place(_peptide_residues(list(chain))):
            cleaned = _cleaned(residue)
            if len(cleaned):
                # Molecular dynamics programs leave the chain column blank and name the chain in the segment columns.
                name = chain.name.strip() or residue.segment.strip() or "A"
                chains.setdefault(name, gemmi.Chain(name)).add_residue(cleaned)
        for one in chains.values():
            kept.add_chain(one)
    return kept


def _peptide_residues(residues: list[gemmi.Residue]) -> list[gemmi.Residue]:
    """
    Keep amino acids of ATOM records, and any other residue only where it is bonded into a chain of amino acids.

    Modified residues, caps and chromophores come as HETATM, and so do free amino acids that are ligands.
    """
    # bond_before[k] tells whether a peptide bond leads to residue k from the one before it.
    bond_before = [False, *(_is_bonded(first, second) for first, second in pairwise(residues)), False]
    return [
        residue
        for index, residue in enumerate(residues)
        if _is_unmistakable(residue) or bond_before[index] or bond_before[index + 1]
    ]


def _is_unmistakable(residue: gemmi.Residue) -> bool:
    """Tell an amino acid of an ATOM record; UNK is also the name of whatever a docking program was given."""
    is_named = gemmi.find_tabulated_residue(residue.name).is_amino_acid() and residue.name != "UNK"
    return is_named and residue.het_flag != "H"


def _is_bonded(first: gemmi.Residue, second: gemmi.Residue) -> bool:
    """Tell whether a peptide bond, one that decides, leads from the first residue to the second."""
    if _is_unmistakable(first) and _is_unmistakable(second):
        return False  # kept anyway
    if not (_is_amino_acid(first) or _is_amino_acid(second)):
        return False
    if _is_only_ca(first) and _is_only_ca(second):
        return first[0].pos.dist(second[0].pos) < _CA_CA_ANGSTROM
    # A chromophore or a cap has names of its own for the atoms that take part in the bond.
    carbons = [atom for atom in first if (atom.name if _is_amino_acid(first) else atom.element.name) == "C"]
    nitrogens = [atom for atom in second if (atom.name if _is_amino_acid(second) else atom.element.name) == "N"]
    return any(carbon.pos.dist(nitrogen.pos) < _BOND_ANGSTROM for carbon in carbons for nitrogen in nitrogens)


def _is_amino_acid(residue: gemmi.Residue) -> bool:
    names = {atom.name for atom in residue}
    return {"N", "CA", "C"} <= names or gemmi.find_tabulated_residue(residue.name).is_amino_acid()


def _is_only_ca(residue: gemmi.Residue) -> bool:
    return all(atom.name == "CA" for atom in residue)


def _one_residue_per_place(residues: list[gemmi.Residue]) -> list[gemmi.Residue]:
    """Where two kinds of residue share one place of the sequence as alternates, keep the one of higher occupancy."""
    kept = []
    for _, group in groupby(residues, key=lambda residue: (residue.seqid, residue.segment)):
        candidates = list(group)
        if len(candidates) > 1 and all(atom.has_altloc() for residue in candidates for atom in residue):
            candidates = [max(candidates, key=lambda residue: max(_preference(atom) for atom in residue))]
        kept.extend(candidates)
    return kept


def _preference(atom: gemmi.Atom) -> tuple[float, int]:
    """Order alternates by occupancy, equal ones by letter, the first letter highest."""
    return atom.occ, -ord(atom.altloc)


def _cleaned(residue: gemmi.Residue) -> gemmi.Residue:
    """Copy a residue without hydrogen, its misread elements set right, and each atom in one place."""
    cleaned = gemmi.Residue()
    cleaned.name, cleaned.seqid, cleaned.subchain = residue.name, residue.seqid, residue.subchain
    cleaned.het_flag, cleaned.segment = residue.het_flag, residue.segment
    for atom in residue:
        if atom.element.name not in _ELEMENTS:
            atom.element = gemmi.Element(next((letter for letter in atom.name if letter.isalpha()), "X"))
    for atom in _one_conformer([atom for atom in residue if not atom.is_hydrogen()]):
        cleaned.add_atom(atom)
        cleaned[-1].altloc = _NO_ALTLOC
    return cleaned


def _one_conformer(atoms: list[gemmi.Atom]) -> list[gemmi.Atom]:
    """Keep one conformer of a residue as a whole, and atoms that it lacks from the next best one."""
    alternates = [atom for atom in atoms if atom.has_altloc()]
    if not alternates:
        return atoms
    chosen = max(alternates, key=_preference).altloc
    by_name: dict[str, gemmi.Atom] = {}
    for atom in atoms:
        other = by_name.get(atom.name)
        if other is None or (atom.altloc == chosen, *_preference(atom)) > (other.altloc == chosen, *_preference(other)):
            by_name[atom.name] = atom
    return list(by_name.values())
