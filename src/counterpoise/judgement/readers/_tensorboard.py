"""Runs of TensorBoard: a folder of event files a run, by TensorBoard's own reader."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.judgement._record import Record
from counterpoise.judgement.readers._settings_file import INSTALL, read_settings

if TYPE_CHECKING:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

_OF_PARAMETERS = re.compile(r"\d+\.\d+")  # the folder that add_hparams makes within a run's
_SESSION = "_hparams_/session_start_info"


def find(files: Sequence[Path]) -> list[Path]:
    """Return the event files."""
    return [path for path in files if ".tfevents." in path.name]


def read(paths: Sequence[Path]) -> list[Record]:
    """Return a record of each folder, those that add_hparams makes joined to the run's.

    Raises:
        ValueError: TensorBoard is not installed, or cannot read a file.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        raise ValueError(f"event files of TensorBoard need tensorboard: {INSTALL}") from None
    records: dict[Path, Record] = {}
    for folder in sorted({path.parent for path in paths}):
        run = folder.parent if _OF_PARAMETERS.fullmatch(folder.name) else folder
        record = records.setdefault(run, Record(str(run), {}, read_settings(run), run.as_posix()))
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
        try:
            events.Reload()
            for tag, values in _scalars(events).items():
                record.scores.setdefault(tag, []).extend(values)
        except Exception as error:  # whatever protobuf and TensorBoard raise for a damaged file
            raise ValueError(
                f"{folder} must hold event files of TensorBoard, but it raised "
                f"{type(error).__name__} for them; leave the folder out"
            ) from error
        record.settings.update(_parameters(events))
    return list(records.values())


def _scalars(events: EventAccumulator) -> dict[str, list[tuple[float, float]]]:
    """Return the scalars, which TensorFlow 2 writes as tensors of one number."""
    from tensorboard.util import tensor_util

    tags: Any = events.Tags()
    found = {
        tag: [(float(e.step), float(e.value)) for e in events.Scalars(tag)]
        for tag in tags["scalars"]
    }
    for tag in tags["tensors"]:
        arrays = [(e.step, tensor_util.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
        if all(a.size == 1 and a.dtype.kind in "fiu" for _, a in arrays):
            found[tag] = [(float(step), float(a.item())) for step, a in arrays]
    return found


def _parameters(events: EventAccumulator) -> dict[str, str]:
    """Return what add_hparams wrote."""
    from tensorboard.plugins.hparams import metadata

    try:
        content = events.SummaryMetadata(_SESSION).plugin_data.content
    except KeyError:
        return {}
    session: Any = metadata.parse_session_start_info_plugin_data(content)
    values = {name: (v, v.WhichOneof("kind")) for name, v in session.hparams.items()}
    return {
        name: f"{number:g}" if isinstance(number := getattr(v, kind), float) else str(number)
        for name, (v, kind) in values.items()
        if kind
    }
