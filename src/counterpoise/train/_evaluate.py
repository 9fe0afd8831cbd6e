"""Evaluation of a net: logits, predictions and scores of a split."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.data import Rows, Split
from counterpoise.metrics import balanced_accuracy
from counterpoise.train._parallel import count_processes
from counterpoise.train._precision import forward
from counterpoise.train._sync_batch_norm import summed

Progress = Callable[[float], None]
_MOST_VALUES = 2**20  # of a batch: 6 images of 3 x 224 x 224
SCORES = ("accuracy", "balanced_accuracy", "nll")  # of `evaluate_split`
BATCH = 256  # 1-10% quicker than 128 an image on the exercise's nets, and 512 adds nothing


def predict_logits(
    net: nn.Module,
    inputs: Tensor | Rows,
    batch_size: int = 0,
    on_batch: Progress | None = None,
    *,
    shared: bool = False,
    precision: str = "float32",
) -> Tensor:
    """Return the logits of each sample, (N, C) on the CPU, in evaluation mode, without gradients.

    The net's training mode is restored afterwards.

    Args:
        net: (N, ...) to (N, C).
        inputs: (N, ...); uint8 is scaled to 0 .. 1 a batch at a time.
        batch_size: samples per batch; 0 for `BATCH`, and fewer large ones.
        on_batch: called with the size of each batch when it is done.
        shared: True to share the batches among the processes of torch.distributed, all of which
            must call it; each returns the logits of all samples, the same as one would.
        precision: "float32", or "bfloat16" for autocast, whose logits are float32 as well.

    Example:
        >>> import torch
        >>> from counterpoise.train import predict_logits
        >>> predict_logits(torch.nn.Linear(4, 3), torch.randn(5, 4)).shape
        torch.Size([5, 3])
    """
    was_training, device = net.training, device_of(net)
    batch_size = batch_size or max(1, min(BATCH, _MOST_VALUES // max(1, inputs.shape[1:].numel())))
    net.eval()
    try:
        with torch.no_grad():
            if shared and count_processes()[0] > 1:
                return _predict_together(net, inputs, batch_size, on_batch, precision)
            logits, done = torch.empty(0), 0
            for batch in inputs.split(batch_size):
                found = forward(net, to_net_input(batch, device), precision).cpu()
                if not done:  # not a list: what is kept between batches breaks up the memory
                    logits = found.new_empty(len(inputs), *found.shape[1:])
                logits[done : done + len(batch)] = found
                done += len(batch)
                if on_batch is not None:
                    on_batch(len(batch))
            return logits
    finally:
        net.train(was_training)


def _predict_together(
    net: nn.Module, inputs: Tensor | Rows, size: int, on_batch: Progress | None, precision: str
) -> Tensor:
    """Return the logits of each sample: the processes compute batches in turn, and share them.

    A sharded net needs all processes for each batch, so one without a batch computes the last one
    again, which no other waits for.
    """
    number, rank = count_processes()
    device, logits = device_of(net), torch.empty(0)
    last = (len(inputs) - 1) // size * size
    for first in range(0, len(inputs), size * number):
        start = first + rank * size
        batch = inputs[min(start, last) : min(start, last) + size]
        found = forward(net, to_net_input(batch, device), precision)
        count = min(size * number, len(inputs) - first)
        gathered = found.new_zeros(count, *found.shape[1:])
        if start <= last:
            gathered[rank * size : rank * size + len(found)] = found
        if not first:
            logits = gathered.new_empty(len(inputs), *found.shape[1:], device="cpu")
        logits[first : first + count] = summed(gathered).cpu()
        if on_batch is not None:
            on_batch(count)
    return logits


def predict(
    net: nn.Module, inputs: Tensor | Rows, batch_size: int = 0, on_batch: Progress | None = None
) -> Tensor:
    """Return the most probable class of each sample, int64 (N,); of equal ones the lowest index.

    Arguments and evaluation mode: as in `predict_logits`.
    """
    return predict_logits(net, inputs, batch_size, on_batch).argmax(1)


def accuracy(net: nn.Module, split: Split, on_batch: Progress | None = None) -> float:
    """Return the share of the samples of a split whose most probable class is the true one."""
    predicted = predict(net, split.inputs, on_batch=on_batch)
    return (predicted == split.targets.cpu()).double().mean().item()


def evaluate_split(
    net: nn.Module,
    split: Split,
    on_batch: Progress | None = None,
    *,
    shared: bool = False,
    precision: str = "float32",
) -> dict[str, float]:
    """Return accuracy, balanced accuracy (mean recall) and nll (mean cross entropy) of a split."""
    logits = predict_logits(
        net, split.inputs, on_batch=on_batch, shared=shared, precision=precision
    )
    _check_logits(logits, int(split.targets.max()))
    predicted, targets = logits.argmax(1), split.targets.cpu()
    return {
        "accuracy": (predicted == targets).double().mean().item(),
        "balanced_accuracy": balanced_accuracy(targets.numpy(), predicted.numpy()),
        "nll": F.cross_entropy(logits.double(), targets).item(),
    }


def _check_logits(logits: Tensor, highest: int) -> None:
    """Refuse answers that are not one logit a class, for the classes up to the highest."""
    classes = max(2, highest + 1)
    if logits.dim() == 2 and logits.shape[1] >= classes:
        return
    one = logits.dim() == 1 or logits.shape[1:] == (1,)
    raise ValueError(
        f"a net must answer with one logit a class, (N, {classes}) or more for these targets, but "
        f"this one answers {tuple(logits.shape)}"
        + (
            "; give its last layer two outputs, or, in a loop of your own, its one logit to "
            "losses.SigmoidFocalLoss"
            if one
            else f"; give its last layer {classes} outputs"
        )
    )


def to_net_input(batch: Tensor, device: torch.device) -> Tensor:
    """Return a batch on the net's device, floating point, images in `channels_last`."""
    batch = batch.to(device)
    if batch.dim() == 4:  # before it is floating point, of which one copy is enough
        batch = batch.contiguous(memory_format=torch.channels_last)
    return batch.float().div_(255) if batch.dtype == torch.uint8 else batch


def device_of(net: nn.Module) -> torch.device:
    """Return the device of the net's parameters; the CPU if it has none."""
    return next((p.device for p in net.parameters()), torch.device("cpu"))
