"""Classifier for imbalanced data with scikit-learn's interface."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,  # type: ignore[attr-defined]
    check_is_fitted,
    column_or_1d,
)
from torch import Tensor, nn

from counterpoise import criterion, data, samplers, train
from counterpoise.net import build, check_logits, with_cosine_head
from counterpoise.probabilities import METHODS, Link, Posterior
from counterpoise.registry import resolve, unknown
from counterpoise.study import Data, Plan, Training, Variant
from counterpoise.study.defaults import fill
from counterpoise.study.plan import GRIDS

try:
    from sklearn.utils.validation import validate_data  # type: ignore[attr-defined]
except ImportError:  # before scikit-learn 1.6

    def validate_data(estimator: Any, X: Any, *, reset: bool, **how: Any) -> Any:  # noqa: D103
        if how.pop("skip_check_array", False):
            how["cast_to_ndarray"] = False
        if "ensure_all_finite" in how:
            how["force_all_finite"] = how.pop("ensure_all_finite")
        return estimator._validate_data(X, reset=reset, **how)


Decision = Literal["balanced", "probable"]
Floats = npt.NDArray[np.float64]
Word = str | Callable[..., Any]
_ONE_AT_A_TIME = threading.RLock()  # torch's random numbers are those of the process


class BalancedClassifier(ClassifierMixin, BaseEstimator):
    r"""Neural network for imbalanced classes, as a scikit-learn classifier.

    It is trained as one run of `counterpoise compare` is, with the same names and defaults, in the
    calling process. Nothing is tuned: that is for `GridSearchCV`.

    `predict` and `predict_proba` answer two questions. `predict_proba` says how probable each class
    is where classes occur as often as in the training data: whatever loss and sampler did to the
    logits z is undone (`probabilities.Posterior`), and what is left is calibrated on the
    validation split,

    .. math::
        \log p(y \mid x) = \ell_y(z / T)
        + \kappa \, (\log \pi_y - \log \pi^\text{seen}_y - \log w_y) + b_y + \text{const}

    `predict` is the class with the largest logit. Under a loss that balances, as the default does,
    it is the class that is probable if all occurred equally often, so that rare ones are found. The
    two agree on balanced data, and scikit-learn asks for no more; its `TunedThresholdClassifierCV`
    also decides by another rule and leaves the probabilities as they are. `decision="probable"`
    makes them agree: for accuracy, as "balanced" is for balanced accuracy.

    Args:
        model: "auto" (resnet8 for images, mlp for the rest), a key of `registry.MODELS`,
            "package.module:name", or a function (norm, shape, num_classes) -> net.
        loss: a key of `losses.ALL`, "+drw" behind it for class weights that set in late,
            "package.module:name", a loss, or a function from class counts and settings to one.
        loss_settings: of the loss, such as {"gamma": 2.0}.
        sampler: a key of `samplers.ALL`, "package.module:name", or a function.
        norm: "auto" (batch for images, none for the rest), "none", "batch", a key of `norms.ALL`,
            "package.module:name", or a function.
        epochs, batch_size: 0 for what fits the data (`study.defaults.fill`).
        optimizer: "sgd" or "adamw"; "auto" is sgd.
        lr: a number, or "auto" for 0.03 with sgd and 0.001 with adamw.
        momentum, weight_decay, schedule, warmup, clip_norm, deferred, augment: as in a plan's
            [training] (`counterpoise plan`).
        validation: share of each class that is held out to calibrate on, 0 for none; a class of
            one sample is not split.
        calibration: "auto", "temperature", "vector", "isotonic" or "none", as in `Posterior.fit`.
        decision: "balanced" for the largest logit, "probable" for the largest probability.
        random_state: an integer or a RandomState for equal results in each call; None for others.

    Attributes:
        classes_: the labels, sorted, (C).
        n_features_in_, feature_names_in_: of a table; for images, their channels.
        net_: the trained `torch.nn.Module`, on the CPU.
        posterior_: from its logits to log-probabilities.
        prior_: samples of each class, by their weights, (C).
        n_iter_, history_: epochs, and a row for each: loss, and scores of the validation split.

    Raises:
        ValueError: settings that cannot be, fewer than two classes, data of another kind.

    Example:
        >>> from sklearn.datasets import make_classification
        >>> from counterpoise.sklearn import BalancedClassifier
        >>> X, y = make_classification(600, weights=[0.95], class_sep=2, random_state=0)
        >>> model = BalancedClassifier(epochs=5, random_state=0).fit(X, y)
        >>> bool(model.predict(X).mean() > y.mean()), model.predict_proba(X).shape
        (True, (600, 2))
    """

    def __init__(
        self,
        model: Word = "auto",
        loss: Word = "logit_adjusted",
        *,
        loss_settings: Mapping[str, Any] | None = None,
        sampler: Word = "shuffle",
        norm: Word = "auto",
        epochs: int = 0,
        batch_size: int = 0,
        optimizer: str = "auto",
        lr: float | str = "auto",
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        schedule: str = "cosine",
        warmup: float = 0.05,
        clip_norm: float = 0.0,
        deferred: float = 0.8,
        augment: str = "auto",
        validation: float = 0.1,
        calibration: str = "auto",
        decision: Decision = "balanced",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self.loss_settings = loss_settings
        self.sampler = sampler
        self.norm = norm
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.clip_norm = clip_norm
        self.deferred = deferred
        self.augment = augment
        self.validation = validation
        self.calibration = calibration
        self.decision = decision
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Train.

        Args:
            X: numbers (N, F), NaN for a gap; a pandas DataFrame of numbers, categories, text, dates
                and gaps, read as `counterpoise compare` reads a table, though no column is left
                out; or images (N, C, H, W), uint8 or floating.
            y: labels of any type, (N).
            sample_weight: at least 0, (N). A weight multiplies the sample's part in the loss and in
                the class counts that loss and probabilities are built from; only ratios matter.
                Samples of weight 0 are left out.

        Returns:
            The classifier.
        """
        inputs, columns = self._read(X, reset=True)
        labels = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        check_consistent_length(inputs, labels)
        found = _check_sample_weight(sample_weight, np.empty((len(labels), 1)), dtype=np.float64)
        kept = np.flatnonzero(found)
        if (found < 0).any() or not len(kept):
            raise ValueError(
                "sample_weight must contain at least one non-zero number, and no negative one, but "
                f"is within {found.min():g} .. {found.max():g}"
            )
        self.classes_, targets = np.unique(labels[kept], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must hold two classes at least, but got one class, {self.classes_[0]!r}"
            )
        every = data.Split(inputs[kept], torch.from_numpy(targets))
        weights = torch.from_numpy(found[kept] / found[kept].mean())
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with (
            _ONE_AT_A_TIME,
            torch.random.fork_rng(list(range(torch.cuda.device_count()))),
            torch.backends.cudnn.flags(enabled=True, deterministic=True),
        ):
            self._train(every, columns, weights, seed)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each sample, (N): see `decision`."""
        found = self.decision_function(X)
        index = (found > 0).astype(np.int64) if found.ndim == 1 else found.argmax(1)
        return self.classes_[index]

    def predict_proba(self, X: Any) -> Floats:
        """Return probabilities of the classes at the training data's class shares, (N, C)."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> Floats:
        """Return the logarithms of `predict_proba`, (N, C)."""
        logits = self._logits(X)
        return self.posterior_(logits, prior=self.prior_)

    def decision_function(self, X: Any) -> Floats:
        """Return the scores by which `predict` decides, (N, C); of two classes their margin, (N).

        They are logits; with `decision="probable"`, log-probabilities.
        """
        found = self.predict_log_proba(X) if self.decision == "probable" else self._logits(X)
        return found[:, 1] - found[:, 0] if len(self.classes_) == 2 else found

    def _train(self, every: data.Split, columns: Any, weights: Tensor, seed: int) -> None:
        t, norm, variant = self._settings(every)
        counts = data.count_classes(every.targets)
        places, classes = torch.arange(len(every)), len(counts)
        rest, held = places, places[:0]
        if t.validation and counts.max() > 1:
            numbered = data.Split(places.double(), every.targets)
            pair = data.split_validation(numbered, t.validation, seed)
            rest, held = (split.inputs[:].long() for split in pair)
        given = every.inputs[rest]
        table = columns is not None
        self.features_: Any = (
            data.TableEncoder.fit(given, columns) if table else data.Standardizer.fit(given)
        )
        split, on = (
            data.Split(self.features_(every.inputs[k]), every.targets[k]) for k in (rest, held)
        )
        sampler = resolve("sampler", self.sampler, samplers.ALL)(
            split.targets, epochs=t.epochs, seed=seed, num_classes=classes
        )
        sizes = torch.bincount(split.targets, minlength=classes)
        mean = torch.bincount(split.targets, weights[rest], minlength=classes) / sizes
        loss, device = self.loss, _device()
        if isinstance(loss, nn.Module):
            loss = lambda counts: copy.deepcopy(self.loss)  # noqa: E731
        made = criterion.build(
            loss if callable(loss) else variant.plain_loss,
            variant.settings,
            lambda epoch: sampler.seen_counts(epoch) * mean,
            epochs=t.epochs,
            device=device,
            deferred=t.deferred if variant.deferred else None,
            changing=self.sampler == "progressive",
        )
        torch.manual_seed(seed)
        model = self.model if callable(self.model) else t.model
        net = build(model, norm, tuple(split.inputs.shape[1:]), classes)
        net = with_cosine_head(net) if made.needs_cosine_head else net
        check_logits(net, split.inputs[:2].float(), classes)
        how = {"lr": float(t.lr), "momentum": t.momentum, "weight_decay": t.weight_decay}
        rows = train.fit(
            net.to(device),
            made.loss,
            split,
            epochs=t.epochs,
            batch_size=t.batch_size,
            seed=seed,
            optimizer=train.make_optimizer(net, t.optimizer, **how),
            schedule=train.SCHEDULES[t.schedule](t.warmup),
            clip_norm=t.clip_norm or None,
            sampler=sampler,
            augment=train.augmentation(t.augment),
            each_epoch=made.each_epoch,
            sample_weight=weights[rest] if weights.min() < weights.max() else None,
            watch={"validation": on} if len(on) else {},
        )
        self.net_, self.n_iter_ = net.cpu().eval(), t.epochs
        self.history_ = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        self.prior_ = torch.bincount(every.targets, weights, minlength=classes).numpy()
        self._ours = all(isinstance(w, str) and ":" not in w for w in (self.model, self.norm))
        self._scale = made.cosine_scale
        self.posterior_ = Posterior.fit(
            self._logits_of(on.inputs) if len(on) else np.empty((0, classes)),
            on.targets.numpy(),
            link=Link.from_json(made.link()),
            seen_counts=made.seen_counts,
            train_counts=counts,
            method=cast(Any, self.calibration),
        )

    def _settings(self, every: data.Split) -> tuple[Training, Word, Variant]:
        """Return the settings with what the data decide; norm and variant as well."""
        for name, known in {"decision": get_args(Decision), "calibration": METHODS}.items():
            if getattr(self, name) not in known:
                raise ValueError(unknown(name, getattr(self, name), known))
        usual = {"norm": "auto", "loss": "cross_entropy", "sampler": "shuffle", "model": "auto"}
        asked: dict[str, Any] = self.get_params(deep=False) | {
            k: v for k, v in usual.items() if callable(getattr(self, k))
        }
        if isinstance(self.lr, str) and self.lr == "auto":
            asked["lr"] = GRIDS.get(self.optimizer, GRIDS["sgd"])[1]  # the second lowest
        words = {k: asked[k] for k in ("norm", "loss", "sampler")}
        variant = Variant(**words, settings=dict(self.loss_settings or {}))
        fields = {k: v for k, v in asked.items() if k in Training.__dataclass_fields__}
        training = Training(**fields, watch=())
        plan = Plan(Data(test="held_out"), (), (), (), variant=(variant,), training=training)
        names = tuple(map(str, self.classes_))
        plan, _ = fill(plan, data.Splits("X", every, every, names, "X and y"))
        norm = self.norm if callable(self.norm) else plan.variant[0].norm
        return replace(plan.training, optimizer=plan.optimizer), norm, plan.variant[0]

    def _read(self, X: Any, *, reset: bool) -> tuple[Tensor, Any]:
        """Return cells, float64 (N, columns), and what they hold; or images (N, C, H, W), None."""
        if hasattr(X, "iloc") and X.ndim == 2 and (reset or self._reader.of_frames):
            validate_data(self, X, reset=reset, skip_check_array=True)
        else:
            images = (X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim) == 4
            X = validate_data(
                self,
                X,
                reset=reset,
                dtype=[np.float32, np.uint8] if images else np.float64,
                allow_nd=images,
                ensure_all_finite=True if images else "allow-nan",
            )
        self._reader = data.SampleReader(X) if reset else self._reader
        return self._reader(X)

    def _logits(self, X: Any) -> Floats:
        check_is_fitted(self)
        read, columns = self._read(X, reset=False)
        known = [] if columns is None else [columns]
        return self._logits_of(self.features_(read, *known))

    def _logits_of(self, inputs: Any) -> Floats:
        net = copy.deepcopy(self.net_).to(_device())  # what is kept stays on the CPU
        if inputs.dim() == 2 and self._ours:  # so that no sample depends on the others beside it
            net, inputs = net.double(), inputs.double()
        return train.predict_logits(net, inputs).double().numpy() * self._scale

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # before scikit-learn 1.6
        return {"allow_nan": True}


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
