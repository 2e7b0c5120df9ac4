"""Samples that the refiner learns from: what is carved and what is true lie in one frame."""

from pathlib import Path

import numpy as np
import pytest
import torch

from afmsim.dataset import open_dataset
from recon.metrics import iou_per_protein
from recon.poses.scan_options import TIP_HALF_ANGLE_DEG, scan_conditions
from recon.shapes.carve_refiner import default_refiner_path, load_refiner
from recon.shapes.carve_samples import make_samples
from tests.helpers.shape_store import write_shape_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shape_store(tmp_path_factory.mktemp("samples") / "shape.zarr", ("1lmb",), num_views=6)


@pytest.mark.parametrize(("tip_radius_nm", "num_channels", "least_iou"), [(None, 6, 0.6), (1.0, 9, 0.5)])
def test_what_is_carved_lies_where_the_body_is(
    store: Path, tip_radius_nm: float | None, num_channels: int, least_iou: float
) -> None:
    conditions = scan_conditions(0.0 if tip_radius_nm is None else 0.3, tip_radius_nm, TIP_HALF_ANGLE_DEG, None)
    evidence, occupancy = make_samples(open_dataset(store), [0], 8, 0, conditions)
    assert evidence.shape == (8, num_channels, *occupancy.shape[1:])
    several = evidence[:, 5].amax(dim=(1, 2, 3)).float() > np.sqrt(2.5 / 25)  # three views or more
    assert several.any()
    iou = iou_per_protein(evidence[several, 0].float().numpy(), occupancy[several].numpy(), 0.5)
    assert iou.min() > least_iou
    turned = iou_per_protein(evidence[several, 0].float().numpy(), occupancy[several].numpy()[:, ::-1], 0.5)
    assert iou.mean() > turned.mean() + 0.1


@pytest.mark.parametrize("tip_radius_nm", [None, 1.0])
def test_the_weights_of_the_package_bring_carved_bodies_nearer_to_the_truth(
    store: Path, tip_radius_nm: float | None
) -> None:
    conditions = scan_conditions(0.0 if tip_radius_nm is None else 0.3, tip_radius_nm, TIP_HALF_ANGLE_DEG, None)
    evidence, occupancy = make_samples(open_dataset(store), [0], 4, 1, conditions)
    refiner = load_refiner(default_refiner_path(tip_radius_nm is not None))
    with torch.inference_mode():
        probability = refiner(evidence.float()).sigmoid().numpy()
    refined = iou_per_protein(probability, occupancy.numpy(), 0.5)
    carved = iou_per_protein(evidence[:, 0].float().numpy(), occupancy.numpy(), 0.5)
    assert refined.mean() > carved.mean()
