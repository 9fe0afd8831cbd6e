"""The focal loss in a form that is exact and has finite gradients at every logit."""

import torch
import torch.nn.functional as F


def focal_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, gamma: float
) -> torch.Tensor:
    """-weight_t * (1 - p_t)^gamma * log(p_t) for each sample, from the margin d.

    With d = logsumexp of the other logits - z_t, the probability is p_t = sigmoid(-d), so

        log(1 - p_t) = logsigmoid(d)      -log(p_t) = -logsigmoid(-d)

    and the loss is weight_t * exp(gamma * logsigmoid(d)) * -logsigmoid(-d). Nothing is subtracted
    from 1 and no power is taken: where p_t rounds to 1 the textbook form (`reference.py`) loses all
    digits, and its gradient is NaN for 0 < gamma < 1.

    Args:
        logits: (N, C, ...), any floating dtype, C at least 2.
        target: (N, ...) int64, within 0 .. C-1.
        weight: (C,) or None.
        gamma: at least 0.

    Returns:
        (N, ...), one loss a sample.
    """
    place = target.unsqueeze(1)
    others = logits.scatter(1, place, float("-inf")).logsumexp(1)
    d = others - logits.gather(1, place).squeeze(1)
    loss = -F.logsigmoid(-d)
    if gamma:
        loss = loss * torch.exp(gamma * F.logsigmoid(d))
    return loss if weight is None else loss * weight[target]
