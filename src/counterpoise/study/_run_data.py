"""The data of a run: split by its seed, with features by what its training split alone shows."""

import warnings
from typing import NamedTuple

import numpy as np

from counterpoise import data
from counterpoise.study import record
from counterpoise.study._imbalance import imbalanced
from counterpoise.study._prepared import load_columns, load_splits
from counterpoise.study.settings import Imbalance
from counterpoise.study.spec import Job


class RunData(NamedTuple):
    """A run's data.

    Attributes:
        splits: with the features of a table in place of its cells.
        rows: where the seed draws the test split, "test_rows": the positions of its samples among
            those kept to train on and, after them, those kept to test on.
        features: "features.json" for the record, where samples are scaled: how they are.
    """

    splits: dict[str, data.Split]
    rows: dict[str, np.ndarray]
    features: dict[str, bytes | str]


def read_data(job: Job, validation: float) -> RunData:
    """Split by the seed, and make features by what the training split alone shows."""
    splits, seed = load_splits(job.study, job.samples, job.readers), job.spec.seed
    rows: dict[str, np.ndarray] = {}
    features: dict[str, bytes | str] = {}
    if job.spec.test == "per_seed":
        train, test, positions = data.draw_test(splits["train"], splits["test"], seed)
        splits |= {"train": train, "test": test}
        rows["test_rows"] = positions.numpy()
    if job.spec.imbalance is not None:
        own = Imbalance(**job.spec.imbalance)
        splits["train"] = imbalanced(splits["train"], job.num_classes, own, own.largest)
    if job.spec.stage == "refit" and "validation" in splits:
        splits["train"] = data.joined(splits["train"], splits.pop("validation"))
    if validation and "validation" not in splits:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of lacking classes: CP104 names them
            pair = data.split_validation(splits["train"], validation, seed)
        splits |= dict(zip(("train", "validation"), pair, strict=True))
    columns = load_columns(job.study)
    if columns is None:
        scale = data.Standardizer.fit(splits["train"].inputs)
    else:
        scale = data.TableEncoder.fit(splits["train"].inputs, columns)
    if content := scale.to_json():
        features["features.json"] = record.to_json(content)
    scaled = {k: data.Split(scale(p.inputs), p.targets) for k, p in splits.items()}
    return RunData(scaled, rows, features)
