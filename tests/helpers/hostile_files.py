"""Names and archives that an attacker, or a careless script, could leave among the structures."""

import gzip
import os
from pathlib import Path

_GZIP_BOMB_BYTES = 3 * 2**30


def write_hostile_files(folder: Path, good: bytes) -> dict[str, str]:
    """
    Fill `folder`; return for each file, by its name in the table, "done" or a word of the reason it must fail with.

    Parameters
    ----------
    good
        A small gzipped structure that can be built.
    """
    folder.mkdir()
    text = gzip.decompress(good)
    contents = {
        "with space.pdb.gz": (good, "done"),
        "quote\"'`.pdb.gz": (good, "done"),
        "-rf.pdb.gz": (good, "done"),
        "$(touch pwned).pdb.gz": (good, "done"),
        "; touch pwned #.pdb.gz": (good, "done"),
        "comma,and;tab\t.pdb.gz": (good, "done"),
        "...pdb.gz": (good, "done"),
        "x" * 200 + ".pdb.gz": (good, "done"),
        "grüße.pdb.gz": (good, "done"),
        "truncated.pdb.gz": (good[: len(good) // 2], "damaged gzip"),
        "noise.pdb": (os.urandom(4096).replace(b"\0", b"\1"), "no protein"),
        "script.pdb": (b"cmd.system('touch pwned')\nimport os; os.system('touch pwned')\n", "no protein"),
        "script.cif": (b"load whatever.pml\n@whatever.pml\npython\nopen('pwned','w')\npython end\n", ""),
        "session.pse.pdb": (b"\x80\x04\x95cos\nsystem\n(S'touch pwned'\ntR.", "no protein"),
        "one_atom_at_the_edge_of_the_world.pdb": (_two_far_atoms(), ""),
        "model_without_end.pdb": (b"MODEL        1\n" + text, "done"),
    }
    outcomes = {}
    for name, (content, outcome) in contents.items():
        (folder / name).write_bytes(content)
        outcomes[name.encode("unicode_escape").decode() if "\t" in name else name] = outcome
    (folder / os.fsdecode(b"bytes\xff\n.pdb.gz")).write_bytes(good)
    outcomes["bytes\\xff\\n.pdb.gz"] = "done"
    with gzip.open(folder / "bomb.pdb.gz", "wb", compresslevel=1) as bomb:
        for _ in range(_GZIP_BOMB_BYTES // 2**24):
            bomb.write(b" " * 2**24)
    outcomes["bomb.pdb.gz"] = "bytes of text"
    (folder / "password.pdb").symlink_to("/etc/passwd")
    outcomes["password.pdb"] = "no protein"
    return outcomes


def _two_far_atoms() -> bytes:
    line = "ATOM      {n}  CA  ALA A   {n}    {x:8.0f}{x:8.0f}{x:8.0f}  1.00 10.00           C  \n"
    return (line.format(n=1, x=-999999) + line.format(n=2, x=9999999)).encode()
