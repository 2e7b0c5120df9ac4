"""The precision that a network computes in: its convolutions and products; losses and probabilities stay float32."""

import torch


def autocast_for(precision: str, device: torch.device) -> torch.autocast:
    """
    Return the context in which the network runs.

    Parameters
    ----------
    precision
        "float32", "bfloat16", or "auto": bfloat16 on a GPU and float32 on a CPU, where results are then the same to the
        bit for any number of ranks.
    device
        Where the network is.
    """
    is_half = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half)
