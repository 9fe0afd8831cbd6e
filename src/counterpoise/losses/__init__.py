"""Losses for imbalanced classes, each an `nn.Module` called as `loss(logits, target)`."""

from counterpoise.losses._focal import FocalLoss

__all__ = ["FocalLoss"]
