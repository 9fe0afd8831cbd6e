"""Which samples count in a loss, and how much."""

from typing import NamedTuple

import torch

from counterpoise.kernels._eager import plain_eager

MEANS = ("mean", "batchmean")
PART = 1 << 16  # samples to look at at a time, so that nothing of the targets' size is made


class Samples(NamedTuple):
    """Class numbers (N, ...) and what they weigh: weight (C,), sample_weight (N, ...).

    Or probabilities (N, C, ...). `smoothing`: the share of either that is spread over all classes.
    """

    target: torch.Tensor
    ignore_index: int = -100
    weight: torch.Tensor | None = None
    sample_weight: torch.Tensor | None = None
    smoothing: float = 0.0

    @property
    def spread(self) -> bool:
        """Whether a sample's target is more than one class."""
        return self.smoothing != 0 or self.target.is_floating_point()

    def weighed(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Class numbers (0 where ignored), masses (0 where ignored), and whether each counts."""
        numbers = self.target.long()  # a uint8 is never -100, but 156 is if -100 becomes a uint8
        counted = numbers != self.ignore_index
        if readable(counted) and counted.all().item():  # as mostly, and half the steps
            mass = None if self.weight is None else self.weight.take(numbers)
        else:
            numbers = torch.where(counted, numbers, 0)
            mass = None if self.weight is None else self.weight[numbers] * counted
        if mass is None:
            mass = counted.to(dtype)
        if self.sample_weight is not None:
            mass = mass * self.sample_weight
        return numbers, mass, counted

    def at(self, cut: tuple[slice, ...]) -> "Samples":
        """Some of the samples."""
        own = self.sample_weight
        return self._replace(
            target=self.target[cut], sample_weight=None if own is None else own[cut]
        )

    def shaped(self, shape: list[int]) -> "Samples":
        """The samples in another shape."""
        own = self.sample_weight
        return self._replace(
            target=self.target.reshape(shape),
            sample_weight=None if own is None else own.reshape(shape),
        )

    def normalizer(self, reduction: str, dtype: torch.dtype) -> torch.Tensor:
        """What "mean" (the masses) or "batchmean" (the samples that count) divides by; else 1."""
        if reduction not in MEANS:
            return torch.ones((), dtype=dtype, device=self.target.device)
        if self.target.is_floating_point():  # every sample counts
            if reduction == "mean" and self.sample_weight is not None:
                return self.sample_weight.sum(dtype=dtype)
            number = self.target[:, 0].numel()
            return torch.full((), number, dtype=dtype, device=self.target.device)
        flat, place = self.shaped([-1]), 1 if reduction == "mean" else 2
        total = torch.zeros((), dtype=dtype, device=self.target.device)
        for i in range(0, len(flat.target), PART):
            total = total + flat.at((slice(i, i + PART),)).weighed(dtype)[place].sum()
        return total


def ordinary(x: torch.Tensor) -> bool:
    """True for a tensor that nobody traces, transforms or only imitates."""
    own = type(x) is torch.Tensor or type(x) is torch.nn.Parameter
    if not own or not plain_eager() or x.is_neg():  # its numbers are not those in memory
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(x)  # kept from a transform


def readable(x: torch.Tensor) -> bool:
    """True where the values of a tensor can be looked at without waiting for a device."""
    return x.device.type == "cpu" and ordinary(x)


def harmless(logits: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """The logits, with 0 for what is infinite or NaN in a sample of no mass: 0 * NaN is NaN."""
    if readable(mass) and mass.all().item():
        return logits
    return logits.masked_fill((mass == 0).unsqueeze(1) & ~logits.isfinite(), 0.0)


def guarded(
    normalizer: torch.Tensor | float | None,
) -> tuple[torch.Tensor | float, torch.Tensor | float]:
    """What to divide by, and what to add to the mean: NaN where nothing counts.

    Torch's rule for a mean of nothing: the value is 0 / 0, and the gradients are 0.
    """
    if normalizer is None:
        return 1.0, 0.0
    if not isinstance(normalizer, torch.Tensor):
        return normalizer or 1.0, 0.0 if normalizer else torch.nan
    if readable(normalizer):
        return (normalizer, 0.0) if normalizer.item() else (1.0, torch.nan)
    empty = normalizer == 0
    return normalizer + empty, torch.where(empty, torch.nan, 0.0)
