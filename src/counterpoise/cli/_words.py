"""How numbers are called where people read them."""

METRIC_WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "worst_recall": "worst-class recall",
    "mean_average_precision": "mean average precision",
    "nll": "negative log-likelihood",
    "expected_calibration_error": "calibration error",
}
