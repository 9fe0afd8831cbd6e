"""Rows of the metrics of runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """Row of the registry: a metric of runs.

    Args:
        label: its name in sentences and tables.
        higher_is_better: False for losses and errors.
        margin: the default of the smallest difference that matters; 0 for a metric that is shown
            but cannot decide.
    """

    label: str
    higher_is_better: bool = True
    margin: float = 0.0


METRICS: dict[str, Metric] = {
    "balanced_accuracy": Metric("balanced accuracy", margin=0.01),
    "accuracy": Metric("accuracy", margin=0.01),
    "macro_f1": Metric("macro-F1", margin=0.01),
    "worst_recall": Metric("worst-class recall", margin=0.01),
    "mean_average_precision": Metric("mean average precision", margin=0.01),
    "nll": Metric("negative log-likelihood", higher_is_better=False),
    "expected_calibration_error": Metric("calibration error", higher_is_better=False),
}
PRIMARY = tuple(name for name, metric in METRICS.items() if metric.margin)  # a plan's `metric`
