"""Scores of a run's net or model on its splits."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from counterpoise import data, losses
from counterpoise.metrics import adjust, evaluate
from counterpoise.study import record


def score_splits(
    splits: Mapping[str, data.Split],
    logits: Mapping[str, np.ndarray],
    counts: list[int],
    seen_counts: Tensor,
) -> tuple[dict[str, np.ndarray], record.Content]:
    """Return logits and targets to be kept, and the scores, those after post-hoc adjustment too.

    Its τ is chosen on validation, if there is one.
    """
    found = evaluate_splits(splits, logits, counts)
    kept: dict[str, np.ndarray] = {}
    for name, z in logits.items():
        kept |= {f"{name}_logits": z, f"{name}_targets": splits[name].targets.numpy()}
    if logits.keys() >= {"validation", "test"}:
        held, targets = torch.from_numpy(logits["validation"]), splits["validation"].targets
        tau = losses.choose_tau(held, targets, seen_counts).tau
        shifted = adjust(logits["test"], seen_counts.tolist(), tau)
        adjusted = evaluate(kept["test_targets"], shifted, counts)
        found |= {"tau": tau, "adjusted": adjusted.to_dict()}
    return kept, found


def evaluate_splits(
    splits: Mapping[str, data.Split], logits: Mapping[str, np.ndarray], counts: list[int]
) -> record.Content:
    """Return the scores on each split."""
    return {
        name: evaluate(splits[name].targets.numpy(), z, counts).to_dict()
        for name, z in logits.items()
    }
