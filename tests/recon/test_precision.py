import pytest
import torch

from recon.precision import autocast_for


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_products_are_taken_in_the_precision_asked_for(precision, expected):
    with autocast_for(precision, torch.device("cpu")):
        assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == expected
