"""The exercise sheet, end to end: train its nets, keep the results, compare them.

`plan` says what to run, `train_one` runs one of them in a process of its own, `tell` turns the
finished runs into figures and sentences. A run that is on disk already is not trained again.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from counterpoise.study.engines import Emit, Event, run_all

CE, FOCAL, FOCAL_MEAN_1 = "cross entropy", "focal, α sums to 1", "focal, α mean 1"
NETS = {"plain": None, "LayerNorm": "layer", "GroupNorm": "group"}


@dataclass(frozen=True)
class Setting:
    """How much of a data set the demo takes, and how long it trains on it."""

    train: int  # images of part 1, the first ones
    test: int
    epochs: tuple[int, int]  # of part 1 and part 2
    per_class: int  # part 2: class k has (k + 1) * per_class training images
    per_class_test: int


SETTINGS = {
    ("fashion_mnist", False): Setting(60_000, 10_000, (3, 10), 600, 100),
    ("fashion_mnist", True): Setting(6_000, 1_000, (3, 10), 120, 50),
    ("digits", False): Setting(1_197, 600, (30, 60), 11, 5),
    ("digits", True): Setting(1_197, 600, (10, 30), 11, 5),
}


def plan(data: str, quick: bool, seed: int = 0) -> dict[str, dict[str, Any]]:
    """The runs of the sheet: the name of each run's folder, and all that it depends on.

    Args:
        data: "fashion_mnist" or "digits".
        quick: fewer images (and, on digits, fewer epochs).
        seed: of initial weights and sample order; the same in all runs.
    """
    setting = SETTINGS[data, quick]
    common = {"data": data, "quick": quick, "seed": seed, "lr": 0.1, "batch_size": 32}
    runs = {}
    for label, norm in NETS.items():
        runs[f"part1-{label.lower()}"] = common | {
            "part": 1,
            "label": label,
            "norm": norm,
            "convs_per_block": 8,
            "loss": CE,
            "epochs": setting.epochs[0],
        }
    for folder, loss in (("ce", CE), ("focal", FOCAL), ("focal-mean1", FOCAL_MEAN_1)):
        runs[f"part2-{folder}"] = common | {
            "part": 2,
            "label": loss,
            "norm": None,
            "convs_per_block": 2,
            "loss": loss,
            "epochs": setting.epochs[1],
        }
    return runs


def run(runs: dict[str, dict[str, Any]], out: Path, workers: int | None = None) -> Iterator[Event]:
    """Train what is not in `out` yet, the longest first, and yield what happens.

    Raises:
        ValueError: `out` cannot be written, or holds runs of another plan.
    """
    _check_folder(runs, out)
    missing = {name: (str(out / name), spec) for name, spec in runs.items() if not _done(out, name)}
    for name in runs.keys() - missing.keys():
        yield Event(name, "finished", "kept")
    longest_first = sorted(missing, key=lambda name: _cost(runs[name]), reverse=True)
    yield from run_all(train_one, {name: missing[name] for name in longest_first}, workers=workers)


def train_one(job: tuple[str, dict[str, Any]], emit: Emit) -> None:
    """Train one run and write its folder: `predictions.npz`, and at last `run.json`.

    Emits {"progress": share} and {"row": epoch's row}.
    """
    import numpy as np
    import torch

    from counterpoise import models, norms, probe, train

    folder, spec = Path(job[0]), job[1]
    data, train_part, test_part = _load(spec)
    torch.manual_seed(spec["seed"])
    net = models.DeeperCNN(
        norms.ALL[spec["norm"]] if spec["norm"] else None,
        num_classes=data.num_classes,
        convs_per_block=spec["convs_per_block"],
        image_size=tuple(data.train.inputs.shape[2:]),
    )
    loss = _loss(spec["loss"], train_part.targets)
    first = torch.arange(64) * (len(train_part) // 64)  # spread: classes lie in order in part 2
    flow = probe.first_step(
        net, loss, train_part.inputs[first].double() / 255, train_part.targets[first]
    )
    result = {
        "flow": flow,
        "gradient_norm": sum(layer["grad_norm"] ** 2 for layer in flow) ** 0.5,
        "data": data.source,
        "class_names": data.class_names,
        "train_counts": torch.bincount(train_part.targets).tolist(),
    }
    history = train.fit(
        net,
        loss,
        train_part,
        test_part,
        epochs=spec["epochs"],
        lr=spec["lr"],
        batch_size=spec["batch_size"],
        seed=spec["seed"],
        on_epoch=lambda row: emit({"row": row}),
        on_progress=lambda p: emit({"progress": p}),
    )
    predicted = train.predict(net, test_part.inputs)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "predictions.npz", targets=test_part.targets, predicted=predicted)
    record = {"spec": spec, "history": history, **result}
    _write(folder / "run.json", json.dumps(record, indent=1, ensure_ascii=False))


def tell(runs: dict[str, dict[str, Any]], out: Path) -> dict[str, Any]:
    """Draw the figures and write the sentences for the finished runs in `out`.

    Writes PNGs and `comparison.json`; returns what the latter holds: data, histories of part 1,
    scores of part 2 by loss, findings (list of {code, text, evidence}), figures (file names).
    """
    from counterpoise import figures, findings
    from counterpoise.metrics import score

    records = {name: json.loads((out / name / "run.json").read_text()) for name in runs}
    parts: dict[int, dict[str, dict[str, Any]]] = {1: {}, 2: {}}
    scores = {}
    for name, record in records.items():
        label, part = record["spec"]["label"], record["spec"]["part"]
        parts[part][label] = record
        if part == 2:
            scores[label] = score(*_predictions(out / name), len(record["class_names"]))
    names = parts[2][CE]["class_names"]
    histories = {label: record["history"] for label, record in parts[1].items()}
    flows = {label: record["flow"] for label, record in parts[1].items()}
    drawn = {
        "part1_accuracy.png": figures.accuracy_curves(histories, chance=1 / len(names)),
        "part1_layers.png": figures.layer_flow(flows),
        "part2_confusion.png": _pair(scores, CE, FOCAL, names),
        "part2_confusion_alpha_mean_1.png": _pair(scores, CE, FOCAL_MEAN_1, names),
        "part2_recall.png": figures.recall_bars(scores, names),
    }
    for file, figure in drawn.items():
        figures.save(figure, out / file)
    found = findings.explain_norms(histories, flows, chance=1 / len(names), test_size=_n_test(out))
    for other in (FOCAL, FOCAL_MEAN_1):
        found += findings.compare_losses(CE, scores[CE], other, scores[other], names)
    found += findings.explain_alpha(*_alpha_facts(parts[2], scores))
    story = {
        "data": parts[2][CE]["data"],
        "class_names": names,
        "part1": histories,
        "part2": {label: s.to_dict() for label, s in scores.items()},
        "findings": [asdict(f) for f in {f.text: f for f in found}.values()],  # each text once
        "figures": list(drawn),
    }
    _write(out / "comparison.json", json.dumps(story, indent=1, ensure_ascii=False))
    return story


def _load(spec: dict[str, Any]) -> Any:
    from counterpoise import data

    setting = SETTINGS[spec["data"], spec["quick"]]
    source = data.digits() if spec["data"] == "digits" else data.fashion_mnist(download=False)
    if spec["part"] == 1:
        return source, _first(source.train, setting.train), _first(source.test, setting.test)
    steps = range(1, source.num_classes + 1)
    return (
        source,
        data.make_imbalanced(source.train, [k * setting.per_class for k in steps]),
        data.make_imbalanced(source.test, [k * setting.per_class_test for k in steps]),
    )


def _first(part: Any, n: int) -> Any:
    return type(part)(part.inputs[:n], part.targets[:n])


def _loss(name: str, targets: Any) -> Any:
    import torch

    from counterpoise.losses import FocalLoss

    if name == CE:
        return torch.nn.CrossEntropyLoss()
    counts = torch.bincount(targets).double()
    alpha = counts.sum() / counts
    alpha = alpha / (alpha.sum() if name == FOCAL else alpha.mean())
    return FocalLoss(gamma=2.0, weight=alpha.float(), reduction="batchmean")


def _alpha_facts(records: dict[str, dict[str, Any]], scores: dict[str, Any]) -> tuple[Any, ...]:
    """What `explain_alpha` takes; the mean weight is over the images of the training part."""
    counts = records[FOCAL]["train_counts"]
    inverse = [sum(counts) / n for n in counts]
    alpha = [a / sum(inverse) for a in inverse]
    mean_weight = sum(a * n for a, n in zip(alpha, counts, strict=True)) / sum(counts)
    norms = [records[name]["gradient_norm"] for name in (CE, FOCAL, FOCAL_MEAN_1)]
    return (sum(alpha), mean_weight, *norms, *(scores[n] for n in (FOCAL, FOCAL_MEAN_1, CE)))


def _pair(scores: dict[str, Any], left: str, right: str, names: list[str]) -> Any:
    from counterpoise.figures import confusion_pair

    return confusion_pair(scores[left], scores[right], names, (left, right))


def _predictions(folder: Path) -> tuple[Any, Any]:
    import numpy as np

    with np.load(folder / "predictions.npz", allow_pickle=False) as kept:
        return kept["targets"], kept["predicted"]


def _n_test(out: Path) -> int:
    return len(_predictions(out / "part1-plain")[0])


def _cost(spec: dict[str, Any]) -> int:
    setting = SETTINGS[spec["data"], spec["quick"]]
    images = setting.train if spec["part"] == 1 else 55 * setting.per_class
    return images * spec["epochs"] * spec["convs_per_block"] * (1 if spec["norm"] is None else 2)


def _done(out: Path, name: str) -> bool:
    return (out / name / "run.json").exists()


def _check_folder(runs: dict[str, dict[str, Any]], out: Path) -> None:
    for name, spec in runs.items():
        if _done(out, name):
            kept = json.loads((out / name / "run.json").read_text())["spec"]
            if kept != spec:
                raise ValueError(
                    f"{out} holds results of other settings ({name}); choose another folder "
                    f"with --out, or remove this one"
                )
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise ValueError(
            f"{out} must be a folder that can be written, but: {error.strerror}; choose another "
            f"one with --out"
        ) from error


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    unfinished = path.with_name(path.name + ".tmp")
    with open(unfinished, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
