"""Findings on a study's data: CP101, CP104 to CP106, CP108 and CP109."""

from collections.abc import Sequence

import numpy as np

from counterpoise.findings.finding import Finding, listed, percent, sentence
from counterpoise.study import Study
from counterpoise.study.cautions import half_width

WIDEST = 10.0  # points by which a class's recall may be uncertain
MISLEADING = 10.0  # points by which accuracy may reward a constant answer


def small_classes(study: Study) -> list[Finding]:
    """CP101: so few test samples that a recall of one half is uncertain by more than `WIDEST`."""
    counts = study.data["test_counts"]
    halves = {k: percent(half_width(n)) for k, n in enumerate(counts) if n}
    wide = sorted((k for k, half in halves.items() if half > WIDEST), key=lambda k: counts[k])
    if not wide:
        return []
    few = "the test samples are so few that a recall"
    if study.resampled:
        few = "a seed's test samples are so few that its recall"
    template = (
        "In {small} of {classes} classes " + few + " can be off by "
        "more than {widest} points ({level}%, Wilson). Class {class_name} has the "
        "fewest, {images}: it can be off by {half:.1f}."
    )
    evidence = {
        "small": len(wide),
        "classes": len(counts),
        "widest": f"{WIDEST:g}",
        "images": counts[wide[0]],
        "class_name": study.data["class_names"][wide[0]],
        "half": halves[wide[0]],
        "level": 95,
    }
    return [sentence("CP101", template, evidence)]


def missing_in_validation(study: Study) -> list[Finding]:
    """CP104: splits of the data whose validation split lacks a class."""
    wanted = np.array(study.data["train_counts"]) > 0
    splits = {r.seed: r.run.get("validation") for r in (*study.tuning, *study.records)}
    missing = {
        seed: set(np.flatnonzero(wanted & (np.array(scores["support"]) == 0)).tolist())
        for seed, scores in splits.items()
        if scores
    }
    lacking = [found for found in missing.values() if found]
    if not lacking:
        return []
    template = (
        "In {lacking} of {splits} splits, validation lacks class {members}, so what is chosen "
        "on it, learning rates and τ, is chosen without that class."
    )
    evidence = {
        "lacking": len(lacking),
        "splits": len(missing),
        "members": _names(study, sorted(set().union(*lacking))),
    }
    return [sentence("CP104", template, evidence)]


def largest_class(study: Study) -> list[Finding]:
    """CP105: a constant answer's accuracy is more than `MISLEADING` above its mean recall."""
    counts = np.array(study.data["test_counts"])
    largest, classes = int(counts.argmax()), int((counts > 0).sum())
    share, balanced = percent(counts[largest] / max(1, counts.sum())), percent(1 / max(1, classes))
    if share - balanced <= MISLEADING:
        return []
    template = (
        "Always answering class {class_name} would reach an accuracy of {share:.1f}% "
        + study.on_test
        + ", and a balanced accuracy of {balanced:.1f}%: accuracy is mostly about the large "
        "classes."
    )
    evidence = {
        "class_name": study.data["class_names"][largest],
        "share": share,
        "balanced": balanced,
    }
    return [sentence("CP105", template, evidence)]


def absent_classes(study: Study) -> list[Finding]:
    """CP106: classes without a sample in the training or the test split."""
    found = []
    for split, counts, consequence in (
        (
            "train",
            study.data["train_counts"],
            "The training split has no sample of class {members}: no variant can learn it.",
        ),
        (
            "test",
            _tested(study),
            "The test split has no sample of class {members}: nothing here is about it."
            if not study.resampled
            else "No seed has a test sample of class {members}: nothing here is about it.",
        ),
    ):
        absent = [k for k, n in enumerate(counts) if not n]
        if absent:
            evidence = {"split": split, "members": _names(study, absent)}
            found.append(sentence("CP106", consequence, evidence))
    return found


def left_out(study: Study) -> list[Finding]:
    """CP108: files, columns, rows or cells that were not read."""
    lines = study.data["left_out"]
    if not lines:
        return []
    evidence = {"number": len(lines), "lines": listed(lines, between="; ")}
    return [sentence("CP108", "Not all of the data was read: {lines}.", evidence)]


def doubtful(study: Study) -> list[Finding]:
    """CP109: what may be wrong with the data as they were read."""
    lines = study.data["cautions"]
    if not lines:
        return []
    evidence = {"number": len(lines), "lines": listed(lines, between="; ")}
    return [sentence("CP109", "Look at the data: {lines}.", evidence)]


def _tested(study: Study) -> list[int]:
    """Return the test samples of each class, of all seeds together where each draws its own."""
    runs = [r.run["test"]["support"] for r in (*study.records, *study.references)]
    drawn = study.resampled and bool(runs)
    return np.sum(runs, 0).tolist() if drawn else study.data["test_counts"]


def _names(study: Study, classes: Sequence[int]) -> str:
    return listed([study.data["class_names"][k] for k in classes])
