"""Low-rank adapters in the attention layers of a net, by peft."""

from __future__ import annotations

from torch import nn

_OF_ATTENTION = ("attn", "attention", "self_attn")  # names of the modules, in timm and torchvision


def add_lora(body: nn.Module, rank: int, name: str) -> str:
    r"""Put low-rank adapters beside the linear layers of attention, and freeze all else in a net.

    .. math::
        W x \to W x + 2\, B A x, \qquad A \in R^{r \times d},\ B \in R^{k \times r},\ B = 0
        \text{ at first}

    Args:
        body: changed in place.
        rank: r, at least 1.
        name: of the net, for messages.

    Returns:
        A sentence on what is trained.

    Raises:
        ValueError: a net without such layers, or peft is not installed.

    Source: Hu et al. 2022, arXiv 2106.09685, section 4.1, with :math:`\alpha = 2 r`.

    Example:
        >>> from counterpoise.models import open_backbone
        >>> net = open_backbone("timm:test_vit", 5, weights="none")
        >>> add_lora(net.body, 4, "test_vit")
        'LoRA of rank 4 on 12 attention layers: 9,216 of 315,456 parameters of the body are trained'
    """
    layers = [
        path
        for path, m in body.named_modules()
        if isinstance(m, nn.Linear) and not set(path.split(".")).isdisjoint(_OF_ATTENTION)
    ]
    if not layers:
        raise ValueError(
            f"LoRA is for nets with attention, but {name} has no linear layer in it; leave "
            "training.lora out, and see training.freeze"
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError(
            f"training.lora needs the package peft, but: {error}; pip install peft"
        ) from error
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers)
    inject_adapter_in_model(config, body)
    own = [p.numel() for p in body.parameters() if p.requires_grad]
    every = sum(p.numel() for p in body.parameters())
    return (
        f"LoRA of rank {rank} on {len(layers)} attention layers: {sum(own):,} of {every:,} "
        "parameters of the body are trained"
    )
