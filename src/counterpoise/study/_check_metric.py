"""Checks of what a plan says of its metric."""

from typing import TYPE_CHECKING

from counterpoise import registry
from counterpoise.study._check_words import shown

if TYPE_CHECKING:
    from counterpoise.study.plan import Plan

_LARGEST = 1e9  # margin, of costs


def check_metric(plan: "Plan") -> None:
    """Refuse a metric that there is none of, a margin that fits none, and costs of another one.

    Raises:
        ValueError: it is one.
    """
    row = registry.metric(plan.metric, True)
    most = 1.0 if row.unit == "%" else _LARGEST
    if not 0 <= plan.margin <= most:
        raise ValueError(
            f"margin must be above 0 and at most {most:g}, but got {shown(plan.margin)}; 0 is the "
            "metric's own"
        )
    if (plan.metric == "expected_cost") != bool(plan.costs):
        raise ValueError(
            "costs, a .csv with a row for each true class and a column for each predicted one, "
            f"and metric = 'expected_cost' go together, but got metric {plan.metric!r} and "
            f"costs {shown(plan.costs)}; set both, or neither"
        )
