"""Names of columns, parameters and metrics, and what they usually mean."""

import re
import unicodedata
from collections.abc import Iterable

STRONG = ("variant", "method", "algorithm", "approach", "treatment", "condition", "system")
WEAK = (
    *("model", "model_name", "arch", "architecture", "backbone", "network", "net", "classifier"),
    *("estimator", "loss", "loss_fn", "criterion", "norm", "sampler", "optimizer"),
    *("config", "setting", "experiment", "group"),
)
NAMES = ("name", "run_name", "run", "run_id")  # of runs, where no other word is
SEEDS = ("seed", "random_state", "random_seed", "rng_seed", "manual_seed", "seed_everything")
FOLDS = ("fold", "cv_fold", "k_fold", "kfold", "outer_fold")
REPEATS = ("run", "trial", "rep", "replicate", "repeat", "repetition", "replication", *FOLDS)
DATASETS = ("dataset", "data", "data_set", "dataset_name", "task", "benchmark", "corpus")
METRICS = ("metric", "metric_name", "measure")  # columns that name the score of each row
VALUES = ("value", "score", "result")
PARTS = ("split", "phase", "subset", "partition")
EPOCHS = ("epoch", "step", "global_step", "iteration", "iter", "round")
STATES = ("state", "status")
_MEANS = (
    *("mean", "avg", "average", "median", "mw", "mittelwert", "mittel", "durchschnitt", "schnitt"),
    *("moyenne", "mediane", "media", "mediana", "promedio", "medio", "gemiddelde"),
)
_SPREADS = (
    *("std", "sd", "sem", "stdev", "stddev", "stdabw", "stabw", "standardabweichung", "streuung"),
    *("abw", "ecart", "desv", "desviacion", "deviazione", "scarto", "var", "variance", "varianz"),
)
_BESIDE_SPREADS = ("st", "standard", "deviation", "dev", "error", "type", "estandar", "of")

TEST, UNSAID, VALIDATION, TRAIN = range(4)  # in order of preference
_SPLITS = {
    "test": TEST,
    "tst": TEST,
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), VALIDATION),
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
}
_METRICS = (  # in order of preference; each a pattern of words joined by _
    r"balanced_acc(uracy)?|bal_acc|bacc|uar",
    r"acc(uracy)?\d*|top_?1(_acc)?",
    r"(macro_)?f1\w*|f_?score|f_?beta",
    r"(?<!pr_)auc|\w*auroc|roc_auc",
    r"auprc|pr_auc|average_precision|m?_?ap\d*",
    r"mcc|matthews\w*|(cohen_)?kappa",
    r"g_?mean|geometric_mean|worst_recall",
    r"recall\w*|precision\w*|sensitivity|specificity|tpr|tnr|m?iou|dice|jaccard|top_?\d",
    r"r2|bleu|rouge\w*|scores?|reward|return|psnr|ssim|mrr|ndcg|em|exact_match|result|value",
    _ERRORS := (
        r"[a-z]*errors?|err|r?mse|mae|s?mape|rmsle|brier|ece|calibration\w*|perplexity|ppl|nll|"
        r"[wce]er|fid|lpips|deviance|cost|risk|bp[bcd]|bits_per_[a-z]+|fpr\d*|fnr\d*|"
        r"false_(?:positive|negative)s?(?:_rate)?"
    ),
    r"[a-z]*loss",
)
_SAYING_NOTHING = ("score", "scores", "result", "value", "metric")
_OF_FILES = ("seed", "seeds", "run", "runs", "result", "results", "table", "by", "per", "wide")
_RANKED = tuple(re.compile(rf"(?:^|_)(?:{words})(?:_|$)") for words in _METRICS)
_LOWER = re.compile(
    rf"(?:^|_)(?:{_ERRORS}|{_METRICS[-1]}|[a-z]*entropy|regret|divergence|distance|latency|seconds)"
    "(?=_|$)"
)
_HIGHER = re.compile(
    rf"(?:^|_)(?:{'|'.join(_METRICS[:-2])}|accuracies|likelihood|success|similarity|correlation)"
    "(?=_|$)"
)
_NEGATED = re.compile(r"(?<!true)(?<!false)(?:^|_)neg(?:ative)?_(?!predictive|rate|class)")
_SETTING = re.compile(
    r"lr|(base_|initial_)?learning_rate|weight_decay|wd|(train_|eval_)?batch_?size|bs|momentum|"
    r"drop_?(out|path)?(_rate|_prob)?|(max_|num_|n_)?epochs|(n|num|max|min)_\w+|gamma|alpha|"
    r"beta_?\d?|tau|temperature|margin|eps(ilon)?|hidden(_\w+)?|layers|depth|width|k|"
    r"\w*_(size|dim|weight|scale|decay|smoothing|ratio|steps|norm)"
)
_BOOKS = {  # words of what a tracker keeps beside scores and parameters
    *("time", "runtime", "duration", "second", "seconds", "sec", "timestamp", "created", "updated"),
    *("date", "id", "uuid", "index", "path", "dir", "folder", "file", "host", "hostname", "commit"),
    *("sha", "user", "username", "tags", "notes", "sweep", "state", "status", "flos", "flops"),
    *("memory", "mem", "gpu", "device", "pid", "port", "version"),
}


