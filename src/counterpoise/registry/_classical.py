"""Rows of classical models: as variants, and as references."""

from counterpoise.registry._member import Member

_FIT, _RATES = "counterpoise.classical", (0.03, 0.1, 0.3, 1)
CLASSICAL: dict[str, Member] = {  # classical models as variants
    "logistic_regression": Member(
        f"{_FIT}:logistic_regression", "standardized", tuned="C", grid=(0.01, 0.1, 1, 10)
    ),
    "hist_gradient_boosting": Member(
        f"{_FIT}:hist_gradient_boosting", "100 rounds", tuned="learning_rate", grid=_RATES
    ),
    "random_forest": Member(
        f"{_FIT}:random_forest", "100 trees", tuned="min_samples_leaf", grid=(1, 3, 10, 30)
    ),
    "balanced_random_forest": Member(
        f"{_FIT}:balanced_random_forest", "100 trees", tuned="min_samples_leaf", grid=(1, 2, 4, 8)
    ),
    "rus_boost": Member(
        f"{_FIT}:rus_boost", "50 rounds of stumps", tuned="learning_rate", grid=_RATES
    ),
}

_REFERENCES = "counterpoise.references"
REFERENCES: dict[str, Member] = {  # classical models beside the nets, each with its fixed budget
    "logistic_regression": Member(
        f"{_REFERENCES}:logistic_regression",
        "balanced class weights, C = 1, at most 200 steps",
        use="sklearn.linear_model.LogisticRegression",
        needs=("vectors", "features"),
    ),
    "gradient_boosting": Member(
        f"{_REFERENCES}:gradient_boosting",
        "on histograms, balanced class weights, 10 to 100 rounds",
        use="sklearn.ensemble.HistGradientBoostingClassifier",
        needs=("vectors",),
    ),
    "balanced_random_forest": Member(
        f"{_REFERENCES}:balanced_random_forest",
        "100 trees, each on as many samples of every class as the rarest has",
        use="imblearn.ensemble.BalancedRandomForestClassifier",
        needs=("vectors",),
    ),
    "logistic_regression_on_pixels": Member(
        f"{_REFERENCES}:logistic_regression_on_pixels",
        "images averaged down to 16 x 16, balanced class weights, C = 0.03, at most 200 steps",
        use="sklearn.linear_model.LogisticRegression",
        needs=("images",),
    ),
    "always_the_largest_class": Member(
        f"{_REFERENCES}:always_the_largest_class",
        "the class sizes as probabilities, whatever the sample: what no learning reaches",
        use="sklearn.dummy.DummyClassifier",
    ),
}
