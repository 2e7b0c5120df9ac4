"""The torch device, chosen once."""

import torch


def torch_device(name: str) -> torch.device:
    """
    Return the device that computes.

    Parameters
    ----------
    name
        "auto" (a GPU where torch sees one), "cpu" or "gpu".

    Raises
    ------
    ValueError
        Another name, or a GPU where torch sees none.
    """
    if name not in ("auto", "cpu", "gpu"):
        raise ValueError(f"got device {name!r}, expected auto, cpu or gpu")
    if name == "gpu" and not torch.cuda.is_available():
        raise ValueError(
            "got device gpu, but torch sees no CUDA device; use --device auto or cpu, or see `python -m hpc.doctor`"
        )
    has_gpu = name != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if has_gpu else "cpu")
