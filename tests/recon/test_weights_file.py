"""Weights of the small networks: a file that is none gets one sentence."""

from pathlib import Path

import pytest
import torch

from recon.poses.scan_restorer import ScanRestorer, load_restorer
from recon.shapes.carve_refiner import CarveRefiner, load_refiner
from recon.weights_file import save_weights


@pytest.mark.parametrize(("load", "name"), [(load_refiner, "refiner"), (load_restorer, "restorer")])
def test_a_file_that_holds_no_such_weights_is_refused(load, name: str, tmp_path: Path) -> None:
    other = {"refiner": ScanRestorer, "restorer": CarveRefiner}[name]()
    files = {kind: tmp_path / f"{kind}.pt" for kind in ("text", "empty", "other", "list")}
    files["text"].write_text("# no weights\n")
    files["empty"].touch()
    save_weights(other, files["other"])
    torch.save([1, 2], files["list"])
    for path in files.values():
        with pytest.raises(ValueError, match=f"holds no {name} of this version; train it again"):
            load(path)
    with pytest.raises(ValueError, match=f"got no {name} at .*, and name it with --{name}"):
        load(tmp_path / "no.pt")
