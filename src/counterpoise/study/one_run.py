"""One run of a study, in the process it has to itself."""

import contextlib
import copy
import itertools
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise import criterion, files, probe, samplers, train
from counterpoise.models import Backbone
from counterpoise.net import check_logits, head_path, with_cosine_head
from counterpoise.registry import resolve
from counterpoise.study import _ranks, record
from counterpoise.study._classical_runs import record_classical, record_reference
from counterpoise.study._nets import make_net
from counterpoise.study._run_data import RunData, read_data
from counterpoise.study._scoring import evaluate_splits, read_head, score_splits
from counterpoise.study._second_stage import retrain
from counterpoise.study._sources import check_weights
from counterpoise.study.environment import run_environment
from counterpoise.study.events import Emit, Epoch, Joining, Progress, Waiting
from counterpoise.study.process import peak_memory_mb
from counterpoise.study.settings import Training
from counterpoise.study.spec import ClassicalSpec, Job, ReferenceSpec, RunSpec
from counterpoise.text import printable

_SAID_EVERY = 15  # times that a lock is waited for, two seconds each
_PROBED, _MOST_VALUES = 64, 2**20  # samples of the look at the first step, and their pixels


def train_run(job: Job, emit: Emit) -> None:
    """Train by a job's spec, or fit a reference, and write its record to the job's folder.

    Args:
        job: the run; of several nodes, the first one alone writes.
        emit: called with `Progress`, `Epoch` and, while a worker that is left from a killed study
            holds the run, with `Waiting`; on several nodes with `Joining`.
    """
    folder = job.folder
    if job.nodes.rank:
        _launch(job, emit)
        return
    with held(folder, emit):
        if record.take_up(folder, job.spec.to_json()) is not None:
            return
        try:
            if isinstance(job.spec, ReferenceSpec):
                record_reference(job, job.spec)
            elif isinstance(job.spec, ClassicalSpec):
                record_classical(job, job.spec)
            elif job.nodes.number > 1 or _ranks.count_devices(job.spec.training.devices) > 1:
                _launch(job, emit)
            else:
                _Training(job).run(folder, emit)
        except BaseException as error:
            keep_error(folder, error)
            raise


def keep_error(folder: Path, error: BaseException) -> None:
    """Write into a run's folder what it failed with."""
    said = printable("".join(traceback.format_exception(error)))
    with contextlib.suppress(OSError):  # a full disk may be the very reason
        files.write(folder / record.ERROR, said)


@contextlib.contextmanager
def held(folder: Path, emit: Emit) -> Iterator[None]:
    """Make a run's folder, and hold it against other processes; meanwhile `Waiting` is emitted."""
    files.make_folder(folder)
    waits = itertools.count()

    def on_wait() -> None:
        if next(waits) % _SAID_EVERY == 0:
            emit(Waiting(folder.name, folder))

    with files.lock(folder, on_wait=on_wait):
        yield


def _launch(job: Job, emit: Emit) -> None:
    """Start the processes of a run on this node; they train together with those on others."""
    number = _ranks.count_devices(cast(RunSpec, job.spec).training.devices)

    def on_open(port: int) -> None:
        emit(Joining(job.folder.name, port))

    _ranks.launch(_train_together, job, number, emit, job.nodes, on_open)


def _train_together(job: Job, emit: Emit, rank: int, number: int) -> None:
    """Train by a job's spec, in one of the processes that do so together; the first one writes."""
    _Training(job, rank, number).run(job.folder, emit)
    torch.distributed.barrier()  # if the first one fails to write, all are still there to try again
    torch.distributed.destroy_process_group()


