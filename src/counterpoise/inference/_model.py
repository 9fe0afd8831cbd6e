"""An exported model, which answers for new data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, logsumexp

from counterpoise.arguments import Counts
from counterpoise.decisions import ABSTAINED, Rule
from counterpoise.inference._folder import read_folder
from counterpoise.inference._members import Lacking, Member, open_member
from counterpoise.probabilities import PriorEstimate, estimate_prior, move_prior
from counterpoise.sealed import Content, Damaged
from counterpoise.text import html_table, listed, one_line

if TYPE_CHECKING:
    from counterpoise.data import Column

Floats = npt.NDArray[np.float64]
Prior = Counts | Literal["uniform", "estimate"] | None
Progress = Callable[[int, int], None]
_LONGEST = 300  # characters of a message
_WORSE = 0.1  # of the log-loss, from which on shares are not estimated


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a model for some samples.

    Attributes:
        names: of the samples: files, or rows.
        log_p: log-probabilities at the training data's class shares, float64 (N, C); NaN for a
            sample that could not be read.
        scores: by which a study judges: the log of the softmax of the net's logits, (N, C).
        labels: the class of each sample by name, where the data say it, else None.
        unread: why a sample could not be read, by its name.
        notes: sentences on what was found in the data, left out and interpreted.
        strays: those of them on cells of a table that are taken as missing (`data.Unseen`).
    """

    names: tuple[str, ...]
    log_p: Floats = field(repr=False)
    scores: Floats = field(repr=False)
    labels: tuple[str | None, ...] | None = field(repr=False)
    unread: Mapping[str, str]
    notes: Sequence[str]
    strays: Sequence[str] = ()

    @property
    def read(self) -> npt.NDArray[np.bool_]:
        """Whether each sample could be read, (N)."""
        return ~np.isnan(self.log_p[:, 0])


@dataclass(frozen=True, eq=False)
class Model:
    """A trained classifier, from `load`.

    Attributes:
        classes: their names, in the order of the columns of `predict_proba`.
        train_counts: training samples of each class: the prior of the probabilities.
        rule: how a class follows from probabilities and scores.
        about: what `model.json` says: study, variant, net, and the version that wrote it.
        folder: where it was loaded from.
        members: its nets.
    """

    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    rule: Rule
    about: Content = field(repr=False)
    folder: Path
    members: tuple[Member, ...] = field(repr=False)

    def __repr__(self) -> str:
        nets = f", {len(self.members)} nets" if len(self.members) > 1 else ""
        return f"Model({self.about['variant']!r} of {len(self.classes)} classes{nets})"

    def _repr_html_(self) -> str:
        rows = list(zip(self.classes, self.train_counts, strict=True))
        return html_table(repr(self), ("class", "training samples"), rows[:20])

    @property
    def columns(self) -> tuple[Column, ...] | None:
        """The columns of a table, and what their cells hold; None for other data."""
        from counterpoise.data import Column

        rows = self.about["columns"]
        return tuple(Column(r["name"], r["kind"], tuple(r["values"])) for r in rows) or None

    def predict(self, data: Any, *, prior: Prior = None) -> npt.NDArray[np.object_]:
        """Return the class of each sample by name, (N); None where the rule gives none.

        The rule of the study is that by which its runs were scored: the highest logit. After a
        balanced loss or sampler it finds rare classes that are less probable than others, which is
        what balanced accuracy asks for; `export` can keep another rule.

        Args:
            data: as for `predict_proba`.
            prior: as for `predict_proba`; it changes what rules of costs and probabilities give.

        Raises:
            ValueError: as for `predict_proba`.

        Warns:
            UserWarning: images that could not be read: None; a table's cells taken as missing.
        """
        answers = self.answers(data)
        _warn(answers)
        names = np.array([*self.classes, None], object)
        return names[self.decide(answers, self.shares(prior, answers))]

    def predict_proba(self, data: Any, *, prior: Prior = None) -> Floats:
        """Return the probabilities of the classes of each sample, float64 (N, C).

        Args:
            data: a folder of images, an image file, a table's file, or .npz or .npy; a DataFrame,
                an array, a tensor, or a list of images: what `data.read_unseen` takes.
            prior: how often each class occurs there, (C) or by name, as shares or counts;
                "uniform" for all alike; "estimate" to estimate that from the data
                (`estimate_prior`); None for as often as in the training data.

        Raises:
            ValueError: data that are of another kind than those that it was trained on, or that
                cannot be read (`data.read_unseen`).

        Warns:
            UserWarning: images that could not be read: NaN; a table's cells taken as missing.
        """
        answers = self.answers(data)
        _warn(answers)
        return np.exp(self.moved(answers, self.shares(prior, answers)))

    def answers(
        self, data: Any, *, target: str = "", on_progress: Progress | None = None
    ) -> Answers:
        """Return what the model says of each sample, with its name and its label, if it has one.

        Args:
            data: as for `predict_proba`.
            target: the column of a table's classes, where it is called otherwise than in training.
            on_progress: called with the numbers of samples that are read and that there are.
        """
        from counterpoise.data import read_unseen

        unseen = read_unseen(
            data,
            self.about["reading"],
            self.columns,
            class_names=self.classes,
            target=target,
            on_progress=on_progress,
        )
        log_p = np.full((len(unseen), len(self.classes)), np.nan)
        scores = log_p.copy()
        for batch in unseen.batches():
            found = [
                (m.posterior(z), log_softmax(np.asarray(z, np.float64), axis=1))
                for m in self.members
                for z in [m.logits(m.prepare(batch.inputs, unseen.columns))]
            ]
            for whole, parts in zip((log_p, scores), zip(*found, strict=True), strict=True):
                whole[batch.index.numpy()] = logsumexp(parts, axis=0) - np.log(len(parts))
        return Answers(
            unseen.names,
            log_p,
            scores,
            unseen.labels,
            dict(unseen.unread),
            tuple(unseen.notes),
            tuple(unseen.strays),
        )

    def estimate_prior(self, answers: Answers) -> PriorEstimate:
        """Estimate how often each class occurs in new data: `probabilities.estimate_prior`.

        Raises:
            ValueError: `check_estimate` refuses; or none of the samples could be read.
        """
        self.check_estimate()
        return estimate_prior(answers.log_p[answers.read], self.train_counts)

    def check_estimate(self) -> None:
        """Refuse to estimate class shares where that failed.

        Raises:
            ValueError: on the study's own test samples, whose shares are known, such an estimate
                makes the probabilities worse.
        """
        tried = self.about["estimate"]
        if tried["after"] > (1 + _WORSE) * tried["before"] + tried["chance"]:
            raise ValueError(
                "this model must not estimate how often classes occur: on the study's test samples "
                f"it raises the log-loss from {tried['before']:.3f} to {tried['after']:.3f}, "
                f"{tried['said']}; give counts"
            )

    def moved(self, answers: Answers, prior: Counts | None) -> Floats:
        """Return log-probabilities at other class shares, (N, C); None for the training data's."""
        return (
            answers.log_p if prior is None else move_prior(answers.log_p, self.train_counts, prior)
        )

    def decide(self, answers: Answers, prior: Counts | None = None) -> npt.NDArray[np.int64]:
        """Return the class of each sample by number, (N); -1 where none is given.

        Thresholds and abstention were chosen at the training data's class shares, and are used at
        these (`decisions.Rule`).
        """
        shares = prior if self.rule.kind in ("probable", "costs") else None
        p = np.exp(self.moved(answers, shares))
        found = np.full(len(p), ABSTAINED)
        read = answers.read
        found[read] = self.rule.decide(p[read], answers.scores[read])
        return found

    def shares(self, prior: Prior, answers: Answers) -> Counts | None:
        """Return the class shares that a `prior` means, (C); None for the training data's.

        Raises:
            ValueError: another word, or `estimate_prior` refuses.
        """
        if isinstance(prior, str):
            if prior == "uniform":
                return np.ones(len(self.classes))
            if prior == "estimate":
                return self.estimate_prior(answers).shares
            raise ValueError(
                f"prior must be uniform, estimate, or one number per class, but got {prior!r}"
            )
        if isinstance(prior, Mapping) and set(prior) == set(self.classes):
            return [float(prior[name]) for name in self.classes]  # type: ignore[index]
        return prior


