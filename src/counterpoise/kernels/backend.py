"""The implementation that somebody insists on, in place of the one that suits the tensor."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

BACKENDS = ("reference", "eager", "cpu")
_FORCED: ContextVar[str | None] = ContextVar("backend", default=None)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Use one implementation for every norm within a `with` block, whatever suits the tensor.

    "reference" is the paper's formula out of torch's operators (any dtype, slow); "eager" is made
    of torch's own kernels, which also serve where nothing was compiled; "cpu" is ours in C wherever
    it can run, exact at any mean, also for small tensors, for which torch's is quicker. The softmax
    losses leave out their kernels in C and in Triton within "reference" and "eager".

    Raises:
        ValueError: an unknown name.

    Example:
        >>> import torch
        >>> from counterpoise import norms
        >>> with norms.backend("reference"):
        ...     print(norms.explain(norms.GroupNorm(2, 4), torch.zeros(2, 4, 5, 5)))
        reference: asked for by norms.backend
    """
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {BACKENDS}, but got {name!r}")
    token = _FORCED.set(name)
    try:
        yield
    finally:
        _FORCED.reset(token)


def forced_backend() -> str | None:
    """Return the backend that somebody insists on; a compiled graph is made without it."""
    return None if torch.compiler.is_compiling() else _FORCED.get()
