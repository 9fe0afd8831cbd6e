"""The exercise from data to comparison: two plans for `counterpoise.study`, and their results.

`plans` says what to run, `counterpoise.study` runs it, `explain` turns the records into figures and
findings, and `tables` into what `counterpoise demo` prints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise import data, files, losses, metrics, models
from counterpoise.exercise import compare_losses, explain_alpha, explain_norms
from counterpoise.exercise._summary import summarize
from counterpoise.study import Data, Imbalance, Plan, Record, Training, open_study
from counterpoise.study.record import to_json

if TYPE_CHECKING:
    from torch import Tensor, nn

CE, FOCAL, FOCAL_MEAN_1 = "cross entropy", "focal, α sums to 1", "focal, α mean 1"
PART_1, PART_2, FINDINGS = "part1", "part2", "findings.txt"
QUICK = 6_000, 1_000  # images to train and to test on in the quick setting of part 1
TITLES = {
    "none": "plain",
    "layer": "LayerNorm",
    "group": "GroupNorm",
    "cross_entropy": CE,
    "focal_sum_1": FOCAL,
    "focal_mean_1": FOCAL_MEAN_1,
}


@dataclass(frozen=True)
class Setting:
    """The epochs of the demo on a data set, and its number of images in part 2."""

    data: str  # of part 1
    epochs: tuple[int, int]  # of part 1 and part 2
    per_class: int  # part 2: class k has (k + 1) * per_class training images
    per_class_test: int


SETTINGS = {
    ("fashion_mnist", False): Setting("fashion_mnist", (3, 10), 600, 100),
    ("fashion_mnist", True): Setting(f"{__name__}:first_fashion_mnist", (3, 10), 120, 50),
    ("digits", False): Setting("digits", (30, 60), 11, 5),
    ("digits", True): Setting("digits", (10, 30), 11, 5),
}


def plans(data: str, quick: bool, seed: int = 0) -> dict[str, Plan]:
    """Return the plans of both parts of the exercise, by the name of their folder.

    Args:
        data: "fashion_mnist" or "digits".
        quick: use fewer images (and, on digits, fewer epochs).
        seed: of initial weights and sample order; the same in all runs.
    """
    setting = SETTINGS[data, quick]
    part_1 = Plan(
        data=Data(setting.data, test="held_out"),
        norms=("none", "layer", "group"),
        losses=("cross_entropy",),
        seeds=(seed,),
        metric="accuracy",
        references=False,  # the sheet asks for none
        training=_training(setting.epochs[0], f"{__name__}:deep_cnn"),
    )
    part_2 = Plan(
        data=Data(data, test="held_out"),
        norms=("none",),
        losses=("cross_entropy", f"{__name__}:focal_sum_1", f"{__name__}:focal_mean_1"),
        seeds=(seed,),
        imbalance=Imbalance(
            profile="linear",
            factor=10,
            largest=10 * setting.per_class,
            test=True,
            test_largest=10 * setting.per_class_test,
            draw="first",
        ),
        references=False,
        training=_training(setting.epochs[1], "deeper_cnn"),
    )
    return {PART_1: part_1, PART_2: part_2}


def _training(epochs: int, model: str) -> Training:
    """Train as the exercise does: it evaluates on training and test images, and tunes nothing."""
    return Training(
        model=model,
        image_size=32,
        epochs=epochs,
        batch_size=32,
        lr=0.1,
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
        augment="none",
        validation=0.0,
        watch=("train", "test"),
    )


def deep_cnn(norm: Any, shape: tuple[int, int, int], num_classes: int) -> "nn.Module":
    """Return the net of part 1, of 16 convolutions."""
    return models.DeeperCNN(
        norm,
        in_channels=shape[0],
        num_classes=num_classes,
        convs_per_block=8,
        image_size=shape[1:],
    )


def focal_sum_1(counts: "Tensor") -> "nn.Module":
    """Return the focal loss of the exercise: γ = 2, α inverse to the class sizes, of sum 1."""
    return _focal(counts, 1.0)


def focal_mean_1(counts: "Tensor") -> "nn.Module":
    """Return the same loss with α of mean 1."""
    return _focal(counts, float(len(counts)))


def _focal(counts: "Tensor", alpha_sum: float) -> "nn.Module":
    alpha = counts.double().reciprocal()
    alpha = alpha_sum * alpha / alpha.sum()
    return losses.FocalLoss(gamma=2.0, alpha=alpha.float(), reduction="batchmean")


def first_fashion_mnist() -> data.Splits:
    """Return the first images of FashionMNIST, for the quick setting."""
    found = data.fashion_mnist(download=False)
    train, test = (
        data.Split(part.inputs[:n], part.targets[:n])
        for part, n in zip((found.train, found.test), QUICK, strict=True)
    )
    return replace(found, train=train, test=test)


def explain(folder: Path) -> dict[str, Any]:
    """Draw the figures and collect the findings of the finished runs of both parts.

    Args:
        folder: holds the studies of `plans`, each under its name; PNGs, `comparison.json` and
            `findings.txt` are written into it.

    Returns:
        What `comparison.json` holds: data (their source), class_names, part1 (histories by net),
        part2 (scores by loss), findings, summary (of these, in lines) and figures (file names).
    """
    from counterpoise import plots  # and not above: every run imports this file

    nets, rare = (
        {TITLES[r.label]: r for r in open_study(folder / part).records} for part in (PART_1, PART_2)
    )
    kept = open_study(folder / PART_2).data
    names = kept["class_names"]
    histories = {title: r.history for title, r in nets.items()}
    flows = {title: r.flow for title, r in nets.items()}
    scores = {title: _scores(r) for title, r in rare.items()}
    matrices = [
        plots.confusion_pair(scores[CE], scores[other], names, (CE, other))
        for other in (FOCAL, FOCAL_MEAN_1)
    ]
    figures = {
        "part1_accuracy.png": plots.accuracy_curves(histories, chance=1 / len(names)),
        "part1_layers.png": plots.layer_flow(flows),
        "part2_confusion.png": matrices[0],
        "part2_confusion_alpha_mean_1.png": matrices[1],
        "part2_recall.png": plots.recall_bars(scores, names),
    }
    for file, figure in figures.items():
        plots.save(figure, folder / file)
    tested = sum(nets["plain"].run["test"]["support"])
    found = explain_norms(histories, flows, chance=1 / len(names), test_size=tested)
    for other in (FOCAL, FOCAL_MEAN_1):
        found += compare_losses(CE, scores[CE], other, scores[other], names)
    counts, three = kept["train_counts"], (CE, FOCAL, FOCAL_MEAN_1)
    inverse = [1 / n for n in counts]
    found += explain_alpha(
        [a / sum(inverse) for a in inverse],
        counts,
        [sum(row["grad_norm"] ** 2 for row in rare[title].flow) ** 0.5 for title in three],
        [scores[title] for title in three],
    )
    found = list({f.text: f for f in found}.values())  # each text once
    results = {
        "data": kept["source"],
        "class_names": names,
        "part1": histories,
        "part2": {title: s.to_dict() for title, s in scores.items()},
        "findings": [f.to_dict() for f in found],
        "summary": summarize(found),
        "figures": list(figures),
    }
    files.write(folder / "comparison.json", to_json(results))
    files.write(folder / FINDINGS, "".join(f"{f.code} {f.text}\n" for f in found))
    return results


def _scores(record: Record) -> metrics.Scores:
    predicted, targets = record.answers
    return metrics.score(targets, predicted, len(record.run["test"]["support"]))


def tables(results: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, head and rows of a table for each part of the result of `explain`."""
    nets, scores = results["part1"], results["part2"]
    epochs = [row["epoch"] for row in next(iter(nets.values()))]
    first, *others = scores.values()
    rows = [
        [words, *(f"{s[key]:.1%}" for s in scores.values())]
        for words, key in (
            ("accuracy", "accuracy"),
            ("balanced accuracy", "balanced_accuracy"),
            ("macro-F1", "macro_f1"),
        )
    ]
    for k, name in enumerate(results["class_names"]):
        recall = first["recall"][k]
        theirs = [s["recall"][k] for s in others]  # with the difference in points
        cells = [f"{recall:.1%}", *(f"{r:.1%} ({(r - recall) * 100:+.1f})" for r in theirs)]
        rows.append([f"recall of {name} (n={first['support'][k]})", *cells])
    return [
        (
            "Part 1: test accuracy by epoch",
            ["net", *(f"epoch {e}" if e else "before" for e in epochs)],
            [[n, *(f"{row['test_accuracy']:.1%}" for row in rows)] for n, rows in nets.items()],
        ),
        ("Part 2: imbalanced training and test set", ["", *scores], rows),
    ]
