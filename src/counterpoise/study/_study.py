"""A study that has been run, or is running, read from its folder; without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import counterpoise
from counterpoise import stats
from counterpoise.registry import REFERENCES, Metric
from counterpoise.study._after_training import AfterTraining, Ensemble, ensemble, same_runs
from counterpoise.study._finished import Record
from counterpoise.study._looks import Look, overtaken, rule_of, words
from counterpoise.study._measure import chance_of, row_of_metric
from counterpoise.study._prepared import (
    Facts,
    Kept,
    find_kept,
    joined,
    load_columns,
    read_kept,
    read_names,
)
from counterpoise.study.environment import differences
from counterpoise.study.plan import Plan, reference_label
from counterpoise.study.spec import RunRow
from counterpoise.study.variant import Trial, trial_words
from counterpoise.text import html_table

if TYPE_CHECKING:
    from counterpoise.data import Column
    from counterpoise.report import Page


@dataclass(frozen=True)
class Study:
    """A plan and its records.

    Attributes:
        folder: where it lives.
        plan: what was to be run, as `study.json` keeps it.
        data: name, source, class_names, train_counts, test_counts, shape, fingerprint, and the
            sha256 of the file in which the data are kept.
        records: the finished runs that are reported, in the order of the plan.
        tuning: those that chose these values (their `run` has "validation" scores only).
        choices: the values chosen for each label, by field: {"lr": 0.1}; {} where all are fixed.
        failed: of each run that failed, its row of `expected` and the reason.
        expected: label, seed, trial and stage of every run, by the name of its folder.
        environment: versions and machine of the last `compare`.
        references: the finished runs of the classical models, without history, weights and flow.
        seen: the numbers of seeds at which its verdicts were read, in order.
        edited: in what the folder's plan.toml differs from `plan`, such as "losses"; empty if in
            nothing.
    """

    folder: Path
    plan: Plan
    data: Facts
    records: tuple[Record, ...]
    tuning: tuple[Record, ...]
    choices: Mapping[str, Trial]
    failed: Mapping[str, str]
    expected: Mapping[str, RunRow]
    environment: Mapping[str, str | int | None]
    edited: tuple[str, ...] = ()
    references: tuple[Record, ...] = ()
    seen: tuple[Look, ...] = ()

    def __repr__(self) -> str:
        labels, seeds = len(self.labels), len(self.plan.seeds)
        variants = "1 variant" if labels == 1 else f"{labels} variants"
        runs = f"{len(self.records)} of {labels * seeds} runs"
        failed = f", {len(self.failed)} failed" if self.failed else ""
        label = self.metric.label
        return f"Study({str(self.folder)!r}: {variants} x {seeds} seeds, {runs}{failed}, {label})"

    def _repr_html_(self) -> str:
        known = {v.variant: v.words for v in self.verdicts()}
        rows = []
        for label, by_seed in self.scores().items():
            values = [v for v in by_seed.values() if v is not None]
            mean = self.metric.shown(sum(values) / len(values) if values else None)
            rows.append(
                (label, f"{len(values)}/{len(by_seed)}", mean, known.get(label, "baseline"))
            )
        head = ("variant", "seeds", self.metric.label, "verdict")
        return html_table(repr(self), head, rows)

    @cached_property
    def data_file(self) -> Path | None:
        """The file that says which samples are in which split; None where it was taken away.

        Raises:
            record.Damaged: it is not the file that the study was run on.
        """
        return find_kept(self.folder, self.data)

    @property
    def resampled(self) -> bool:
        """True where each seed draws a test split of its own."""
        return self.plan.test == "per_seed"

    @property
    def on_test(self) -> str:
        """Where scores are measured, in words."""
        return "on each seed's test split" if self.resampled else "on the test split"

    @property
    def test_to_train(self) -> float:
        """The test samples a training sample where each seed draws its test split, else 0.

        With that, intervals are corrected: `stats.compare_paired`.
        """
        runs = [r.run for r in (*self.records, *self.references)] if self.resampled else []
        found = [sum(run["test"]["support"]) / max(1, sum(run["train_counts"])) for run in runs]
        return sum(found) / len(found) if found else 0.0

    @property
    def columns(self) -> "tuple[Column, ...] | None":
        """The columns of a table, and what their cells hold; None for other data."""
        return None if self.data_file is None else load_columns(self.folder)

    def samples(self, split: str, images: bool = False) -> Kept | None:
        """The samples of a split; None where they are no longer kept, or not in the cache.

        Args:
            split: "train" or "test", as they are kept; or "pool", the one and after it the other,
                in which `Record.test_rows` are positions.
            images: of a study on features return the images that they are of.
        """
        if self.data_file is None:
            return None
        names = ("train", "test") if split == "pool" else (split,)
        found = [read_kept(self.data_file, self.data, name, images) for name in names]
        there = [k for k in found if k is not None]
        return joined(there) if len(there) == len(names) else None

    def sample_names(self, split: str) -> tuple[str, ...] | None:
        """The file names or row numbers of the samples of a split, as its data had them.

        None where the data have no names, or are no longer kept. The splits are those of `samples`.
        """
        if split == "pool":
            train, test = self.sample_names("train"), self.sample_names("test")
            return train + test if train and test else None
        if self.data_file is None:
            return None
        found = read_names(self.data_file, split)
        counts = self.data["train_counts"] if split == "train" else self.data["test_counts"]
        return found if found and len(found) == sum(counts) else None

    def other_environments(self) -> dict[str, list[Record]]:
        """The runs whose environment is another than most have, by how it differs."""
        found: dict[str, list[Record]] = {}
        for classical in (False, True):  # these depend on other libraries
            runs = [r for r in (*self.records, *self.tuning) if r.classical is classical]
            every = [json.dumps(r.environment, sort_keys=True) for r in runs]
            usual = json.loads(max(every, key=every.count)) if every else {}
            for r in runs:
                if said := differences(r.environment, usual):
                    found.setdefault(", ".join(said), []).append(r)
        return found

    def report(self, out: str | Path | None = None) -> "Page":
        """Write the report, and return it as a page that a notebook shows: `report.show`."""
        return counterpoise.report.show(self, out)  # found on use, as it stands on this package

    @cached_property
    def metric(self) -> Metric:
        """The metric that decides, with the plan's margin; of a user's, as the runs recorded it."""
        every = (*self.records, *self.tuning, *self.references)
        kept = [m for r in every if (m := r.run.get("spec", {}).get("measure"))]
        higher = bool(kept[0]["higher_is_better"]) if kept else True
        return row_of_metric(self.plan, self.data, higher)

    @property
    def labels(self) -> tuple[str, ...]:
        """The variants' labels, the baseline's first."""
        return self.plan.labels

    def chosen(self, label: str) -> str:
        """The values chosen for a variant, in words such as "lr 0.1"; "" where there are none."""
        return trial_words(self.choices.get(label, {}))

    @property
    def finished(self) -> bool:
        """True where every run that is to be reported has a record."""
        return len(self.records) == len(self.labels) * len(self.plan.seeds)

    def of(self, label: str) -> list[Record]:
        """The records of a variant, or of a reference, by seed."""
        every = (*self.records, *self.references)
        return sorted((r for r in every if r.label == label), key=lambda r: r.seed)

    def scores(
        self, metric: str | None = None, kind: str = "test"
    ) -> dict[str, dict[int, float | None]]:
        """A metric of every variant and seed; None where the run failed or is not there yet.

        Args:
            metric: a key of the scores; None for that of the plan's primary one.
            kind: "test", "validation", "adjusted" or "normalized", as in `Record.run`.
        """
        table: dict[str, dict[int, float | None]] = {
            label: dict.fromkeys(self.plan.seeds) for label in self.labels
        }
        for r in self.records:
            table[r.label][r.seed] = (r.run.get(kind) or {}).get(metric or self.metric.key)
        return table

    def verdicts(self) -> list[stats.Verdict]:
        """Judge every variant against the baseline, on the primary metric.

        `docs/statistics.md` says how they are made. One of `duplicates` counts once: the later one
        is outside the family, and has the verdict of the earlier one.
        """
        return list(self._verdicts)

    @cached_property
    def _verdicts(self) -> list[stats.Verdict]:
        scores, base = self.scores(), self.labels[0]
        once = {label: x for label, x in scores.items() if label not in self.duplicates}
        found = {v.variant: v for v in self._judge(once)}
        for label, first in self.duplicates.items():
            same = found.get(first) or self._judge({base: scores[base], label: scores[label]})[0]
            missing = tuple(seed for seed, x in scores[label].items() if x is None)
            found[label] = replace(same, variant=label, same_as=first, missing=missing)
        return [found[label] for label in self.labels[1:]]

    @cached_property
    def duplicates(self) -> Mapping[str, str]:
        """The variants whose nets are an earlier one's under another name, each with that label.

        Their logits are the same, to the last bit, in every seed that both have.
        """
        runs, found = {label: self.of(label) for label in self.labels}, dict[str, str]()
        for k, label in enumerate(self.labels):
            earlier = (other for other in self.labels[:k] if other not in found)
            first = next((other for other in earlier if same_runs(runs[other], runs[label])), None)
            found |= {label: first} if first else {}
        return found

    @property
    def looks(self) -> stats.Looks | None:
        """The rule for verdicts that are read again and again; None for a number fixed before."""
        return rule_of(self.plan, self.seen)

    @property
    def overtaken(self) -> list[Look]:
        """The looks whose rule did not allow for as many seeds as there are now."""
        return overtaken(self.plan, self.seen)

    @property
    def looks_words(self) -> str:
        """A sentence on the rule of the verdicts."""
        return words(self.plan, self.seen)

    def _judge(self, scores: Mapping[str, Mapping[int, float | None]]) -> list[stats.Verdict]:
        """Compare with the baseline, and see what did not learn."""
        noise = None
        if self.chance is not None:
            sizes = self.data["test_counts"]
            by_class = self.plan.metric == "balanced_accuracy"
            noise = stats.guessing_noise(self.chance, sizes if by_class else [sum(sizes)])
        return self.compare(scores, self.labels[0], chance=self.chance, noise_sd=noise)

    def compare(
        self,
        scores: Mapping[str, Mapping[int, float | None]],
        baseline: str,
        chance: float | None = None,
        noise_sd: float | None = None,
    ) -> list[stats.Verdict]:
        """Judge scores on the primary metric, by its margin and direction, against a baseline."""
        return stats.compare_variants(
            scores,
            baseline,
            margin=self.metric.margin,
            chance=chance,
            noise_sd=noise_sd,
            higher_is_better=self.metric.higher_is_better,
            test_to_train=self.test_to_train,
            unit=self.metric.unit,
            looks=self.looks,
        )

    @cached_property
    def reference_labels(self) -> tuple[str, ...]:
        """The labels of the classical models that stand beside the variants."""
        found = {r["label"] for r in self.expected.values() if r["stage"] == "reference"}
        return tuple(label for label in map(reference_label, REFERENCES) if label in found)

    @property
    def adjusted_label(self) -> str:
        """The label of the baseline after post-hoc logit adjustment."""
        return f"{self.labels[0]}, adjusted after training"

    def reference_scores(self, metric: str | None = None) -> dict[str, dict[int, float | None]]:
        """A metric of what needs no training of another net, by label and seed.

        That is every reference and, last, the baseline after post-hoc logit adjustment, where there
        was a validation split to choose τ on.
        """
        metric = metric or self.metric.key
        table: dict[str, dict[int, float | None]] = {
            label: dict.fromkeys(self.plan.seeds) for label in self.reference_labels
        }
        for r in self.references:
            table[r.label][r.seed] = r.run["test"].get(metric)
        if self.plan.training.validation:
            table[self.adjusted_label] = self.scores(metric, "adjusted")[self.labels[0]]
        return table

    @cached_property
    def best(self) -> str | None:
        """The variant with the best mean score on the test split; None where none has one."""
        found = {
            label: [x for x in by_seed.values() if x is not None]
            for label, by_seed in self.scores().items()
        }
        means = {label: sum(x) / len(x) for label, x in found.items() if x}
        return max(means, key=lambda label: self.metric.sign * means[label], default=None)

    def reference_verdicts(self) -> list[stats.Verdict]:
        """Judge every row of `reference_scores` against the best variant.

        They are a family of their own, with its own Holm, and outside that of `verdicts`. "better"
        says that the reference is. The best variant is chosen by the very scores that it is judged
        by, which flatters it; none where no variant has a score.
        """
        if self.best is None:
            return []
        scores = {self.best: self.scores()[self.best], **self.reference_scores()}
        return self.compare(scores, self.best)

    def adjusted_verdict(self) -> stats.Verdict | None:
        """Judge the baseline after post-hoc logit adjustment against itself before; None without.

        One comparison, in no family.
        """
        base, label = self.labels[0], self.adjusted_label
        adjusted = self.reference_scores().get(label)
        if adjusted is None:
            return None
        scores = {base: self.scores()[base], label: adjusted}
        return self._judge(scores)[0]

    def ensembles(self) -> dict[str, Ensemble]:
        """The score of each variant's nets together, by label.

        Only of variants with two finished seeds or more, and where the test split is fixed. Not
        comparable to single runs, as an ensemble costs as many nets at prediction.

        Raises:
            record.Damaged: runs whose test samples are not the same.
        """
        return dict(self._ensembles)

    @cached_property
    def _ensembles(self) -> dict[str, Ensemble]:
        known = () if self.resampled else self.labels
        found = {label: ensemble(self.of(label), self.metric.key) for label in known}
        return {label: e for label, e in found.items() if e}

    def after_training(self) -> list[AfterTraining]:
        """The scores of variants with a finished run as trained, and without another training.

        Each in a comparison by itself, in no family.
        """
        scores = {k: self.scores(kind=k) for k in ("test", "adjusted", "normalized")}
        rows = []
        for label, by_seed in scores["test"].items():
            known = [x for x in by_seed.values() if x is not None]
            adjusted, normalized = (
                self._paired(by_seed, scores[kind][label]) for kind in ("adjusted", "normalized")
            )
            if known:
                mean, together = sum(known) / len(known), self._ensembles.get(label)
                rows.append(AfterTraining(label, mean, adjusted, normalized, together))
        return rows

    def _paired(
        self, before: Mapping[int, float | None], after: Mapping[int, float | None]
    ) -> stats.Comparison | None:
        if not any(before[s] is not None and after[s] is not None for s in before):
            return None
        return stats.compare_paired(
            before,
            after,
            margin=self.metric.margin,
            higher_is_better=self.metric.higher_is_better,
            test_to_train=self.test_to_train,
        )

    @property
    def chance(self) -> float | None:
        """The score of guessing on the primary metric, where that is known."""
        return chance_of(self.plan, self.data)
