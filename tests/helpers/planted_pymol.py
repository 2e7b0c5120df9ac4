"""Stands before the real `pymol2` on the path of a test's ranks and goes wrong on certain proteins."""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

# A protein is known by the number of its atoms, since PyMOL sees nothing of its name.
FAULTS = {int(number): fault for number, _, fault in (word.partition("=") for word in os.environ["FAULTS"].split())}

_here = str(Path(__file__).parent)
sys.path.remove(_here)
del sys.modules["pymol2"]
_real = importlib.import_module("pymol2")
sys.path.insert(0, _here)


class FaultyPyMOL(_real.PyMOL):
    """PyMOL that crashes, hangs or eats memory when it has read one of the chosen proteins."""

    def start(self) -> None:
        super().start()
        export_mesh = self.cmd.get_mtl_obj

        def faulty_export(*args, **keywords):
            fault = FAULTS.get(self.cmd.count_atoms("all"))
            if fault == "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            elif fault == "hang":
                time.sleep(3600)
            elif fault == "memory":
                self.hoard = [bytearray(os.urandom(2**20) * 64) for _ in range(64)]
            return export_mesh(*args, **keywords)

        self.cmd.get_mtl_obj = faulty_export


# Whoever imports pymol2 is given the real module, which is in `sys.modules` by now.
_real.PyMOL = FaultyPyMOL
