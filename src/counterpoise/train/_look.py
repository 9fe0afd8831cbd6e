"""Evaluation: what a net answers, and how well."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.data import Part

Progress = Callable[[float], None]
BATCH = 256  # 1-10% quicker than 128 an image on the sheet's nets, and 512 adds nothing


def predict_logits(
    net: nn.Module, inputs: Tensor, batch_size: int = BATCH, on_batch: Progress | None = None
) -> Tensor:
    """What the net says to each sample, (N, C) on the CPU, in evaluation mode, without gradients.

    The net's training mode is put back afterwards.

    Args:
        net: (N, ...) to (N, C).
        inputs: (N, ...); uint8 is scaled to 0 .. 1 a batch at a time.
        batch_size: samples at a time.
        on_batch: called with the size of each batch that is done.

    Example:
        >>> import torch
        >>> from counterpoise.train import predict_logits
        >>> predict_logits(torch.nn.Linear(4, 3), torch.randn(5, 4)).shape
        torch.Size([5, 3])
    """
    was_training, device = net.training, device_of(net)
    net.eval()
    try:
        with torch.no_grad():
            found = []
            for batch in inputs.split(batch_size):
                found.append(net(prepared(batch, device)).cpu())
                if on_batch is not None:
                    on_batch(len(batch))
            return torch.cat(found)
    finally:
        net.train(was_training)


def predict(
    net: nn.Module, inputs: Tensor, batch_size: int = BATCH, on_batch: Progress | None = None
) -> Tensor:
    """The most probable class of each sample, int64 (N,). Ties go to the lower class number.

    Arguments and evaluation mode as in `predict_logits`.
    """
    return predict_logits(net, inputs, batch_size, on_batch).argmax(1)


def accuracy(net: nn.Module, part: Part, on_batch: Progress | None = None) -> float:
    """The share of the samples whose most probable class is the right one."""
    predicted = predict(net, part.inputs, on_batch=on_batch)
    return (predicted == part.targets.cpu()).double().mean().item()


def look(net: nn.Module, part: Part, on_batch: Progress | None = None) -> dict[str, float]:
    """Return accuracy, balanced accuracy (mean recall) and nll (mean cross entropy) on a part."""
    logits = predict_logits(net, part.inputs, on_batch=on_batch)
    targets = part.targets.cpu()
    right = logits.argmax(1) == targets
    total = torch.bincount(targets)
    found = torch.bincount(targets[right], minlength=len(total))
    return {
        "accuracy": right.double().mean().item(),
        "balanced_accuracy": (found[total > 0].double() / total[total > 0]).mean().item(),
        "nll": F.cross_entropy(logits.double(), targets).item(),
    }


def prepared(batch: Tensor, device: torch.device) -> Tensor:
    """Return a batch as a net takes it: on its device, floating, images in `channels_last`."""
    batch = batch.to(device)
    if batch.dtype == torch.uint8:
        batch = batch.float().div_(255)
    return batch.contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else batch


def device_of(net: nn.Module) -> torch.device:
    """Return where the net's parameters are."""
    return next((p.device for p in net.parameters()), torch.device("cpu"))
