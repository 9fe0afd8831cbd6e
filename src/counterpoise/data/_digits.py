"""Handwritten digits, 8x8, as scikit-learn brings them along: small, and never downloaded."""

from __future__ import annotations

from typing import Any

import torch

from counterpoise.data.splits import Split, Splits

_SPLIT_SEED = 0


def digits() -> Splits:
    """Load scikit-learn's handwritten digits: 1797 images of 8x8 pixels, ten classes.

    Two thirds are to train on and one third to test on, with each class in the same share in
    both; the split is always the same.

    Returns:
        The data set; images are uint8 of shape (N, 1, 8, 8), spread over 0 to 255.

    Example:
        >>> data = digits()
        >>> len(data.train), len(data.test)
        (1198, 599)
    """
    # Imported here because it takes a second that only those who want digits should spend.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch: Any = load_digits()  # declared as a tuple too, which it is not without return_X_y
    inputs = torch.from_numpy(bunch.images.astype("int64") * 255 // 16).to(torch.uint8)
    whole = Split(inputs.unsqueeze(1), torch.from_numpy(bunch.target.copy()))
    train, test = train_test_split(
        range(len(whole)), test_size=1 / 3, random_state=_SPLIT_SEED, stratify=bunch.target
    )
    return Splits(
        name="digits",
        train=whole.take(torch.tensor(sorted(train))),
        test=whole.take(torch.tensor(sorted(test))),
        class_names=tuple("0123456789"),
        source="handwritten digits of the UCI repository, bundled with scikit-learn",
        held_out=True,
    )
