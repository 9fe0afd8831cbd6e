"""What the runs answered on the test part, without the logits behind it."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from counterpoise.study import Record, record

FILE = "predictions.npz"
Classes = npt.NDArray[np.unsignedinteger]


def answers_of(run: Record) -> tuple[Classes, Classes]:
    """Return the predicted and the true class of every test sample of a finished run.

    The logits are read once and let go of; what is kept takes a few bytes a sample.
    """
    return _answers(run.folder, run.run["files"][FILE]["sha256"])


@lru_cache(maxsize=1024)
def _answers(folder: Path, _: str) -> tuple[Classes, Classes]:
    """Read a run's file, whose digest is the second argument."""
    kept = record.arrays(folder)
    predicted, targets = kept["test_logits"].argmax(1), kept["test_targets"]
    smallest = np.min_scalar_type(kept["test_logits"].shape[1])
    return predicted.astype(smallest), targets.astype(smallest)
