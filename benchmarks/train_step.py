"""
Measure a training step of this implementation against the published structure run as published.

The reference has the weights of the same network, but loops over views as the published code does (hzxie/Pix2Vox,
core/train.py and models/): each view goes through encoder, decoder and merger by itself, in float32, eagerly, with the
default memory layout; losses of the merged and the refined volume run backward one after the other, and Adam is that of
torch's defaults. With the network in evaluation mode both must give the same volumes, which is asserted first. In
training they differ in one point: here batch statistics are taken over all views, there view by view.

    python benchmarks/train_step.py                      # on the CPU, 8 views
    python benchmarks/train_step.py --device gpu --size A --batch-size 64 --image-size 224

Both are timed in turns, and the ratio is that of the medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from recon.distributed import Ranks
from recon.loss import loss as reconstruction_loss
from recon.network import build_model, optimizer_of, prepared_network
from recon.pix2vox import Pix2Vox
from recon.train_config import TrainConfig


class PublishedStructure(nn.Module):
    """Pix2Vox++ view after view, with the layers and weights of `model`."""

    def __init__(self, model: Pix2Vox) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, view, 1, row, col) -> merged and refined probabilities (batch, z, y, x)."""
        model = self.model
        features = torch.stack([model.encoder(view) for view in images.unbind(dim=1)], dim=1)
        raw_features, coarse_volumes = [], []
        for view in features.unbind(dim=1):
            raw_feature, coarse_volume = model.decoder(view)
            raw_features.append(raw_feature)
            coarse_volumes.append(coarse_volume)
        weights = torch.softmax(torch.stack([self._score(raw) for raw in raw_features], dim=1), dim=1)
        merged = (weights * torch.stack(coarse_volumes, dim=1)).sum(dim=1).clamp(0, 1)
        return merged, merged if model.refiner is None else model.refiner(merged)

    def _score(self, raw_feature: torch.Tensor) -> torch.Tensor:
        scales, x = [], raw_feature
        for convolution in self.model.merger.scales:
            x = convolution(x)
            scales.append(x)
        return self.model.merger.score(self.model.merger.fuse(torch.cat(scales, dim=1))).squeeze(1)


@dataclass(frozen=True)
class Batch:
    """Random images and bodies: times do not depend on them."""

    images: torch.Tensor
    occupancy: torch.Tensor


def main() -> None:
    arguments = _parse()
    device = torch.device("cuda" if arguments.device == "gpu" else "cpu")
    torch.set_num_threads(arguments.threads)
    config = TrainConfig(views=arguments.views, size=arguments.size, input_size=arguments.image_size)
    batch = _batch(arguments, device)
    reference = PublishedStructure(_default_layout(build_model(config)).to(device))
    ours = prepared_network(build_model(config), device, Ranks())
    _assert_equal_outputs(reference, ours, batch)

    steps = {
        "published structure": _published_step(reference, batch),
        "this implementation": _our_step(ours, config, batch),
    }
    times_s: dict[str, list[float]] = {name: [] for name in steps}
    memory_gb: dict[str, float] = {}
    for name, step in steps.items():
        step()  # the first one allocates, and compiles where there is something to compile
        memory_gb[name] = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            times_s[name].append(_timed(step, device))
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{arguments.threads} CPU threads"
    what = f"{config.views} views, batch {arguments.batch_size}, {config.input_size} pixels"
    print(f"Pix2Vox++/{config.size}, {what}, {where}")
    medians = {name: statistics.median(values) for name, values in times_s.items()}
    for name, median_s in medians.items():
        memory = f", {memory_gb[name]:.1f} GB" if memory_gb[name] else ""
        spread = f"{min(times_s[name]):.3f} to {max(times_s[name]):.3f}"
        print(f"{name}: {median_s:.3f} s ({spread}), {arguments.batch_size / median_s:.2f} samples/s{memory}")
    print(f"ratio: {medians['published structure'] / medians['this implementation']:.2f}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--size", choices=("A", "F"), default="A")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=64, help="edge of the images in pixels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def _batch(arguments: argparse.Namespace, device: torch.device) -> Batch:
    torch.manual_seed(1)
    size = arguments.image_size
    images = torch.rand(arguments.batch_size, arguments.views, 1, size, size)
    occupancy = torch.rand(arguments.batch_size, 32, 32, 32) < 0.2
    return Batch(images.to(device), occupancy.to(device))


def _default_layout(model: Pix2Vox) -> Pix2Vox:
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    return model


def _assert_equal_outputs(reference: PublishedStructure, ours: Pix2Vox, batch: Batch) -> None:
    reference.eval()
    ours.eval()
    with torch.no_grad():
        for expected, found in zip(reference(batch.images), ours(batch.images), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    reference.train()
    ours.train()


def _published_step(network: PublishedStructure, batch: Batch) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    occupancy = batch.occupancy.float()

    def step() -> None:
        merged, refined = network(batch.images)
        optimizer.zero_grad()
        losses = [F.binary_cross_entropy(merged, occupancy) * 10]
        if refined is not merged:
            losses.append(F.binary_cross_entropy(refined, occupancy) * 10)
        for number, loss in enumerate(losses, start=1):
            loss.backward(retain_graph=number < len(losses))
        optimizer.step()

    return step


def _our_step(model: Pix2Vox, config: TrainConfig, batch: Batch) -> Callable[[], None]:
    optimizer = optimizer_of(model, config)
    device = batch.images.device

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = model(batch.images)
        loss = reconstruction_loss(output, batch.occupancy)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _timed(step: Callable[[], None], device: torch.device) -> float:
    started_s = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
