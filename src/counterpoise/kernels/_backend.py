"""Which of a kernel's ways runs: chosen by the tensor, unless somebody insists."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from counterpoise.kernels._eager import channels_last_of, without_gaps

BACKENDS = ("reference", "native", "fused")
_FORCED: ContextVar[str | None] = ContextVar("backend", default=None)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Within it, every norm takes this way, whatever suits the tensor.

    "reference" is the paper's formula out of torch's operators (any dtype, slow); "native" is made
    of torch's own kernels, what is taken where nothing was compiled; "fused" is for a GPU's own
    kernels, of which there are none yet. The softmax losses, within any of them, leave out their
    kernels in C and in Triton.

    Raises:
        ValueError: an unknown name.
        NotImplementedError: "fused".

    Example:
        >>> import torch
        >>> from counterpoise import norms
        >>> with norms.backend("reference"):
        ...     print(norms.explain(norms.GroupNorm(2, 4), torch.zeros(2, 4, 5, 5)))
        reference: asked for by norms.backend
    """
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {BACKENDS}, but got {name!r}")
    if name == "fused":
        raise NotImplementedError("there is no fused norm yet; take 'native' or 'reference'")
    token = _FORCED.set(name)
    try:
        yield
    finally:
        _FORCED.reset(token)


def reference_asked() -> bool:
    """True within `backend("reference")`; a compiled graph is made without it."""
    return not torch.compiler.is_compiling() and _FORCED.get() == "reference"


def asked() -> str | None:
    """The backend that somebody insists on; our kernels in C and Triton then stand back."""
    return _FORCED.get()


def by_formula(
    formula: Callable[..., torch.Tensor], x: torch.Tensor, *rest: object, **settings: object
) -> torch.Tensor:
    """`formula(x, *rest)` in float32 or wider, returned in the dtype and memory layout of x."""
    y = formula(x.to(torch.promote_types(x.dtype, torch.float32)), *rest, **settings).to(x.dtype)
    memory = channels_last_of(without_gaps(x)) or torch.contiguous_format
    return y.contiguous(memory_format=memory)
