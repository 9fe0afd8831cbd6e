"""The family on a CPU by our own kernel in C, `compiled.c`, where it was compiled."""

import math
from typing import Any

import torch

from counterpoise.kernels._backend import asked
from counterpoise.kernels._compiled import LIBRARY, address, addressable, prototype
from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters
from counterpoise.kernels.adjusted_cross_entropy._samples import Samples

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2}
REDUCTIONS = {"none": 0, "sum": 1, "mean": 2, "batchmean": 3}
TYPES = {torch.float32: "float", torch.float64: "double"}
_KERNELS = {
    wide: prototype(f"adjusted_cross_entropy_{name}", "ppppppppp" + "iiii" + "dd" + "idii")
    for wide, name in TYPES.items()
}
_EXPECTED = {
    wide: prototype(f"expected_cross_entropy_{name}", "ppppppppp" + "iiii" + "ddd" + "idii")
    for wide, name in TYPES.items()
}


def suits(z: torch.Tensor, samples: Samples, parameters: Parameters) -> bool:
    """True where the kernel takes these logits, and all that comes with them is in their memory."""
    if LIBRARY is None or z.dtype not in KINDS or asked():
        return False
    if samples.spread and parameters.margin is not None:
        return False
    for x in (z, samples.target, samples.weight, samples.sample_weight, *parameters[:3]):
        if x is not None and not addressable(x):
            return False
    return True


def loss_and_slopes(
    z: torch.Tensor,
    samples: Samples,
    parameters: Parameters,
    reduction: str,
    normalizer: torch.Tensor | float | None,
    with_slopes: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The loss in the dtype of computation and, when asked for, the slopes by z (N, C, ...).

    Raises:
        IndexError: a class number out of range.
    """
    target, ignore_index, weight, sample_weight, smoothing = samples
    scale, offset, margin, gamma, poly = parameters
    _, classes, *rest = z.shape
    class_last = bool(rest) and z.movedim(1, -1).is_contiguous()
    z, pixels = (z, 1) if class_last else (z.contiguous(), math.prod(rest))
    wide = torch.float64 if z.dtype == torch.float64 else torch.float32
    size = z.shape[:1] + z.shape[2:]
    loss = torch.empty(size if reduction == "none" else (), dtype=wide)
    slopes = torch.empty_like(z) if with_slopes else None
    numbers = probabilities = None
    if target.is_floating_point():
        probabilities = _dense(target.movedim(1, -1) if pixels == 1 else target, wide)
    else:
        numbers = _dense(target, torch.int64)
    weight, sample_weight, scale, offset, margin = (
        None if v is None else _dense(v, wide)
        for v in (weight, sample_weight, scale, offset, margin)
    )
    kernel: Any = _KERNELS[wide]
    given = (z, slopes, numbers, weight, sample_weight, scale, offset, margin, loss)
    scalars: tuple[float, ...] = (gamma, poly)
    if samples.spread:
        kernel = _EXPECTED[wide]
        given = (z, slopes, numbers, probabilities, weight, sample_weight, scale, offset, loss)
        scalars = (smoothing, gamma, poly)
    status = kernel(
        *map(address, given),
        size.numel() // pixels,
        classes,
        pixels,
        ignore_index,
        *scalars,
        REDUCTIONS[reduction],
        -1.0 if normalizer is None else float(normalizer),
        KINDS[z.dtype],
        torch.get_num_threads(),
    )
    if status == 1:
        raise IndexError("a class number is out of range")
    if status:
        raise MemoryError("no memory for a cross entropy's scratch")
    return loss, slopes


def _dense(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x if x.dtype == dtype and x.is_contiguous() else x.to(dtype).contiguous()