class _Training:
    """All that one training needs, made from its spec; in each process that takes part in it.

    Args:
        job: the run.
        rank: of this process, among those that train the net together.
        number: of them.
        read: the run's data, if another run of the seed has read them.
    """

    def __init__(
        self, job: Job, rank: int = 0, number: int = 1, read: RunData | None = None
    ) -> None:
        self.spec = spec = cast(RunSpec, job.spec)
        self.rank, self.number = rank, number
        t, variant = spec.training, spec.variant
        self.num_classes, self.environment = job.num_classes, run_environment()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cuda":
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        self.read = read or read_data(job, t.validation)
        self.splits, self.rows, self.features = self.read
        self.sampler = resolve("sampler", variant.sampler, samplers.ALL)(
            self.splits["train"].targets,
            epochs=t.epochs,
            seed=spec.seed,
            num_classes=self.num_classes,
            **spec.variant.sampler_settings,
        )
        self.criterion = criterion.build(
            variant.plain_loss,
            variant.settings,
            self.sampler.seen_counts,
            epochs=t.epochs,
            device=self.device,
            deferred=t.deferred if variant.deferred else None,
            changing=variant.sampler == "progressive",
            mixed=t.mix != "none",
        )
        self.loss, self.seen_counts = self.criterion.loss, self.criterion.seen_counts
        check_weights(spec)
        torch.manual_seed(spec.seed)  # norms draw nothing: equal seeds, equal weights
        self.net = self._make_net().to(self.device)
        whole = t.pretrained and not t.on_features  # heads on vectors are quick in float32
        self.precision = train.resolve_precision(t.precision, self.device, whole)
        self.head = head_path(self.net) if _names_head(t) else ""
        if not t.on_features:
            train.freeze(self.net, t.freeze, self.head)
        if ":" in t.model and not t.pretrained:
            inputs = _fed(self.splits["train"].inputs[:2])
            check_logits(self.net, inputs.to(self.device), self.num_classes)

    def make_optimizer(self) -> torch.optim.Optimizer:
        t = self.spec.training
        return train.make_optimizer(
            self.net,
            t.optimizer,
            lr=self.spec.lr,
            momentum=t.momentum,
            weight_decay=t.weight_decay,
            head=self.head,
            head_lr=t.head_lr,
            layer_decay=t.layer_decay,
        )

    def _join(self) -> None:
        """Join the other processes: from here on the samplers would share by themselves."""
        t = self.spec.training
        _ranks.join("nccl" if self.device.type == "cuda" else "gloo")
        if t.sync_batch_norm:
            self.net = train.sync_batch_norm(self.net)
        if t.shard:
            self.net = train.shard(self.net)

    def run(self, folder: Path, emit: Emit) -> None:
        """Train to the end, from the last checkpoint if there is one, and write the record."""
        begin = time.perf_counter()
        flow = None if self.rank else self.first_step()
        if self.number > 1:
            self._join()
        t, name = self.spec.training, folder.name
        state = self.load_checkpoint(folder)
        devices = _devices(state.pop("devices", [1] * bool(state)), self.number)
        if t.devices == 1 and devices["devices"] == [1]:
            devices = {}
        rows = train.fit(
            self.net,
            self.loss,
            self.splits["train"],
            epochs=t.epochs,
            batch_size=t.batch_size,
            optimizer=self.make_optimizer(),
            schedule=train.SCHEDULES[t.schedule](t.warmup),
            clip_norm=t.clip_norm or None,
            seed=self.spec.seed,
            sampler=self.sampler,
            augment=train.augmentation(t.augment),
            mix=None if t.mix == "none" else train.Mix(t.mix, self.seen_counts, t.mix_alpha),
            each_epoch=self.criterion.each_epoch,
            precision=self.precision,
            accumulate=t.accumulate,
            patience=t.patience,
            monitor=_monitored(self.spec.metric) if t.patience else "",
            ema=t.ema,
            sam=t.sam,
            compile=t.compile,
            watch={split: self.splits[split] for split in t.watch},
            state=state or None,
            on_epoch=lambda row: emit(Epoch(name, row)),
            on_progress=lambda share: emit(Progress(name, share)),
            on_state=lambda state: record.save_checkpoint(
                folder, state | devices, self.environment
            ),
        )
        more: record.Content = {**devices}
        if t.ema or t.retrain != "none":
            ended = self._read_checkpoint(folder)
            more |= {"last": self._last_scores(ended["net"])} if t.ema else {}
            if t.retrain != "none":
                rows = retrain(self, folder, ended, rows, emit)
        self.finish(folder, rows, flow, begin, more)

    def finish(
        self,
        folder: Path,
        rows: list[record.Content],
        flow: list[probe.LayerRow] | None,
        begin: float,
        more: Mapping[str, object],
    ) -> None:
        """Evaluate the net, and write the record, with the rows of `fit` and `first_step`'s."""
        for listener in self.criterion.each_epoch:  # it may have been resumed when all were done
            listener.set_epoch(max(0, rows[-1]["epoch"] - 1))
        contents, found = self._evaluate(self.spec.stage == "final")
        if self.rank:
            return
        seconds = [row.pop("seconds") for row in rows]
        contents["history.jsonl"] = record.to_jsonl(rows)
        if flow is not None:
            contents["probe.json"] = record.to_json(flow)
        run = {"spec": self.spec.to_json(), "environment": self.environment, **found, **more}
        timing = {
            "epochs_seconds": seconds,
            "seconds": time.perf_counter() - begin,
            "peak_memory_mb": peak_memory_mb(),
        }
        record.finish(folder, contents, run, timing)

    def load_checkpoint(self, folder: Path) -> record.Content:
        """Return the first process's; on other nodes there may be none, or an older one."""
        state = None if self.rank else record.load_checkpoint(folder, self.environment)
        if self.number > 1:
            content = b"" if state is None else files.read(folder / record.CHECKPOINT)
            content = _ranks.of_first(content, self.device)
            state = record.unpack_checkpoint(content)[0] if content else None
        return state or {}

    def _read_checkpoint(self, folder: Path) -> record.Content:
        """Return the state that the first process saved last, or raise what keeps it from that."""
        content = b"" if self.rank else files.read(folder / record.CHECKPOINT)
        if self.number > 1:
            content = _ranks.of_first(content, self.device)
        return record.unpack_checkpoint(content)[0]

    def _make_net(self) -> nn.Module:
        shape = tuple(self.splits["train"].inputs.shape[1:])
        net = make_net(self.spec.training, self.spec.variant, shape, self.num_classes)
        return with_cosine_head(net) if self.criterion.needs_cosine_head else net

    def first_step(self) -> list[probe.LayerRow] | None:
        """Return what reaches each layer before the first step; None but for runs reported."""
        if self.spec.stage != "final":
            return None
        split = self.splits["train"]
        number = max(2, min(_PROBED, _MOST_VALUES // split.inputs.shape[1:].numel()))
        spread = torch.arange(0, len(split), max(1, len(split) // number))[:number]
        inputs, targets = _fed(split.inputs[spread]), split.targets[spread]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the net (does not work in float64|cannot be copied)")
            return probe.first_step(
                self.net, self.loss, inputs.to(self.device), targets.to(self.device)
            )

    def _evaluate(self, final: bool) -> tuple[dict[str, bytes | str], record.Content]:
        """Return the files of the record, and the scores; the test split is for the final runs."""
        counts, logits, head = self._train_counts, self._logits(), None
        if logits.keys() >= {"validation", "test"}:
            some = _fed(self.splits["validation"].inputs[:2])
            head = read_head(self.net, some.to(self.device))
        measure = self.spec.measure
        kept, scores = score_splits(self.splits, logits, counts, self.seen_counts, measure, head)
        found: record.Content = {
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "train_counts": counts,
            "seen_counts": self.seen_counts.tolist(),
            "link": self.criterion.link(),
            **scores,
        }
        if self.precision != "float32":
            found["precision"] = self.precision
        if isinstance(self.net, Backbone):
            found["net"] = list(self.net.notes)
        if self.criterion.needs_cosine_head:
            found["cosine_scale"] = self.criterion.cosine_scale
        if self.spec.stage == "tuning":
            return {}, found
        weights = {"weights.safetensors": record.tensors(train.full_state(self.net))}
        predicted = {"predictions.npz": record.npz(**kept, **self.rows)} if final else {}
        return {**predicted, **weights, **self.features}, found

    @property
    def _train_counts(self) -> list[int]:
        targets = self.splits["train"].targets
        return torch.bincount(targets, minlength=self.num_classes).tolist()

    def _last_scores(self, weights: Mapping[str, Tensor]) -> record.Content:
        """Return the scores of the last weights; the net keeps the averaged ones."""
        averaged = copy.deepcopy(self.net.state_dict())
        self.net.load_state_dict(weights)
        found = evaluate_splits(self.splits, self._logits(), self._train_counts, self.spec.measure)
        self.net.load_state_dict(averaged)
        return found

    def _logits(self) -> dict[str, np.ndarray]:
        """Return the net's logits of the splits that the run's stage looks at.

        They are on the scale on which they are log-probabilities.
        """
        wanted = {"final": ("validation", "test"), "tuning": ("validation",), "refit": ()}
        return {
            name: train.predict_logits(
                self.net,
                self.splits[name].inputs,
                shared=self.number > 1,
                precision=self.precision,
            )
            .float()
            .mul(self.criterion.cosine_scale)
            .numpy()
            for name in wanted[self.spec.stage]
            if name in self.splits
        }


def _names_head(t: Training) -> bool:
    """Return whether a setting is about the head."""
    return t.freeze == "backbone" or t.head_lr != 1 or t.layer_decay != 1


def _monitored(metric: str) -> str:
    """Return the column of the history by which the best epoch is chosen."""
    return f"validation_{metric if metric in train.SCORES else 'balanced_accuracy'}"


def _devices(before: list[int], number: int) -> dict[str, list[int]]:
    """Return the record's entry: the number of devices, and of those before it was resumed."""
    return {"devices": before if before[-1:] == [number] else [*before, number]}


def _fed(inputs: Tensor) -> Tensor:
    """Samples as a net gets them: uint8 images are scaled to 0 .. 1."""
    return inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
