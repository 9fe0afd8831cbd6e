"""The metric of a study on its data: what runs compute for it, and how it is called."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise import registry
from counterpoise.decisions import read_costs
from counterpoise.metrics import Measure, rarer_class
from counterpoise.study.plan import Plan

if TYPE_CHECKING:
    from counterpoise.study.events import DataFacts

# The metrics that every record has, also of runs that were named before there were others.
_ALWAYS = {*registry.BESIDE, "nll", "brier"}


def measure_of(
    plan: Plan, class_names: Sequence[str], train_counts: Sequence[int]
) -> Measure | None:
    """Return what is to be computed for a plan's metric alone; None where each run records it.

    Args:
        plan: the study.
        class_names: of its data.
        train_counts: samples of each class to train on.

    Raises:
        ValueError: costs that are none of these classes, a metric of two classes on others, or no
            function of that name.
    """
    row = registry.metric(plan.metric)
    if row.classes and len(class_names) != row.classes:
        raise ValueError(
            f"metric {plan.metric!r} is of the positive one of two classes, but the data have "
            f"{len(class_names)}; macro_f1, macro_auroc and mean_average_precision are means over "
            "classes"
        )
    if plan.metric in _ALWAYS:
        return None
    costs = costs_of(plan, class_names) if plan.costs else ()
    positive = rarer_class(train_counts) if row.classes else 0
    return Measure(plan.metric, positive, costs, row.higher_is_better)


def costs_of(plan: Plan, class_names: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Return a plan's costs[true][predicted], in the order of the classes.

    Raises:
        ValueError: a file that cannot be read, or not of these classes.
    """
    try:
        return read_costs(Path(plan.costs).expanduser(), class_names)
    except OSError as error:
        raise ValueError(
            f"costs must be a .csv that can be read, but {plan.costs}: {error.strerror or error}"
        ) from error


def row_of_metric(
    plan: Plan, facts: "DataFacts", higher_is_better: bool | None = None
) -> registry.Metric:
    """Return the row of a plan's metric, with the plan's margin and the positive class's name.

    Args:
        plan: the study.
        facts: its data.
        higher_is_better: of a function of the user's own; None to import it and see.
    """
    row = registry.metric(plan.metric, higher_is_better)
    if row.classes:
        positive = facts["class_names"][rarer_class(facts["train_counts"])]
        row = replace(row, label=f"{row.label} of {positive}")
    return replace(row, margin=plan.margin or row.margin)


def chance_of(plan: Plan, facts: "DataFacts") -> float | None:
    """Return the score of guessing on the primary metric, where that is known."""
    if plan.metric == "balanced_accuracy":
        return 1 / sum(n > 0 for n in facts["test_counts"])
    if plan.metric == "accuracy":
        return max(facts["test_counts"]) / sum(facts["test_counts"])
    return None
