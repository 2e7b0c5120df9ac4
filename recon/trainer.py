"""Training of one network, epoch by epoch."""

import time
from dataclasses import asdict, dataclass

import torch
from torch import nn

from recon.checkpoint import Snapshot
from recon.inference import ViewOrders, evaluation_batches
from recon.loss import loss as reconstruction_loss
from recon.pix2vox import Pix2Vox, Pix2VoxConfig, Pix2VoxOutput
from recon.split import Split
from recon.train_config import TrainConfig
from recon.training_data import EpochOrder, ProteinData, Sample, training_batches

IOU_THRESHOLD = 0.5
"""Threshold of the IoU that is logged while training; the scores of `recon.evaluate` choose their own."""


class NonFiniteLossError(RuntimeError):
    """The loss of a step is infinite or not a number; the step was not taken."""


@dataclass(frozen=True)
class EpochMetrics:
    """
    One row of metrics.csv.

    `train_iou` is that of the batches as they were trained on, `validation_iou` that of the network after
    the epoch; both at `IOU_THRESHOLD`, and both from one view while single views are trained.
    """

    epoch: int
    train_loss: float
    train_iou: float
    validation_loss: float
    validation_iou: float
    elapsed_s: float
    """Time spent in training and validation since the first epoch, over all resumptions."""


def build_model(config: TrainConfig) -> Pix2Vox:
    """Return the network with its first weights, which follow from the seed alone."""
    torch.manual_seed(config.seed)
    model = Pix2Vox(Pix2VoxConfig(size=config.size))  # type: ignore[arg-type]
    for module in model.modules():
        # On a CPU, the 3D convolutions with their few channels run about 1.6 times as fast with channels last.
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            module.weight.data = module.weight.data.to(memory_format=torch.channels_last_3d)
    return model


class Trainer:
    """Network, optimizer, schedule and what has happened so far; `train_epoch` adds one epoch to it."""

    def __init__(
        self,
        config: TrainConfig,
        data: ProteinData,
        split: Split,
        orders: ViewOrders,
        device: torch.device,
    ) -> None:
        self.config = config
        self.data = data
        self.orders = orders
        self.validation_proteins = data.indices_of(split.validation)
        self.device = device
        self.model = build_model(config).to(device)
        merger = list(self.model.merger.parameters())
        others = [parameter for name, parameter in self.model.named_parameters() if not name.startswith("merger.")]
        self.optimizer = torch.optim.Adam(
            [
                {"params": others, "lr": config.learning_rate},
                {"params": merger, "lr": config.merger_learning_rate},
            ]
        )
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(
            self.optimizer, [config.learning_rate_drop_epoch], gamma=0.5
        )
        self.order = EpochOrder(data.indices_of(split.train), config.repeats, config.seed)
        self.batches = training_batches(data, self.order, config.views, config.seed, config.batch_size)
        self.epoch = 0
        self.step = 0
        self.best_validation_iou = 0.0
        self.history: list[dict[str, float]] = []

    def train_epoch(self) -> EpochMetrics:
        """Train one epoch and validate; return its metrics, which are also added to `history`."""
        started_s = time.perf_counter()
        self.order.epoch = self.epoch
        totals = torch.zeros(3, dtype=torch.float64)  # loss, IoU, samples
        for batch in self.batches:
            loss, iou = self._train_step(batch)
            totals += len(batch.protein) * torch.tensor([loss, iou, 1.0], dtype=torch.float64)
        self.scheduler.step()
        validation_loss, validation_iou = self._validate()
        earlier_s = self.history[-1]["elapsed_s"] if self.history else 0.0
        metrics = EpochMetrics(
            epoch=self.epoch,
            train_loss=float(totals[0] / totals[2]),
            train_iou=float(totals[1] / totals[2]),
            validation_loss=validation_loss,
            validation_iou=validation_iou,
            elapsed_s=round(earlier_s + time.perf_counter() - started_s, 3),
        )
        self.epoch += 1
        self.best_validation_iou = max(self.best_validation_iou, validation_iou)
        self.history.append(asdict(metrics))
        return metrics

    def snapshot(self) -> Snapshot:
        """Return the whole state, to be saved between epochs."""
        return Snapshot(
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scheduler=self.scheduler.state_dict(),
            epoch=self.epoch,
            step=self.step,
            best_validation_iou=self.best_validation_iou,
            history=self.history,
            config=self.config.deciding(),
            cpu_rng_state=torch.get_rng_state(),
            gpu_rng_states=torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from `snapshot`, which must come from a trainer with the same settings."""
        assert snapshot.config == self.config.deciding()
        self.model.load_state_dict(snapshot.model)
        self.optimizer.load_state_dict(snapshot.optimizer)
        self.scheduler.load_state_dict(snapshot.scheduler)
        self.epoch = snapshot.epoch
        self.step = snapshot.step
        self.best_validation_iou = snapshot.best_validation_iou
        self.history = list(snapshot.history)
        torch.set_rng_state(snapshot.cpu_rng_state)
        if self.device.type == "cuda" and len(snapshot.gpu_rng_states) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(snapshot.gpu_rng_states)

    def _train_step(self, batch: Sample) -> tuple[float, float]:
        """Take one optimizer step; return loss and mean IoU of the batch before it."""
        self.model.train()
        occupancy = batch.occupancy.to(self.device)  # (batch, z, y, x)
        output = self._forward(batch.images.to(self.device))
        loss = reconstruction_loss(output, occupancy)
        if not torch.isfinite(loss):
            raise NonFiniteLossError(self._non_finite_message(float(loss.detach()), batch))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        return float(loss.detach()), float(_iou(output.refined, occupancy).mean())

    def _forward(self, images: torch.Tensor) -> Pix2VoxOutput:
        """Predict from `(batch, view, 1, row, col)`; in the first epochs from one view, without merger and refiner."""
        if self.epoch >= self.config.single_view_epochs:
            return self.model(images)
        _, coarse_volumes = self.model.decoder(self.model.encoder(images[:, 0]))
        return Pix2VoxOutput(coarse_volumes, coarse_volumes)  # (batch, z, y, x)

    def _validate(self) -> tuple[float, float]:
        """Return mean loss and mean IoU over the validation proteins, each from its fixed views."""
        config = self.config
        losses, ious = 0.0, 0.0
        self.model.eval()
        for batch in evaluation_batches(
            self.data, self.orders, self.validation_proteins, config.views, config.batch_size
        ):
            occupancy = batch.occupancy.to(self.device)
            with torch.inference_mode():
                output = self._forward(batch.images.to(self.device))
            losses += float(reconstruction_loss(output, occupancy)) * len(occupancy)
            ious += float(_iou(output.refined, occupancy).sum())
        return losses / len(self.validation_proteins), ious / len(self.validation_proteins)

    def _non_finite_message(self, loss: float, batch: Sample) -> str:
        proteins = sorted({self.data.protein_ids[protein] for protein in batch.protein.tolist()})
        return (
            f"got loss {loss} in epoch {self.epoch}, step {self.step}, expected a finite number; the step was "
            f"not taken. Its proteins: {', '.join(proteins)}. Check their images, or train with a lower "
            "--learning-rate"
        )


def _iou(probability: torch.Tensor, occupancy: torch.Tensor) -> torch.Tensor:
    """Return `(batch,)`: IoU of each `(z, y, x)` body at `IOU_THRESHOLD`, 1 where both are empty."""
    predicted = (probability.detach() >= IOU_THRESHOLD).flatten(1)
    truth = occupancy.bool().flatten(1)
    intersection, union = (predicted & truth).sum(1), (predicted | truth).sum(1)
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
