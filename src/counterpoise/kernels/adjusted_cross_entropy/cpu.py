"""The family on a CPU, by `cpu.c`: the loss and its gradient in one pass over the logits.

The only memory of the logits' size is that of the gradient.
"""

from typing import Any

import torch

from counterpoise.kernels.adjusted_cross_entropy import eager
from counterpoise.kernels.adjusted_cross_entropy.reference import Arguments
from counterpoise.kernels.compiled import LIBRARY, prototype
from counterpoise.kernels.dispatch import apply_without_functorch, has_memory

REDUCTIONS = {"none": 0, "sum": 1, "mean": 2, "batchmean": 3}
_ANY = Arguments(torch.empty(0))
_POINTERS, _DOUBLES = 6 + len(_ANY.vectors), 1 + len(_ANY.numbers)
_SIGNATURE = "p" * _POINTERS + "d" * _DOUBLES + "iiiii" + "d" + "ii"
_FLOAT = prototype("adjusted_cross_entropy_float", _SIGNATURE)
_DOUBLE = prototype("adjusted_cross_entropy_double", _SIGNATURE)
_KERNELS: dict[torch.dtype, tuple[Any, torch.dtype, int]] = {  # dtype of computation, kind
    torch.float32: (_FLOAT, torch.float32, 0),
    torch.bfloat16: (_FLOAT, torch.float32, 1),
    torch.float64: (_DOUBLE, torch.float64, 2),
}


def missing(logits: torch.Tensor, arguments: Arguments) -> str | None:
    """Return why the kernel does not take these plain CPU tensors; None where it does."""
    if LIBRARY is None:
        return "no kernel in C was compiled for this CPU"
    if logits.dtype not in _KERNELS:
        return f"the kernel in C is not for {logits.dtype}"
    of_classes = arguments.margin is not None or isinstance(arguments.gamma, torch.Tensor)
    if of_classes and arguments.soft:
        return "the kernel in C has neither margin nor gamma per class for soft targets"
    return None


def adjusted_cross_entropy(logits: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return the reduced loss in the logits' dtype; arguments as in `reference.py`.

    Raises:
        IndexError: a class number out of range.
    """
    if logits.requires_grad and torch.is_grad_enabled():
        return _apply(logits, arguments)  # type: ignore[no-any-return]
    return _loss_and_gradient(logits, arguments, with_gradient=False)[0]


class _AdjustedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        # All tensors, so that torch reports one that was changed in place and is needed again.
        ctx.save_for_backward(logits, *arguments.tensors)
        ctx.arguments = arguments
        loss, ctx.grad = _loss_and_gradient(logits, arguments, with_gradient=True)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad_loss,) = grads
        if torch.is_grad_enabled() or not has_memory(grad_loss):  # autograd knows all cases
            return eager.gradient(ctx.saved_tensors[0], grad_loss, ctx.arguments), None
        grad, ctx.grad = ctx.grad, None  # the first backward pass takes it and needs no more memory
        if grad is None:
            grad = _loss_and_gradient(ctx.saved_tensors[0], ctx.arguments, with_gradient=True)[1]
        if grad_loss.dim() == 0 and grad_loss.item() == 1:
            return grad, None
        return grad.mul_(grad_loss.unsqueeze(1) if grad_loss.dim() else grad_loss), None


_apply = apply_without_functorch(_AdjustedCrossEntropy)


def _loss_and_gradient(
    logits: torch.Tensor, arguments: Arguments, with_gradient: bool
) -> tuple[torch.Tensor, Any]:
    """Return the loss and, when asked for, its gradient by the logits (N, C, ...)."""
    target, gamma, normalizer = arguments.target, arguments.gamma, arguments.normalizer
    kernel, wide, kind = _KERNELS[logits.dtype]
    batch, classes, *sizes = logits.shape
    num_samples = logits.numel() // classes
    class_last = len(sizes) > 0 and logits.movedim(1, -1).is_contiguous()
    z = logits if class_last else logits.contiguous()
    inner_size = 1 if class_last else num_samples // batch
    loss = torch.empty((batch, *sizes) if arguments.reduction == "none" else (), dtype=wide)
    grad = torch.empty_like(z) if with_gradient else None
    numbers = probabilities = None
    if target.is_floating_point():
        probabilities = _dense(target.movedim(1, -1) if class_last else target, wide)
    else:
        numbers = _dense(target, torch.int64)
    gamma, gammas = (0.0, gamma) if isinstance(gamma, torch.Tensor) else (gamma, None)
    vectors = [None if v is None else _dense(v, wide) for v in (*arguments.vectors, gammas)]
    tensors = (z, grad, loss, numbers, probabilities, *vectors)
    status = kernel(
        *[None if x is None else x.data_ptr() for x in tensors],
        gamma,
        *arguments.numbers,
        arguments.ignore_index,
        num_samples,
        classes,
        inner_size,
        REDUCTIONS[arguments.reduction],
        -1.0 if normalizer is None else float(normalizer),
        kind,
        torch.get_num_threads(),
    )
    if status == 1:
        raise IndexError("a class number is out of range")
    if status:
        raise MemoryError("no memory for a cross entropy's scratch")
    return loss if loss.dtype == logits.dtype else loss.to(logits.dtype), grad


def _dense(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x if x.dtype == dtype and x.is_contiguous() else x.to(dtype).contiguous()
