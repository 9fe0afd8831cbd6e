"""A net as a program of torch.export and as ONNX, both checked against the net itself."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_TOLERANCE = 1e-4  # of the largest logit, or of 1


class Standardized(nn.Module):
    """A head behind the scaling of its features, (x - mean) / std, in float64.

    Args:
        head: (N, D) to logits.
        mean: of each feature; None to leave them alone.
        std: the same.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, head: nn.Module, mean: Tensor | None, std: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        if self.mean is not None and self.std is not None:
            x = ((x.double() - self.mean) / self.std).to(x.dtype)
        return self.head(x)


class Deployed(nn.Module):
    r"""A net with what stands before and behind it: from samples to logits and probabilities.

    uint8 images are scaled to 0 .. 1, numbers are standardized. The probabilities are
    :math:`\text{softmax}(a \odot z + b)` with the logits z.

    Args:
        net: the net.
        scale: of its logits.
        mean, std: of the samples' features, or channels; None to leave them alone.
        affine: a and b, (C) each; None for logits alone.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        scale: float = 1.0,
        mean: Tensor | None = None,
        std: Tensor | None = None,
        affine: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.scale, self.standardized = net, scale, mean is not None
        self.probable = affine is not None
        a, b = affine if affine is not None else (torch.ones(1), torch.zeros(1))
        none = torch.zeros(0, dtype=torch.float64)
        for name, value in {"mean": mean, "std": std}.items():
            self.register_buffer(name, none if value is None else value)
        self.register_buffer("a", a.float())
        self.register_buffer("b", b.float())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return logits, (N, C), and the probabilities if there is a formula for them."""
        if x.dtype == torch.uint8:
            x = x.float() / 255
        if self.standardized:
            shape = [1, -1] + [1] * (x.dim() - 2)
            x = ((x.double() - self.mean.view(shape)) / self.std.view(shape)).to(x.dtype)
        logits = self.net(x).float() * self.scale
        if not self.probable:
            return (logits,)
        return logits, torch.softmax(self.a * logits + self.b, 1)


def as_program(net: nn.Module, inputs: Tensor) -> tuple[bytes, float]:
    """Return a net as the bytes of a program of torch.export, and its largest deviation.

    Args:
        net: in evaluation mode.
        inputs: two samples or more, on which the program is compared with the net.

    Raises:
        ValueError: it cannot be exported, or answers otherwise.
    """
    with _silence():
        program = _program(net, inputs)
        off = _compare(net(inputs)[0].numpy(), program.module()(inputs)[0].numpy(), "torch.export")
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
    return buffer.getvalue(), off


def as_onnx(net: nn.Module, inputs: Tensor) -> tuple[bytes, float]:
    """Return a net as the bytes of an ONNX file, and its largest deviation in onnxruntime.

    Inputs are called "input", outputs "logits" and "probabilities"; N is free.

    Raises:
        ImportError: onnx, onnxscript or onnxruntime is missing.
        ValueError: it cannot be exported, or answers otherwise.
    """
    import onnxruntime
    import onnxscript  # noqa: F401 torch needs it

    names = ["logits", "probabilities"][: len(net(inputs[:2]))]
    with _silence():
        try:
            made: Any = torch.onnx.export(
                _program(net, inputs), input_names=["input"], output_names=names, verbose=False
            )
            content = made.model_proto.SerializeToString()
        except Exception as error:
            raise ValueError(f"ONNX has no such net: {_first_line(error)}") from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(names, {"input": inputs.numpy()})
    return content, _compare(net(inputs)[0].numpy(), np.asarray(found[0]), "ONNX")


def _program(net: nn.Module, inputs: Tensor) -> Any:
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    try:
        return torch.export.export(net, (inputs,), dynamic_shapes=dynamic)
    except Exception as error:  # of the user's net any
        raise ValueError(f"torch.export cannot trace the net: {_first_line(error)}") from error


def _compare(wanted: np.ndarray, found: np.ndarray, what: str) -> float:
    """Return the largest deviation, relative to the largest logit or to 1."""
    off = float(np.abs(wanted - found).max()) / max(1.0, float(np.abs(wanted).max()))
    if not off <= _TOLERANCE:
        raise ValueError(f"{what} answers otherwise than the net, by {off:.1e} of its logits")
    return off


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


@contextmanager
def _silence() -> Iterator[None]:
    """Keep what exporters log and warn of off the terminal; no gradients are needed."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
