"""Class shares as a model estimates them, tried where they are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoise.probabilities import Posterior, estimate_prior, move_prior
from counterpoise.sealed import Content
from counterpoise.study import Record


def try_estimate(
    records: Sequence[Record], posteriors: Sequence[Posterior], names: Sequence[str]
) -> Content:
    """Estimate the class shares of the test samples, and return what that costs.

    Args:
        records: the runs whose nets are exported.
        posteriors: of their logits.
        names: of the classes.

    Returns:
        before: the mean log-loss on test at its true shares; after: at the estimated ones; chance:
        twice what shares estimated from so few samples cost on average, even where the
        probabilities are right, (C - 1) / 2n (the expectation of Wilks' statistic, halved); said:
        the share that is the farthest off, in words.
    """
    losses, off = [], []
    for r, posterior in zip(records, posteriors, strict=True):
        log_p, targets = posterior(r.predictions["test_logits"]), r.predictions["test_targets"]
        counts = np.bincount(targets, minlength=log_p.shape[1])
        shares = counts / counts.sum()
        found = np.array(estimate_prior(log_p, posterior.train_counts).shares)
        row = np.arange(len(targets))
        losses.append(
            [
                -move_prior(log_p, posterior.train_counts, new)[row, targets].mean()
                for new in (shares, found)
            ]
        )
        k = int(np.abs(found - shares).argmax())
        off.append((abs(found[k] - shares[k]), k, found[k], shares[k]))
    before, after = np.mean(losses, axis=0).tolist()
    _, k, estimated, true = max(off)
    said = f"as it takes {true:.1%} of {names[k]} for {estimated:.1%}"
    chance = (len(names) - 1) / len(records[0].predictions["test_targets"])
    return {"before": before, "after": after, "chance": chance, "said": said}
