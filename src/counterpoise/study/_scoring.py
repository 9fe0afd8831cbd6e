"""Scores of a run's net or model on its splits."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise import data, losses, train
from counterpoise.metrics import Measure, adjust, evaluate
from counterpoise.models import NormedLinear
from counterpoise.net import linear_head
from counterpoise.study import record


def score_splits(
    splits: Mapping[str, data.Split],
    logits: Mapping[str, np.ndarray],
    counts: list[int],
    seen_counts: Tensor,
    measure: Measure | None = None,
    head: "LinearHead | None" = None,
) -> tuple[dict[str, np.ndarray], record.Content]:
    """Return logits and targets to be kept, and the scores, also after post-hoc corrections.

    Their τ are chosen on validation, if there is one.

    Args:
        splits: that the logits are of.
        logits: of each split that is scored.
        counts: training samples of each class.
        seen_counts: the same under the sampler.
        measure: what is computed besides, for the study's metric.
        head: of the net, where its rows can be normalized.
    """
    found = evaluate_splits(splits, logits, counts, measure)
    kept: dict[str, np.ndarray] = {}
    for name, z in logits.items():
        kept |= {f"{name}_logits": z, f"{name}_targets": splits[name].targets.numpy()}
    if logits.keys() >= {"validation", "test"}:
        held, targets = torch.from_numpy(logits["validation"]), splits["validation"].targets
        tau = losses.choose_tau(held, targets, seen_counts).tau
        shifted = adjust(logits["test"], seen_counts.tolist(), tau)
        found |= {"tau": tau, "adjusted": _scores(kept["test_targets"], shifted, counts, measure)}
        if head is not None:
            tau = losses.choose_norm_tau(held, targets, *head).tau
            normalized = losses.normalize_logits(logits["test"], *head, tau)
            if np.isfinite(normalized).all():
                scores = _scores(kept["test_targets"], normalized, counts, measure)
                found |= {"tau_norm": tau, "normalized": scores}
    return kept, found


def evaluate_splits(
    splits: Mapping[str, data.Split],
    logits: Mapping[str, np.ndarray],
    counts: list[int],
    measure: Measure | None,
) -> record.Content:
    """Return the scores on each split."""
    return {
        name: _scores(splits[name].targets.numpy(), z, counts, measure)
        for name, z in logits.items()
    }


def _scores(
    targets: np.ndarray, logits: np.ndarray, counts: list[int], measure: Measure | None
) -> record.Content:
    """Return all metrics, and that of the study alone, if it has one."""
    found = evaluate(targets, logits, counts).to_dict()
    if measure is not None and measure.key not in found:
        found[measure.key] = measure(targets, logits)
    return found


class LinearHead(NamedTuple):
    """The norms of the rows of a head, (C), and its bias, (C) or None; in float64."""

    norms: Tensor
    bias: Tensor | None


def read_head(net: nn.Module, inputs: Tensor) -> LinearHead | None:
    """Return what τ-normalization needs of a net with a linear head; None of others.

    Args:
        net: on any device; of a net that is sharded all processes call it.
        inputs: two samples as the net gets them, which it answers.
    """
    try:
        head = linear_head(net, inputs)
    except ValueError:
        return None
    cosine = isinstance(head, NormedLinear)  # whose rows have norm 1
    if cosine or not isinstance(head.weight, nn.Parameter):  # it is computed of others
        return None
    state = train.full_state(head)
    norms = state["weight"].detach().cpu().double().norm(dim=1)
    bias = state["bias"].detach().cpu().double() if "bias" in state else None
    return LinearHead(norms, bias) if bool((norms > 0).all()) else None
