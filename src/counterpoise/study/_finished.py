"""One finished run of a study, read from its folder on use."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from counterpoise import files
from counterpoise.probabilities import Link, Method, Posterior
from counterpoise.study import _schema, record
from counterpoise.study.variant import Trial, trial_words


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        label: the variant's, or the reference's.
        seed: of the split, the order of the samples and the initial weights.
        trial: the values that were chosen for it, or that it tries, by field: {"lr": 0.1}.
        run: what `run.json` holds: spec, environment, parameters, train_counts, seen_counts, link
            (parameters of `probabilities.Link`), tau, tau_norm, and the scores (see
            `metrics.Evaluation`) of "validation", "test", "adjusted" (the test split after post-hoc
            logit adjustment) and "normalized" (after τ-normalization of a linear head).
        folder: where the rest lies.
    """

    label: str
    seed: int
    trial: Trial
    run: record.Content
    folder: Path

    def __repr__(self) -> str:
        words = (repr(self.label), f"seed {self.seed}", trial_words(self.trial))
        return f"Record({', '.join(filter(None, words))})"

    @property
    def lr(self) -> float | None:
        """The learning rate; None of a classical model."""
        return None if self.classical else self.run["spec"]["training"]["lr"]

    @property
    def classical(self) -> bool:
        """True for a classical model, which has no history, weights and flow."""
        return "variant" not in self.run.get("spec", {"variant": None})

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the run, with the numbers of devices that it was trained on."""
        devices = " then ".join(map(str, self.run.get("devices", ())))
        return {**(self.run.get("environment") or {}), **({"devices": devices} if devices else {})}

    @cached_property
    def history(self) -> list[record.Content]:
        """The training's history, a row an epoch; none of a classical model."""
        if self.classical:
            return []
        rows = record.history(self.folder)
        _schema.check_rows(self.folder / "history.jsonl", rows, (), ("epoch",))
        return rows

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """test_logits and test_targets, validation_logits and validation_targets.

        Of a study whose seeds draw test splits also test_rows, the positions of the test samples:
        those kept to train on are numbered from 0 on, and those kept to test on after them.
        """
        return self._read_predictions()

    def posterior(self, method: Method = "auto") -> Posterior | None:
        """Return what makes probabilities of its logits, fitted on its validation split.

        Args:
            method: of calibration: `probabilities.Posterior.fit`.

        Returns:
            None of a run that an older version did, whose link is not known.
        """
        if "link" not in self.run:
            return None
        if method not in self._posteriors:
            self._posteriors[method] = self._fit_posterior(method)
        return self._posteriors[method]

    @cached_property
    def _posteriors(self) -> dict[str, Posterior]:
        return {}

    def _fit_posterior(self, method: Method) -> Posterior:
        kept, classes = self.predictions, len(self.run["train_counts"])
        return Posterior.fit(
            kept.get("validation_logits", np.zeros((0, classes))),
            kept.get("validation_targets", np.zeros(0, np.int64)),
            link=_link(self.folder / record.RUN, self.run["link"]),
            seen_counts=self.run["seen_counts"],
            train_counts=self.run["train_counts"],
            method=method,
        )

    @property
    def answers(self) -> tuple[np.ndarray, np.ndarray]:
        """The predicted and the true class of every test sample, without the logits behind them."""
        return self._tested[:2]

    @property
    def test_rows(self) -> np.ndarray | None:
        """The positions of the test samples as in `predictions`; None for the data's test split."""
        return self._tested[2]

    @cached_property
    def _tested(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        kept = self._read_predictions()
        predicted, targets = kept["test_logits"].argmax(1), kept["test_targets"]
        smallest = np.min_scalar_type(kept["test_logits"].shape[1])
        return predicted.astype(smallest), targets.astype(smallest), kept.get("test_rows")

    def _read_predictions(self) -> dict[str, np.ndarray]:
        arrays, support = record.arrays(self.folder), self.run["test"]["support"]
        held = (self.run.get("validation") or {}).get("support", ())
        pool = sum(self.run["train_counts"]) + sum(held) + sum(support)
        sizes = {"classes": len(support), "test": sum(support), "pool": pool}
        _schema.check_arrays(self.folder / "predictions.npz", arrays, sizes)
        return arrays

    @cached_property
    def flow(self) -> list[record.Content]:
        """The signal in each layer before the first step: rows of `probe.first_step`, or none."""
        if self.classical:
            return []
        path = self.folder / "probe.json"
        rows = json.loads(files.read(path))
        _schema.check_rows(path, rows, ("name", "kind"), ("calls",))
        return rows

    @cached_property
    def timing(self) -> record.Content:
        """seconds, epochs_seconds and peak_memory_mb."""
        found = record.timing(self.folder)
        _schema.check_timing(self.folder / record.TIMING, found)
        return found


def _link(path: Path, content: record.Content) -> Link:
    try:
        return Link.from_json(content)
    except (ValueError, TypeError, AttributeError) as error:
        raise record.Damaged(f"{path} holds a link that is none: {error}") from error
