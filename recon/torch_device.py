"""The torch device, chosen once."""

import numba
import torch


def torch_device(name: str, local_rank: int = 0) -> torch.device:
    """
    Return the device that computes; on a CPU, compiled loops keep from here on to as many threads as torch.

    Parameters
    ----------
    name
        "auto" (a GPU where torch sees one), "cpu" or "gpu".
    local_rank
        Rank of this process among those of its node: each takes a GPU of its own, of those that it sees.

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
    if name == "cpu" or not torch.cuda.is_available():
        num_threads = torch.get_num_threads()
        numba.set_num_threads(min(num_threads, numba.config.NUMBA_NUM_THREADS))
        # Numba's threads start with the call above, which sets those of all OpenMP code, torch's too, to their number.
        torch.set_num_threads(num_threads)
        return torch.device("cpu")
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
