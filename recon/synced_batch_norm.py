"""
Batch normalisation over the samples of all ranks, so that the number of ranks does not change what is trained.

On GPUs torch has it; its layer refuses tensors in host memory, so this one does the same there. A rank without any
sample takes part with a count of zero.
"""

from typing import Any

import torch
from torch import distributed, nn


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over the ranks; since each rank's loss depends on it, gradients are summed as well."""

    @staticmethod
    def forward(_ctx: Any, values: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        summed = gradient.clone()
        distributed.all_reduce(summed)
        return summed


def _sum_over_ranks(values: torch.Tensor) -> torch.Tensor:
    return _SumOverRanks.apply(values)  # type: ignore[no-untyped-call]


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`BatchNorm2d` or `BatchNorm3d` in host memory whose statistics in training are those of all ranks."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(item, channel, ...) -> the same shape."""
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1] + [1] * (input.ndim - 2)
        count = input.new_tensor([float(input.numel() // input.shape[1])])
        totals = _sum_over_ranks(torch.cat((input.sum(axes), count)))
        count = totals[-1].detach()
        mean = totals[:-1] / count  # (channel,)
        centred = input - mean.view(shape)
        variance = _sum_over_ranks(centred.square().sum(axes)) / count  # (channel,)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale.view(shape) + self.bias.view(shape)


def synced_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Return `model` with each batch normalisation exchanged, weights kept, for one that sees all ranks."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
            synced = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
            synced.load_state_dict(child.state_dict())
            setattr(model, name, synced)
        else:
            synced_batch_norm(child, device)
    return model
