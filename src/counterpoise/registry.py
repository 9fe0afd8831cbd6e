"""The registry of losses, norms, samplers, models, metrics and more: one row per member.

The command line's help, the checks of a plan, the findings, the tables in the docs and the test
suites read these rows, none of which imports torch. A new member is one file in its family's folder
and one row here. Whatever has no row can be named as `package.module:name`.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from counterpoise.user_code import import_name


@dataclass(frozen=True)
class Member:
    """Row of the registry: the factory of a member and its description.

    Args:
        make: the factory, as `package.module:name`; "" where there is none.
        help: when to use it, in one line.
        formula: for one sample of class t, in Markdown.
        paper: number on arXiv.
        use: the expression that builds it in Python.
        needs: the arguments that the factory is called with ("counts", "epochs") or the net must
            have ("cosine head"); of a reference, its kind of data ("vectors", "images").
        balanced: the loss it reduces to for balanced classes; "" where it does not depend on
            their sizes.
        tuned: of a classical model, the hyperparameter that is tuned.
        grid: the values of it that are tried, from the lowest up.
    """

    make: str
    help: str
    formula: str = ""
    paper: str = ""
    use: str = ""
    needs: tuple[str, ...] = ()
    balanced: str = ""
    tuned: str = ""
    grid: tuple[float, ...] = ()

    def load(self) -> Any:
        """Return the factory."""
        return import_name("a member", self.make) if self.make else None


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


_LOSSES = "counterpoise.losses"
LOSSES: dict[str, Member] = {
    "cross_entropy": Member(
        f"{_LOSSES}._adjusted:AdjustedCrossEntropyLoss",
        "always the first row of the table: tuned well, it is often enough "
        "([Shwartz-Ziv et al. 2023](https://arxiv.org/abs/2312.02517))",
        "-log p_t, p = softmax(z)",
        use="losses.AdjustedCrossEntropyLoss()",
    ),
    "weighted": Member(
        f"{_LOSSES}._class_weights:weighted_cross_entropy",
        "few epochs, or a net too small to fit everything; hurts when the rare classes are fitted "
        "anyway",
        "-log p_t, times N / (C n_t)",
        use="losses.AdjustedCrossEntropyLoss(weight=losses.inverse_weights(counts))",
        needs=("counts",),
        balanced="plain cross entropy",
    ),
    "focal": Member(
        f"{_LOSSES}._focal:FocalLoss",
        "calibration, label noise in the easy mass, detection; for imbalance alone, expect about "
        "cross entropy",
        "(1 - p_t)^γ · -log p_t",
        "1708.02002",
        "losses.FocalLoss(gamma)",
    ),
    "weighted_focal": Member(
        f"{_LOSSES}._class_weights:weighted_focal_loss",
        "as `weighted`",
        "the same, times N / (C n_t)",
        "1708.02002",
        "losses.FocalLoss(gamma, alpha=losses.inverse_weights(counts))",
        ("counts",),
        "plain focal loss",
    ),
    "poly": Member(
        f"{_LOSSES}._poly:PolyLoss",
        "a cheap variation to try on balanced data",
        "-log p_t + ε (1 - p_t)",
        "2204.12511",
        "losses.PolyLoss(epsilon)",
    ),
    "class_balanced": Member(
        f"{_LOSSES}._class_balanced:ClassBalancedLoss",
        "as `weighted`, where full inverse weights are too much",
        "-log p_t, times (1 - β) / (1 - β^n_t)",
        "1901.05555",
        "losses.ClassBalancedLoss(counts, beta)",
        ("counts",),
        "plain cross entropy, or focal loss if it has a gamma",
    ),
    "balanced_softmax": Member(
        f"{_LOSSES}._logit_adjusted:BalancedSoftmaxLoss",
        "**the first to try** for balanced accuracy",
        "-log softmax(z + log n)_t",
        "2007.10740",
        "losses.BalancedSoftmaxLoss(counts)",
        ("counts",),
        "plain cross entropy",
    ),
    "logit_adjusted": Member(
        f"{_LOSSES}._logit_adjusted:LogitAdjustedLoss",
        "the same with a knob; τ = 1 is `balanced_softmax`",
        "-log softmax(z + τ log π)_t",
        "2007.07314",
        "losses.LogitAdjustedLoss(counts, tau)",
        ("counts",),
        "plain cross entropy",
    ),
    "ldam": Member(
        f"{_LOSSES}._ldam:LDAMLoss",
        "with a cosine head and `DeferredReweighting`, as its authors train it",
        "-log softmax(s (z - m_t at t))_t, m_t ∝ n_t^(-1/4)",
        "1906.07413",
        "losses.LDAMLoss(counts)`, `models.NormedLinear",
        ("counts", "cosine head"),
        "one margin for all classes",
    ),
    "seesaw": Member(
        f"{_LOSSES}._seesaw:SeesawLoss",
        "very many classes with a long tail, as in instance segmentation; it can count them itself "
        "while training",
        "-log softmax(z + log S_t)_t, S_tj = min(1, n_j / n_t)^p · max(1, p_j / p_t)^q",
        "2008.10032",
        "losses.SeesawLoss(counts, p, q)",
        ("counts",),
        "cross entropy that presses the more on what is more probable than the target",
    ),
    "cdt": Member(
        f"{_LOSSES}._vs:CDTLoss",
        "long training that fits every sample",
        "-log softmax((n / n_max)^γ z)_t",
        "2001.01385",
        "losses.CDTLoss(counts, power)",
        ("counts",),
        "plain cross entropy",
    ),
    "vs": Member(
        f"{_LOSSES}._vs:VSLoss",
        "both at once, with two knobs to tune",
        "-log softmax((n / n_max)^γ z + τ log π)_t",
        "2103.01550",
        "losses.VSLoss(counts, power, tau)",
        ("counts",),
        "plain cross entropy",
    ),
}
MULTI_LABEL_LOSSES: dict[str, Member] = {
    "sigmoid_focal": Member(
        f"{_LOSSES}._sigmoid_focal:SigmoidFocalLoss",
        "binary, multi-label, detection",
        "focal for each yes/no",
        "1708.02002",
        "losses.SigmoidFocalLoss(gamma, alpha)",
    ),
    "asymmetric": Member(
        f"{_LOSSES}._asymmetric:AsymmetricLoss",
        "many labels, few of them true",
        "focal with γ₋ > γ₊, easy negatives cut off",
        "2009.14119",
        "losses.AsymmetricLoss()",
    ),
}

DEFAULT_LOSSES = ("cross_entropy", "logit_adjusted", "weighted")  # compared if nothing is said
BACKBONES = ("timm:", "torchvision:")  # before the name of a pretrained net

_NORMS = "counterpoise.norms"
PLAIN_NORMS: dict[str, Member] = {  # in addition to this package's own
    "none": Member("", "no normalization"),
    "batch": Member(f"{_NORMS}._batch:for_shape", "torch's BatchNorm", paper="1502.03167"),
}
NORMS: dict[str, Member] = {
    "layer": Member(
        f"{_NORMS}._layer:for_shape", "over (C, H, W) of each sample", "", "1607.06450"
    ),
    "group": Member(
        f"{_NORMS}._group:for_shape", "over each of two groups of channels", "", "1803.08494"
    ),
    "rms": Member(f"{_NORMS}._rms:for_shape", "as layer, without the mean", paper="1910.07467"),
    "layer2d": Member(
        f"{_NORMS}._layer_2d:for_shape", "over the channels of each pixel", "", "2201.03545"
    ),
    "instance": Member(
        f"{_NORMS}._instance:for_shape", "over each channel of a sample", "", "1607.08022"
    ),
}

_SAMPLERS = "counterpoise.samplers"
SAMPLERS: dict[str, Member] = {
    "shuffle": Member(f"{_SAMPLERS}._shuffle:ShuffleSampler", "every sample once an epoch"),
    "balanced": Member(f"{_SAMPLERS}._balanced:BalancedSampler", "every class equally often"),
    "square_root": Member(
        f"{_SAMPLERS}._square_root:SquareRootSampler",
        "a class as often as the square root of its size",
        "",
        "1805.00932",
    ),
    "progressive": Member(
        f"{_SAMPLERS}._progressive:ProgressiveSampler",
        "from shuffle to balanced over the training",
        "",
        "1910.09217",
        needs=("epochs",),
    ),
}

_MODELS = "counterpoise.models"
MODELS: dict[str, Member] = {
    "deeper_cnn": Member(f"{_MODELS}._deeper_cnn:for_shape", "the exercise's plain deep CNN"),
    "resnet8": Member(f"{_MODELS}._resnet:resnet8", "CIFAR's small ResNet", paper="1512.03385"),
    "resnet20": Member(f"{_MODELS}._resnet:resnet20", "CIFAR's ResNet-20", paper="1512.03385"),
    "mlp": Member(f"{_MODELS}._mlp:for_shape", "for vectors, as those of a table"),
    "linear": Member(f"{_MODELS}._heads:linear", "for vectors that a net has made of samples"),
    "cosine": Member(f"{_MODELS}._heads:cosine", "the same, by directions alone", "", "1801.09414"),
}

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

_TRAIN = "counterpoise.train"
AUGMENTS: dict[str, Member] = {
    "none": Member("", "the samples as they are"),
    "flip": Member(f"{_TRAIN}._augment:flip", "mirrored left to right, one in two"),
    "crop": Member(f"{_TRAIN}._augment:crop", "shifted by up to an eighth"),
    "flip+crop": Member(f"{_TRAIN}._augment:flip_and_crop", "both"),
}
OPTIMIZERS: dict[str, Member] = {
    "sgd": Member("", "SGD with momentum"),
    "adamw": Member("", "AdamW", paper="1711.05101"),
}
SCHEDULES: dict[str, Member] = {
    "cosine": Member(
        f"{_TRAIN}._schedule:cosine", "down to 0 along half a cosine", "", "1608.03983"
    ),
    "constant": Member(f"{_TRAIN}._schedule:constant", "one learning rate"),
}

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


def resolve(kind: str, name: str | Callable[..., Any], table: Mapping[str, Any]) -> Any:
    """Return the entry of a table, the object that `package.module:name` names, or a callable.

    Args:
        kind: the kind of object, for the error message, such as "loss".
        name: a key of the table, or `package.module:name`; modules in the current folder count;
            or a callable, which is returned itself.
        table: the entries by name.

    Raises:
        ValueError: a name that is neither; the message holds the nearest valid one.

    Example:
        >>> resolve("number", "one", {"one": 1, "two": 2})
        1
        >>> resolve("number", "math:pi", {}) > 3
        True
    """
    if not isinstance(name, str) and callable(name):
        return name
    if name in table:
        return table[name]
    if ":" in name:
        return import_name(kind, name)
    raise ValueError(unknown(kind, name, table))


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message that a name is unknown, with the nearest known one.

    Example:
        >>> unknown("loss", "focl", ["focal", "ldam"])
        "loss must be one of focal, ldam, but got 'focl'; did you mean 'focal'?"
        >>> unknown("loss", "la", ["ldam", "logit_adjusted"]).split()[-1]
        "'logit_adjusted'?"
    """
    known = list(known)
    text = str(name)
    begins = [k for k in known if text and k.startswith(text)]
    begins += [k for k in known if "".join(word[:1] for word in k.split("_")) == text]
    near = begins or difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{kind} must be one of {', '.join(known)}, but got {name!r}{meant}"


def name_of(thing: Any) -> str:
    """Return a name as it is, and the `package.module:name` of an object.

    Raises:
        ValueError: an object that cannot be imported by name, such as a lambda or one of a script.

    Example:
        >>> import math
        >>> name_of("focal"), name_of(math.sqrt)
        ('focal', 'math:sqrt')
    """
    if isinstance(thing, str):
        return thing
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "<")
    if module in (None, "__main__") or "<" in name:
        called = f" called {name}" if isinstance(name, str) and name != "<" else ""
        raise ValueError(
            f"a {type(thing).__name__}{called} must be importable, as every run has a process of "
            "its own; put it into a module (a file beside the script will do) and give "
            "'module:name'"
        )
    return f"{module}:{name}"


def table_of_losses() -> str:
    """Return the table of losses in docs/which_loss.md, in Markdown."""
    rows = ["| name | formula, for one sample of class t | when | paper | import |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for name, m in (LOSSES | MULTI_LABEL_LOSSES).items():
        paper = f"[{m.paper}](https://arxiv.org/abs/{m.paper})" if m.paper else ""
        rows.append(f"| `{name}` | {m.formula} | {m.help} | {paper} | `{m.use}` |")
    return "\n".join(rows)
