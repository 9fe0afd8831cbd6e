"""The family on a CPU by our own kernel in C, `compiled.c`, where it was compiled."""

import math

import torch

from counterpoise.kernels._backend import asked
from counterpoise.kernels._compiled import LIBRARY, address, addressable, prototype
from counterpoise.kernels.tilted_cross_entropy._samples import Samples
from counterpoise.kernels.tilted_cross_entropy._tilt import Tilt

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2}
REDUCTIONS = {"none": 0, "sum": 1, "mean": 2, "batchmean": 3}
SIGNATURE = "ppppppppp" + "iiii" + "dd" + "idii"
_KERNELS = {
    wide: prototype(f"tilted_cross_entropy_{name}", SIGNATURE)
    for wide, name in ((torch.float32, "float"), (torch.float64, "double"))
}


def suits(z: torch.Tensor, samples: Samples, tilt: Tilt) -> bool:
    """True where the kernel takes these logits, and all that comes with them is in their memory."""
    if LIBRARY is None or z.dtype not in KINDS or asked():
        return False
    for x in (z, samples.target, samples.weight, samples.sample_weight, *tilt[:3]):
        if x is not None and not addressable(x):
            return False
    return True


def loss_and_slopes(
    z: torch.Tensor,
    samples: Samples,
    tilt: Tilt,
    reduction: str,
    normalizer: torch.Tensor | float | None,
    with_slopes: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The loss in the dtype of computation and, when asked for, the slopes by z (N, C, ...).

    Raises:
        IndexError: a class number out of range.
    """
    target, ignore_index, weight, sample_weight = samples
    scale, offset, margin, gamma, poly = tilt
    if target.dtype != torch.int64 or not target.is_contiguous():
        target = target.long().contiguous()
    class_last = z.dim() > 2 and z.movedim(1, -1).is_contiguous()
    if not class_last:
        z = z.contiguous()
    n, classes, *rest = z.shape
    pixels = 1 if class_last else math.prod(rest)
    wide = torch.float64 if z.dtype == torch.float64 else torch.float32
    vectors = [
        v if v is None or (v.dtype == wide and v.is_contiguous()) else v.to(wide).contiguous()
        for v in (weight, sample_weight, scale, offset, margin)
    ]
    loss = torch.empty((n, *rest) if reduction == "none" else (), dtype=wide)
    slopes = torch.empty_like(z) if with_slopes else None
    status = _KERNELS[wide](
        z.data_ptr(),
        address(slopes),
        target.data_ptr(),
        *map(address, vectors),
        loss.data_ptr(),
        target.numel() if class_last else n,
        classes,
        pixels,
        ignore_index,
        gamma,
        poly,
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
