"""The gradient of a gradient, which is left to autograd."""

from typing import Any

import torch

from counterpoise.kernels.adjusted_cross_entropy import composed


def twice(logits: torch.Tensor, grad: torch.Tensor, *arguments: Any) -> torch.Tensor:
    """The gradient as a function of logits and grad that autograd knows."""
    z = logits if logits.requires_grad else logits.detach().requires_grad_()
    with torch.enable_grad():
        loss = composed.of_samples(z, *arguments)
    return torch.autograd.grad(loss, z, grad, create_graph=True)[0]