def _warn(answers: Answers) -> None:
    """Warn whoever called a method of `Model` of samples and cells that were not read."""
    if answers.unread:
        broken = listed(f"{name} ({why})" for name, why in answers.unread.items())
        warnings.warn(
            f"{len(answers.unread):,} of {len(answers.names):,} samples cannot be read, and have "
            f"no prediction: {broken}",
            stacklevel=3,
        )
    for said in answers.strays:
        warnings.warn(said, stacklevel=3)


def load(folder: str | Path) -> Model:
    """Load a model that `counterpoise export` wrote, once its files are what they were.

    Nothing is unpickled. Nets of the registry are built from JSON and their weights; a net of your
    own runs from its ONNX file, without its code, which needs `counterpoise[export]`.

    Args:
        folder: of the export.

    Raises:
        ValueError: no export, a file that is missing or was changed, one of a newer version, or a
            package that is missing.

    Example:
        >>> model = load("digits-model")  # doctest: +SKIP
        >>> model.predict_proba("photos/")  # doctest: +SKIP
    """
    folder = Path(folder)
    content = read_folder(folder)
    try:
        return _model(folder, content)
    except (Damaged, Lacking):
        raise
    except Exception as error:  # of whatever was put there, and the libraries that read it
        raise Damaged(
            f"{folder} holds parts that do not fit together: {one_line(error)[:_LONGEST]}; "
            "counterpoise export writes the model again"
        ) from error


def _model(folder: Path, content: Content) -> Model:
    classes = tuple(map(str, content["class_names"]))
    counts = tuple(map(int, content["train_counts"]))
    members = tuple(open_member(folder, content, one) for one in content["members"])
    for what, sizes in (
        ("classes", {len(classes), len(counts), content["net"]["classes"]}),
        ("counts", {len(m.posterior.train_counts) for m in members}),
    ):
        if sizes != {len(classes)}:
            raise Damaged(f"{folder} holds {what} of several sizes: {sorted(sizes)}")
    rule, tried = Rule.from_json(content["rule"]), content["estimate"]
    if not np.isfinite([tried[name] for name in ("before", "after", "chance")]).all():
        raise Damaged(f"{folder} does not say how well class shares are estimated")
    made = Model(classes, counts, rule, content, folder, members)
    if not isinstance(content["reading"], Mapping) or not isinstance(made.columns, tuple | None):
        raise Damaged(f"{folder} does not say how data are read")
    return made
