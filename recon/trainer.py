"""Training of one network, step by step and epoch by epoch, on any number of ranks."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from recon.checkpoint import Snapshot
from recon.distributed import Ranks
from recon.epoch_metrics import IOU_THRESHOLD, EpochMetrics, EpochTotals
from recon.inference import ViewOrders, evaluation_batches
from recon.loading.samples import Sample, SampleMaker
from recon.loading.training_batches import EpochBatches, TrainingBatches
from recon.loading.training_data import ProteinData
from recon.loss import loss as reconstruction_loss
from recon.network import build_model, optimizer_of, prepared_network
from recon.pix2vox import Pix2VoxOutput
from recon.precision import autocast_for
from recon.split import Split
from recon.train_config import TrainConfig


class NonFiniteLossError(RuntimeError):
    """The loss of a step is infinite or not a number; the step was not taken."""


class Trainer:
    """
    Network, optimizer, schedule and what has happened so far, the same on every rank.

    `steps` takes the optimizer steps that are left in the epoch, `finish_epoch` ends it. Between any two steps
    `snapshot` is the whole state.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: ProteinData,
        split: Split,
        orders: ViewOrders,
        device: torch.device,
        ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
    ) -> None:
        self.config = config
        self.data = data
        self.orders = orders
        self.validation_proteins = data.indices_of(split.validation)
        self.device = device
        self.ranks = ranks
        self.model = prepared_network(build_model(config), device, ranks, config.compile)
        self.network: Any = None
        self.optimizer = optimizer_of(self.model, config)
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(
            self.optimizer, [config.learning_rate_drop_epoch], gamma=0.5
        )
        self.order = EpochBatches(
            data.indices_of(split.train), config.repeats, config.seed, config.batch_size, ranks.rank, ranks.size
        )
        self.maker = SampleMaker(data, config.frame)
        self.batches = TrainingBatches(
            self.maker,
            self.order,
            config.views,
            config.seed,
            is_online=config.render_online,
            device=device,
            num_workers=config.loader_workers,
        )
        self.epoch = 0
        self.step = 0
        self.step_in_epoch = 0
        self.totals = EpochTotals()
        self.best_validation_iou = 0.0
        self.history: list[dict[str, float]] = []

    @property
    def is_single_view(self) -> bool:
        """Whether the network is trained on single views in this epoch, without merger and refiner."""
        return self.epoch < self.config.single_view_epochs

    def steps(self) -> Iterator[None]:
        """Take the steps that are left in the epoch; the state is whole whenever this yields."""
        self.order.epoch, self.order.first_batch = self.epoch, self.step_in_epoch
        self.network = self._network_of_epoch()
        self.model.train()
        started_s = time.perf_counter()
        for batch in self.batches:
            self._train_step(batch)
            now_s = time.perf_counter()
            self.totals.elapsed_s += now_s - started_s
            started_s = now_s
            yield

    def finish_epoch(self) -> EpochMetrics:
        """Validate after the epoch's last step; return its metrics, which are also added to `history`."""
        assert self.step_in_epoch == self.order.num_batches
        started_s = time.perf_counter()
        self.scheduler.step()
        validation_loss, validation_iou = self._validate()
        totals = self.totals
        earlier_s = self.history[-1]["elapsed_s"] if self.history else 0.0
        metrics = EpochMetrics(
            epoch=self.epoch,
            train_loss=totals.loss / totals.num_samples,
            train_iou=totals.iou / totals.num_samples,
            validation_loss=validation_loss,
            validation_iou=validation_iou,
            elapsed_s=round(earlier_s + totals.elapsed_s + time.perf_counter() - started_s, 3),
        )
        self.epoch += 1
        self.step_in_epoch = 0
        self.totals = EpochTotals()
        self.best_validation_iou = max(self.best_validation_iou, validation_iou)
        self.history.append(asdict(metrics))
        return metrics

    def snapshot(self) -> Snapshot:
        """Return the whole state, to be saved between two steps."""
        return Snapshot(
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scheduler=self.scheduler.state_dict(),
            epoch=self.epoch,
            step=self.step,
            step_in_epoch=self.step_in_epoch,
            totals=asdict(self.totals),
            best_validation_iou=self.best_validation_iou,
            history=self.history,
            config=self.config.deciding(),
            cpu_rng_state=torch.get_rng_state(),
            gpu_rng_states=torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from `snapshot`, which must come from a trainer with the same settings, on any number of ranks."""
        assert snapshot.config.items() <= self.config.deciding().items()  # newer settings may be missing
        # Without gradients nothing happens, but torch's schedule insists on a step before its own, and a run that
        # stopped after the last step of an epoch takes none.
        self.optimizer.step()
        self.model.load_state_dict(snapshot.model)
        self.optimizer.load_state_dict(snapshot.optimizer)
        self.scheduler.load_state_dict(snapshot.scheduler)
        self.epoch = snapshot.epoch
        self.step = snapshot.step
        self.step_in_epoch = snapshot.step_in_epoch
        self.totals = EpochTotals(**snapshot.totals)
        self.best_validation_iou = snapshot.best_validation_iou
        self.history = list(snapshot.history)
        torch.set_rng_state(snapshot.cpu_rng_state)
        if self.device.type == "cuda" and len(snapshot.gpu_rng_states) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(snapshot.gpu_rng_states)

    def _network_of_epoch(self) -> nn.Module:
        """Return the model as it is called in this epoch: wrapped where there are several ranks."""
        # What single views leave without a gradient is not to be waited for by the exchange of gradients.
        for part in (self.model.merger, self.model.refiner):
            if part is not None:
                part.requires_grad_(not self.is_single_view)
        if self.ranks.size == 1:
            return self.model
        return nn.parallel.DistributedDataParallel(
            self.model,
            # All ranks see the same statistics, so their buffers are equal without any exchange.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )

    def _train_step(self, batch: Sample) -> None:
        """Take one optimizer step over the samples of all ranks."""
        occupancy = batch.occupancy  # (sample, z, y, x)
        output = self._forward(self.network, batch.images)
        num_samples = self.order.size_of(self.step_in_epoch)
        # The ranks' gradients are averaged, so each loss is weighted by its share of the samples.
        share = len(occupancy) * self.ranks.size / num_samples
        loss = reconstruction_loss(output, occupancy) * share if len(occupancy) else output.refined.sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        local_iou = _iou(output.refined, occupancy).sum()
        loss_sum, iou_sum = self.ranks.sum(torch.stack((loss.detach() / self.ranks.size, local_iou)).tolist())
        if not abs(loss_sum) < float("inf"):
            raise NonFiniteLossError(self._non_finite_message(loss_sum, batch))
        self.optimizer.step()
        self.step += 1
        self.step_in_epoch += 1
        self.totals.loss += loss_sum * num_samples
        self.totals.iou += iou_sum
        self.totals.num_samples += num_samples

    def _forward(self, network: Any, images: torch.Tensor) -> Pix2VoxOutput:
        """Predict from `(sample, view, 1, row, col)`."""
        with autocast_for(self.config.precision, self.device):
            output: Pix2VoxOutput = network(images, self.is_single_view)
        return output

    def _validate(self) -> tuple[float, float]:
        """Return mean loss and mean IoU over the validation proteins, each from its fixed views."""
        config = self.config
        totals = [0.0, 0.0]
        self.model.eval()
        proteins, device = self.validation_proteins, self.device
        for batch in evaluation_batches(
            self.maker, self.orders, proteins, config.views, config.batch_size, device, self.ranks
        ):
            occupancy = batch.occupancy
            with torch.inference_mode():
                output = self._forward(self.model, batch.images)
            totals[0] += float(reconstruction_loss(output, occupancy)) * len(occupancy)
            totals[1] += float(_iou(output.refined, occupancy).sum())
        loss_sum, iou_sum = self.ranks.sum(totals)
        return loss_sum / len(self.validation_proteins), iou_sum / len(self.validation_proteins)

    def _non_finite_message(self, loss: float, batch: Sample) -> str:
        of_ranks = self.ranks.gather([self.data.protein_ids[protein] for protein in batch.protein.tolist()])
        proteins = sorted({name for names in of_ranks for name in names})
        return (
            f"got loss {loss} in epoch {self.epoch}, step {self.step}, expected a finite number; the step was "
            f"not taken. Its proteins: {', '.join(proteins)}. Check their images, or train with a lower "
            "--learning-rate"
        )


def _iou(probability: torch.Tensor, occupancy: torch.Tensor) -> torch.Tensor:
    """Return `(sample,)`: IoU of each `(z, y, x)` body at `IOU_THRESHOLD`, 1 where both are empty."""
    predicted = (probability.detach() >= IOU_THRESHOLD).flatten(1)
    truth = occupancy.bool().flatten(1)
    intersection, union = (predicted & truth).sum(1), (predicted | truth).sum(1)
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
