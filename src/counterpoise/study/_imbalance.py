"""The imbalance profile of a plan, laid over a split."""

from typing import TYPE_CHECKING

from counterpoise.study.settings import Imbalance

if TYPE_CHECKING:
    from counterpoise.data import Split

DRAW_SEED = 0  # of what is drawn once for all seeds


def imbalanced(split: "Split", num_classes: int, i: Imbalance, largest: int) -> "Split":
    """Cut a split to the profile; without a `largest`, to the largest one that the data allow."""
    if i.profile == "none":
        return split
    from counterpoise.data import count_classes, imbalance_counts, make_imbalanced

    have = count_classes(split.targets, num_classes).tolist()
    seed = DRAW_SEED if i.draw == "random" else None
    counts = imbalance_counts(i.profile, num_classes, largest or max(have), i.factor)
    if not largest:
        scale = min(1.0, *(n / asked for n, asked in zip(have, counts, strict=True)))
        largest = int(max(have) * scale)
        counts = imbalance_counts(i.profile, num_classes, largest, i.factor)
    return make_imbalanced(split, counts, seed)