def word(name: str) -> str:
    """Return the last part of a name, as `config/randomState` has it, in lower case with `_`."""
    return "_".join(_tokens(re.split(r"[./]", name)[-1]))


def first_of(words: Iterable[str], names: Iterable[str]) -> str:
    """Return the name whose word comes first among words; "" where none is among them."""
    names = list(names)
    return next((name for w in words for name in names if word(name) == w), "")


def is_run_name(name: str) -> bool:
    """Return whether a column names runs, as `run_name` does, but `model.name` does not."""
    return "_".join(_tokens(name)) in NAMES


def is_summary(text: str) -> bool:
    """Return whether a cell or a column says that it is of means or spreads.

    Example:
        >>> [is_summary(x) for x in ("mean ± std", "Écart-type", "mean teacher", "")]
        [True, True, False, False]
    """
    tokens = set(_tokens(text))
    known = {*_MEANS, *_SPREADS}
    return not tokens.isdisjoint(known) and tokens <= {*known, *_BESIDE_SPREADS}


def holds_summaries(name: str) -> bool:
    """Return whether a column beside those of seeds is of means or spreads, as mean_acc is."""
    return not {*_MEANS, *_SPREADS}.isdisjoint(_tokens(name))


def is_spread(name: str) -> bool:
    """Return whether a column is of spreads by its name, as acc_std is."""
    return not set(_SPREADS).isdisjoint(_tokens(name))


def is_setting(name: str) -> bool:
    """Return whether a column of numbers holds a hyperparameter by its name."""
    return _SETTING.fullmatch(word(name)) is not None


def counts(name: str) -> bool:
    """Return whether a name is of a number of epochs or steps, which a run may choose itself."""
    return not {"epoch", "epochs", "step", "steps", "iterations", "iters"}.isdisjoint(_tokens(name))


def is_kept_beside(name: str) -> bool:
    """Return whether a name is of times, places and sizes, neither of a score nor a setting."""
    return name.startswith("_") or not _BOOKS.isdisjoint(_tokens(name))


def split_of(metric: str) -> int:
    """Return TEST, UNSAID, VALIDATION or TRAIN."""
    return min((_SPLITS[t] for t in _tokens(metric) if t in _SPLITS), default=UNSAID)


def rank(metric: str) -> int | None:
    """Return the place of a metric in the order of preference; None where the name is of none."""
    name = "_".join(t for t in _tokens(metric) if t not in _SPLITS)
    return next((k for k, words in enumerate(_RANKED) if words.search(name)), None)


def can_be_metric(name: str) -> bool:
    """Return whether numbers of this name may be scores."""
    tokens = set(_tokens(name))
    return not (
        is_setting(name)
        or is_kept_beside(name)
        or "seed" in tokens
        or word(name) in (*SEEDS, *REPEATS)
        or is_run_name(name)
        or (rank(name) is None and not tokens.isdisjoint(EPOCHS))
    )


def preferred(metrics: Iterable[str]) -> list[str]:
    """Return metrics with the preferred one first: by split, by metric, then as they stand.

    Test comes before a name without a split, then validation and train; balanced accuracy before
    accuracy, F1, AUROC, average precision, others, errors and last losses.
    """
    last = len(_RANKED)
    return sorted(metrics, key=lambda m: (split_of(m), last if (r := rank(m)) is None else r))


def says_what(metric: str) -> bool:
    """Return whether a name says which metric it is, as score does not."""
    name = "_".join(t for t in _tokens(metric) if t not in (*_SPLITS, *_SAYING_NOTHING))
    return any(words.search(name) for words in (*_RANKED, _LOWER, _HIGHER))


def metric_in(path: str) -> str:
    """Return the metric that the name of a file is of; "" where it says none.

    Example:
        >>> metric_in("out/val_loss_seeds"), metric_in("results")
        ('val_loss', '')
    """
    name = "_".join(t for t in _tokens(path.rpartition("/")[2]) if t not in _OF_FILES)
    return name if says_what(name) else ""


def lower_is_better(metric: str) -> bool:
    """Return whether a name is of a loss or an error, by the last of its words that says so.

    Example:
        >>> names = "val_loss", "loss_free_accuracy", "neg_log_loss", "negative_log_likelihood"
        >>> [lower_is_better(name) for name in names]
        [True, False, False, True]
    """
    name = "_".join(_tokens(metric))
    low, high = (max((m.end() for m in p.finditer(name)), default=0) for p in (_LOWER, _HIGHER))
    return (low > high) != bool((low or high) and _NEGATED.search(name))


def _tokens(name: str) -> list[str]:
    """Return the words of a name in lower case, without accents."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    apart = "".join(c for c in unicodedata.normalize("NFKD", apart) if not unicodedata.combining(c))
    return [t for t in re.split(r"[^a-z0-9]+", apart.lower()) if t]
