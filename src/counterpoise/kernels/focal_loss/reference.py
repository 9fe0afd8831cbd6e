"""The α-balanced focal loss as the paper writes it (Lin et al. 2017, arXiv 1708.02002, eq. 5)."""

import torch


def focal_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, gamma: float
) -> torch.Tensor:
    """-weight_t * (1 - p_t)^gamma * log(p_t) for each sample; logits (N, C), target (N,)."""
    p = torch.softmax(logits, dim=1)
    p_t = p.gather(1, target[:, None]).squeeze(1)
    loss = -((1 - p_t) ** gamma) * torch.log(p_t)
    return loss if weight is None else weight[target] * loss
