"""The precision of a net's forward pass."""

from collections.abc import Callable

import torch
from torch import Tensor

PRECISIONS = ("float32", "bfloat16")


def resolve_precision(precision: str, device: torch.device | str, pretrained: bool) -> str:
    """Return "float32" or "bfloat16", which "auto" takes for pretrained nets where it is quicker.

    That is on GPUs that compute in bfloat16, and on CPUs with AMX, whose tiles do.

    Args:
        precision: "float32", "bfloat16" (both are returned) or "auto".
        device: where the net is.
        pretrained: whether the net's weights come from another training.

    Raises:
        ValueError: another precision.

    Example:
        >>> from counterpoise.train import resolve_precision
        >>> resolve_precision("auto", "cpu", pretrained=False)
        'float32'
    """
    if precision != "auto":
        check_precision(precision, ("auto", *PRECISIONS))
        return precision
    kind = torch.device(device).type
    if kind == "cuda":
        quicker = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        of_cpu = getattr(torch.cpu, "get_capabilities", dict)  # older torch has none
        quicker = kind == "cpu" and of_cpu().get("amx_bf16", False)
    return "bfloat16" if pretrained and quicker else "float32"


def check_precision(precision: str, known: tuple[str, ...] = PRECISIONS) -> None:
    """Refuse an unknown precision."""
    if precision not in known:
        raise ValueError(f"precision must be one of {known}, but got {precision!r}")


def forward(net: Callable[[Tensor], Tensor], x: Tensor, precision: str) -> Tensor:
    """Return the net's logits, in float32 where it computes under autocast."""
    if precision == "float32":
        return net(x)
    with torch.autocast(x.device.type, torch.bfloat16):
        return net(x).float()
