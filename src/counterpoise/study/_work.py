"""The runs of a study, done and to do."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import count, islice
from pathlib import Path

from counterpoise import files, registry
from counterpoise.metrics import Measure
from counterpoise.study import record
from counterpoise.study._measure import measure_of
from counterpoise.study._prepared import Facts
from counterpoise.study._runs import Run, choose, final_runs, reference_runs, tuning_runs
from counterpoise.study.environment import environment
from counterpoise.study.plan import Plan
from counterpoise.study.spec import AnySpec, Job, RunRow, Stage, labels_of, run_id, trials_of
from counterpoise.study.variant import Trial

STUDY, PLAN, RUNS = "study.json", "plan.toml", "runs"


@dataclass
class Work:
    """The runs of a study, done and to do, as `study.json` holds them."""

    plan: Plan
    folder: Path
    facts: Facts
    asked: Plan  # the same as it was asked for, with what it left open
    runs: dict[str, RunRow] = field(default_factory=dict)  # by the name of its folder
    specs: dict[str, AnySpec] = field(default_factory=dict)
    choices: dict[str, Trial] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)  # labels whose tuning the machine cut short
    planned: set[str] = field(default_factory=set)  # runs whose stage has begun
    more: bool = False  # whether seeds may still be added

    @cached_property
    def measure(self) -> Measure | None:
        """The metric that is computed for the plan alone."""
        return measure_of(self.plan, self.facts["class_names"], self.facts["train_counts"])

    def add(self, runs: Sequence[Run]) -> None:
        """Take up the runs of a stage; one that two variants ask for is done once."""
        for label, trial, spec in runs:
            name = run_id(spec.to_json())
            self.specs[name] = spec
            known = self.runs.get(name)
            if known is not None and known["label"] != label:
                known["also"] = {**known.get("also", {}), label: trial}
                continue
            row: RunRow = {"label": label, "seed": spec.seed, "trial": trial, "stage": spec.stage}
            self.runs[name] = {**row, "also": known["also"]} if known and "also" in known else row

    def names(self, stage: Stage) -> list[str]:
        """Return the runs of a stage."""
        return [name for name, row in self.runs.items() if row["stage"] == stage]

    def add_references(self) -> None:
        """Take up the fits of the classical models."""
        data, shape = self.facts["fingerprint"], self.facts["shape"]
        self.add(reference_runs(self.plan, data, shape, self.measure))

    def add_tuning(self) -> None:
        """Take up the runs that choose the learning rates."""
        self.add(tuning_runs(self.plan, self.facts["fingerprint"], self.measure))

    def add_final(self) -> None:
        """Choose the learning rates, and take up the runs that are reported.

        A variant of which a tuning run was cut short by the machine waits for the next time: chosen
        among the other rates, it would be trained at one that a whole study would not choose.
        """
        chosen = choose(self.plan, _tuning_scores(self))
        self.choices = {k: trial for k, trial in chosen.items() if k not in self.undecided}
        data = self.facts["fingerprint"]
        self.add(final_runs(self.plan, data, self.choices, self.measure))

    def add_seeds(self, number: int) -> None:
        """Take up the runs of further seeds, so many seeds in all."""
        seeds = self.plan.seeds
        others = islice((k for k in count() if k not in seeds), number - len(seeds))
        self.plan = replace(self.plan, seeds=(*seeds, *others))
        self.add_references()
        self.add_final()

    def later(self, stage: Stage) -> dict[str, AnySpec]:
        """Return the runs of later stages, by name, if values are chosen for every variant."""
        if stage == "final":
            return {}
        nets = zip(self.plan.labels, self.plan.variants, strict=True)
        some = self.choices or {k: next(iter(self.plan.trials(v)), {}) for k, v in nets}
        data = self.facts["fingerprint"]
        runs = final_runs(self.plan, data, some, self.measure)
        runs += tuning_runs(self.plan, data, self.measure) if stage == "reference" else []
        every = {run_id(run.spec.to_json()): run.spec for run in runs}
        return {name: spec for name, spec in every.items() if name not in self.planned}

    def common_seeds(self) -> int:
        """Return how many seeds all variants have in common that have a finished run."""
        seeds: dict[str, set[int]] = {}
        for name in self.names("final"):
            if (self.folder / RUNS / name / record.RUN).exists():
                for label in labels_of(self.runs[name]):
                    seeds.setdefault(label, set()).add(self.runs[name]["seed"])
        return len(set.intersection(*seeds.values())) if seeds else 0

    def job(self, name: str) -> Job:
        """Return all that a worker needs for the run."""
        study = self.folder.resolve()
        classes = len(self.facts["class_names"])
        folder = (self.folder / RUNS / name).resolve()
        entry = self.facts["entry"]
        samples = Path(entry).resolve() if entry else self.facts["source"]
        return Job(self.specs[name], folder, study, samples, classes)

    def save(self) -> None:
        """Write `study.json`."""
        content = {
            "plan": asdict(self.plan),
            "asked": asdict(self.asked),
            "data": dict(self.facts),
            "runs": self.runs,
            "choices": self.choices,
            "failed": self.failed,
            "more": self.more,
            "environment": environment(),
        }
        files.write(self.folder / STUDY, record.seal(content))


def _tuning_scores(work: Work) -> dict[tuple[str, str], list[float]]:
    """Return the validation scores of the finished tuning runs, by label and what was tried."""
    scores: dict[tuple[str, str], list[float]] = {}
    metric = registry.metric(work.plan.metric).key
    for name in work.names("tuning"):
        run, row = record.read(work.folder / RUNS / name), work.runs[name]
        if run is None or (found := run["validation"][metric]) is None:
            continue
        for label, trial in trials_of(row).items():
            scores.setdefault((label, repr(trial)), []).append(found)
    return scores
