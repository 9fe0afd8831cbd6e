"""The second stage of a run, in which its head is trained once more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise import criterion, samplers, train
from counterpoise.study import record
from counterpoise.study.events import Emit, Epoch

if TYPE_CHECKING:
    from counterpoise.study.one_run import _Training


def retrain(
    run: _Training,
    folder: Path,
    state: record.Content,
    rows: list[record.Content],
    emit: Emit,
) -> list[record.Content]:
    """Train the head of a run's net once more; return the rows with those of this stage.

    Loss, class counts and link are then those of the balanced samples.

    Args:
        run: the training, the first stage of which is done.
        folder: its folder.
        state: of the checkpoint: that of the first stage at its end and, as `second`, that of this
            one, if it is resumed; features are computed anew.
        rows: of the first stage.
        emit: called with an `Epoch` after each.
    """
    t, spec = run.spec.training, run.spec
    targets = run.splits["train"].targets
    run.criterion = criterion.build(
        spec.variant.plain_loss,
        spec.variant.settings,
        samplers.ALL["balanced"](targets, num_classes=run.num_classes).seen_counts,
        epochs=t.retrain_epochs,
        device=run.device,
        mixed=t.retrain == "lws" and t.mix != "none",  # a new head sees none that are
    )  # without weights that set in late: those of equal counts are equal
    run.loss, run.seen_counts = run.criterion.loss, run.criterion.seen_counts
    last = rows[-1]

    def continued(row: record.Content) -> record.Content:
        more = {key: row[key] + last[key] for key in ("epoch", "seconds")}
        return {**row, **more, "stage": 2}

    found = train.retrain_head(
        run.net,
        run.loss,
        run.splits["train"],
        how=t.retrain,
        lr=t.retrain_lr,
        weight_decay=t.retrain_weight_decay,
        seed=spec.seed,
        precision=run.precision,
        watch={split: run.splits[split] for split in t.watch},
        epochs=t.retrain_epochs,
        batch_size=t.batch_size,
        state=state.get("second"),
        on_epoch=lambda row: emit(Epoch(folder.name, continued(row))),
        on_state=lambda second: record.save_checkpoint(
            folder, {**state, "second": second}, run.environment
        ),
    )
    return [{**row, "stage": 1} for row in rows] + list(map(continued, found[1:]))
