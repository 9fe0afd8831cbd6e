"""The exercise sheet, end to end: two plans for the study engine, and their story.

`plans` says what to run, `counterpoise.study` runs it, `tell` turns the records into figures and
sentences.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise import files
from counterpoise.study import Imbalance, Plan, Record, Training, open_study
from counterpoise.study.record import to_json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from counterpoise.data import Data

CE, FOCAL, FOCAL_MEAN_1 = "cross entropy", "focal, α sums to 1", "focal, α mean 1"
PART_1, PART_2 = "part1", "part2"
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
    """How long the demo trains on a data set, and on how many images of part 2."""

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
    """The two parts of the sheet, by the name of their folder.

    Args:
        data: "fashion_mnist" or "digits".
        quick: fewer images (and, on digits, fewer epochs).
        seed: of initial weights and sample order; the same in all runs.
    """
    setting = SETTINGS[data, quick]
    part_1 = Plan(
        data=setting.data,
        norms=("none", "layer", "group"),
        seeds=(seed,),
        metric="accuracy",
        training=_training(setting.epochs[0], f"{__name__}:deep_cnn"),
    )
    part_2 = Plan(
        data=data,
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
        training=_training(setting.epochs[1], "deeper_cnn"),
    )
    return {PART_1: part_1, PART_2: part_2}


def _training(epochs: int, model: str) -> Training:
    """Train as the sheet does: it evaluates both parts after every epoch, and chooses nothing."""
    return Training(
        model=model,
        epochs=epochs,
        batch_size=32,
        lr=0.1,
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
        validation=0.0,
        watch=("train", "test"),
    )


def deep_cnn(norm: Any, shape: tuple[int, int, int], num_classes: int) -> "nn.Module":
    """The net of part 1, of 16 convolutions."""
    from counterpoise.models import DeeperCNN

    return DeeperCNN(
        norm,
        in_channels=shape[0],
        num_classes=num_classes,
        convs_per_block=8,
        image_size=shape[1:],
    )


def focal_sum_1(counts: "Tensor") -> "nn.Module":
    """The sheet's focal loss: γ = 2, and α, inverse to the class sizes, sums to 1."""
    return _focal(counts, 1.0)


def focal_mean_1(counts: "Tensor") -> "nn.Module":
    """The same with α scaled to mean 1."""
    return _focal(counts, float(len(counts)))


def _focal(counts: "Tensor", alpha_sum: float) -> "nn.Module":
    from counterpoise.losses import FocalLoss

    alpha = counts.double().reciprocal()
    alpha = alpha_sum * alpha / alpha.sum()
    return FocalLoss(gamma=2.0, alpha=alpha.float(), reduction="batchmean")


def first_fashion_mnist() -> "Data":
    """The first images of FashionMNIST, for the quick setting."""
    from dataclasses import replace

    from counterpoise.data import Part, fashion_mnist

    found = fashion_mnist(download=False)
    parts = zip((found.train, found.test), QUICK, strict=True)
    train, test = (Part(part.inputs[:n], part.targets[:n]) for part, n in parts)
    return replace(found, train=train, test=test)


def tell(out: Path) -> dict[str, Any]:
    """Draw the figures and write the sentences for the finished runs of both parts in `out`.

    Writes PNGs and `comparison.json`; returns what the latter holds: data, histories of part 1,
    scores of part 2 by loss, findings (list of {code, text, evidence}), figures (file names).
    """
    from counterpoise import findings, plots

    nets, rare = (
        {TITLES[r.label]: r for r in open_study(out / p).records} for p in (PART_1, PART_2)
    )
    data = open_study(out / PART_2).data
    names = data["class_names"]
    histories = {title: r.history for title, r in nets.items()}
    flows = {title: r.flow for title, r in nets.items()}
    scores = {title: _scores(r, len(names)) for title, r in rare.items()}
    drawn = {
        "part1_accuracy.png": plots.accuracy_curves(histories, chance=1 / len(names)),
        "part1_layers.png": plots.layer_flow(flows),
        "part2_confusion.png": _pair(scores, CE, FOCAL, names),
        "part2_confusion_alpha_mean_1.png": _pair(scores, CE, FOCAL_MEAN_1, names),
        "part2_recall.png": plots.recall_bars(scores, names),
    }
    for file, figure in drawn.items():
        plots.save(figure, out / file)
    tested = len(nets["plain"].predictions["test_targets"])
    found = findings.explain_norms(histories, flows, chance=1 / len(names), test_size=tested)
    for other in (FOCAL, FOCAL_MEAN_1):
        found += findings.compare_losses(CE, scores[CE], other, scores[other], names)
    found += findings.explain_alpha(*_alpha_facts(rare, data["train_counts"], scores))
    story = {
        "data": data["source"],
        "class_names": names,
        "part1": histories,
        "part2": {title: s.to_dict() for title, s in scores.items()},
        "findings": [asdict(f) for f in {f.text: f for f in found}.values()],  # each text once
        "figures": list(drawn),
    }
    files.write(out / "comparison.json", to_json(story))
    return story


def _scores(record: Record, num_classes: int) -> Any:
    from counterpoise.metrics import score

    kept = record.predictions
    return score(kept["test_targets"], kept["test_logits"].argmax(1), num_classes)


def _alpha_facts(
    records: dict[str, Record], counts: list[int], scores: dict[str, Any]
) -> tuple[Any, ...]:
    """What `explain_alpha` takes; the mean weight is over the images of the training part."""
    inverse = [sum(counts) / n for n in counts]
    alpha = [a / sum(inverse) for a in inverse]
    mean_weight = sum(a * n for a, n in zip(alpha, counts, strict=True)) / sum(counts)
    norms = [
        sum(layer["grad_norm"] ** 2 for layer in records[title].flow) ** 0.5
        for title in (CE, FOCAL, FOCAL_MEAN_1)
    ]
    return (sum(alpha), mean_weight, *norms, *(scores[n] for n in (FOCAL, FOCAL_MEAN_1, CE)))


def _pair(scores: dict[str, Any], left: str, right: str, names: list[str]) -> Any:
    from counterpoise.plots import confusion_pair

    return confusion_pair(scores[left], scores[right], names, (left, right))
