"""Decisions out of class probabilities: costs, thresholds, abstention, and sets of classes.

`Rule` is what a model keeps and applies; `threshold_for_recall`, `abstention_for_share` and
`conformal_thresholds` choose its numbers on validation data, `read_costs` reads those of its costs,
and `evaluate_rule` says on test data what it comes to. Numbers in, numbers out, without torch.
"""

from counterpoise.decisions._choose import (
    abstention_for_share,
    conformal_thresholds,
    samples_needed,
    threshold_for_recall,
)
from counterpoise.decisions._costs import read_costs, read_csv
from counterpoise.decisions._evaluate import RuleScores, evaluate_rule
from counterpoise.decisions._rule import ABSTAINED, KINDS, Kind, Rule

__all__ = [
    "ABSTAINED",
    "KINDS",
    "Kind",
    "Rule",
    "RuleScores",
    "abstention_for_share",
    "conformal_thresholds",
    "evaluate_rule",
    "read_costs",
    "read_csv",
    "samples_needed",
    "threshold_for_recall",
]
