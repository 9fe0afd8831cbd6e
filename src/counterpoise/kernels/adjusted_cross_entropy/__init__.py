"""The family of softmax losses for imbalance: exact, and with finite gradients at every logit.

`reference.py` is the specification, `eager.py` a composite of torch's operators, `cpu.py` a kernel
in C, `gpu.py` one in Triton. `choose` says which one runs, and why.
"""

import warnings
from collections.abc import Callable
from functools import cache

import torch

from counterpoise.kernels.adjusted_cross_entropy import cpu, eager
from counterpoise.kernels.adjusted_cross_entropy.reference import Arguments
from counterpoise.kernels.backend import forced_backend
from counterpoise.kernels.dispatch import has_memory, plain_eager

__all__ = ["Arguments", "adjusted_cross_entropy", "choose", "eager"]

Implementation = Callable[[torch.Tensor, Arguments], torch.Tensor]


def adjusted_cross_entropy(logits: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return weight_t * (1 - p_t)^gamma * (-log(p_t) + poly * (1 - p_t)), reduced.

    Args:
        logits: (N, C, ...), any floating dtype; half precision is computed in float32.
        arguments: see `reference.py`.
    """
    implementation, _ = choose(logits, arguments)
    return implementation(logits, arguments)


def choose(logits: torch.Tensor, arguments: Arguments) -> tuple[Implementation, str]:
    """Return the implementation that runs, and the reason in a sentence."""
    if not plain_eager():
        return eager.adjusted_cross_entropy, "torch.compile, torch.func and tracing need operators"
    if forced_backend() in ("reference", "eager"):
        return eager.adjusted_cross_entropy, "asked for by norms.backend"
    for x in (logits, *arguments.tensors):
        if type(x) is not torch.Tensor and type(x) is not torch.nn.Parameter:
            return eager.adjusted_cross_entropy, f"a {type(x).__name__} knows torch's operators"
        if not has_memory(x):
            return eager.adjusted_cross_entropy, "a tensor's memory does not hold its numbers"
        if x.requires_grad and x is not logits:
            return eager.adjusted_cross_entropy, "a parameter of the loss needs a gradient"
        if x.is_cpu != logits.is_cpu and x.dim():  # a number may lie anywhere
            return eager.adjusted_cross_entropy, "the tensors are on several devices"
    if not logits.numel():
        return eager.adjusted_cross_entropy, "there are no logits"
    if logits.is_cpu:
        if (reason := cpu.missing(logits, arguments)) is not None:
            return eager.adjusted_cross_entropy, reason
        return cpu.adjusted_cross_entropy, "the kernel in C takes one pass over the logits"
    if not logits.is_cuda or logits.dtype == torch.float64 or arguments.soft:
        return eager.adjusted_cross_entropy, "no kernel for this device, dtype or soft targets"
    on_gpu = _on_gpu()
    if on_gpu is None:
        return eager.adjusted_cross_entropy, "the kernel in Triton does not run here"
    return on_gpu, "the kernel in Triton keeps nothing of the logits' size"


@cache
def _on_gpu() -> Implementation | None:
    """Return the kernel in Triton, if it runs here: it needs a C compiler of its own, say."""
    try:
        from counterpoise.kernels.adjusted_cross_entropy import gpu

        logits, target = torch.zeros(1, 2, device="cuda"), torch.zeros(1, dtype=torch.long)
        gpu.adjusted_cross_entropy(logits, Arguments(target.cuda()))
    except Exception as error:
        warnings.warn(
            f"the losses' GPU kernel does not run here ({type(error).__name__}: {error}); torch's "
            "operators do the work",
            stacklevel=2,
        )
        return None
    return gpu.adjusted_cross_entropy
