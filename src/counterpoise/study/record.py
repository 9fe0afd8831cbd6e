"""The record of one run, on disk.

A run's folder holds, once it is finished:

    run.json             what it was, its scores, and the SHA-256 of every other file; written last
    history.jsonl        a row an epoch
    predictions.npz      logits and targets of the validation and the test split, and, where the
                         seed drew that, the positions of its samples (test_rows)
    weights.safetensors  the trained net
    probe.json           what reached each layer before the first step
    features.json        of a table or of numbers, how they became what the net was given
    timing.json          how long it took: the only file that differs between two equal runs

and before that a `checkpoint.safetensors`, from which the run is resumed, and `progress.json`, a
note of how far it is. `run.json`, `timing.json`
and the study's own `study.json` hold a digest of their own content, too. Nothing is unpickled.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise import files
from counterpoise.sealed import Content, Damaged, digest_of, finite, to_json
from counterpoise.sealed import OtherFormat as OtherFormat
from counterpoise.sealed import seal as _seal
from counterpoise.sealed import unseal as _unseal

if TYPE_CHECKING:
    import numpy as np
    import torch

FORMAT = 1  # of study.json and run.json: another number is refused, not guessed at
_MEND = "counterpoise compare with the same plan trains it again"

FILES = {
    "history.jsonl",
    "predictions.npz",
    "weights.safetensors",
    "probe.json",
    "features.json",
}
RUN, CHECKPOINT, TIMING, ERROR, NOTE = (
    "run.json",
    "checkpoint.safetensors",
    "timing.json",
    "error.txt",
    "progress.json",
)


def seal(content: Mapping[str, object]) -> str:
    """Return JSON that holds the format and a digest of its own text: `sealed.seal`."""
    return _seal(content, FORMAT)


def unseal(path: Path) -> Content:
    """Return the content of a file that `seal` made: `sealed.unseal`."""
    return _unseal(path, FORMAT)


def finish(
    folder: Path,
    contents: Mapping[str, bytes | str],
    run: Mapping[str, object],
    timing: Mapping[str, object],
) -> None:
    """Write a run's files, `run.json` with their digests last, and remove its checkpoint.

    Args:
        folder: the run's.
        contents: of each file, by its name.
        run: what else `run.json` is to hold.
        timing: what `timing.json` is to hold.
    """
    written = {}
    for name, content in contents.items():
        content = content.encode() if isinstance(content, str) else content
        files.write(folder / name, content)
        written[name] = {"bytes": len(content), "sha256": digest_of(content)}
    files.write(folder / TIMING, seal({**timing, "run": folder.name}))
    files.write(folder / RUN, seal({**run, "files": written}))
    tidy(folder)


def collect(folder: Path) -> dict[str, bytes]:
    """Return the files of a run by their names: its record, or else checkpoint and error."""
    names = (*sorted(FILES), TIMING, RUN)
    if not (folder / RUN).exists():
        names = (CHECKPOINT, ERROR)
    return {name: files.read(folder / name) for name in names if (folder / name).exists()}


def place(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files of a run that was done elsewhere, as `collect` returns them.

    Raises:
        Damaged: files that are no run's.
        OSError: they cannot be written.
    """
    if other := contents.keys() - FILES - {TIMING, RUN, CHECKPOINT, ERROR}:
        raise Damaged(f"{sorted(other)} are not what a run writes")
    if contents:
        files.make_folder(folder)
        order = sorted(contents, key=lambda name: name == RUN)
        files.write_all(folder, {name: contents[name] for name in order})
    if RUN in contents:
        tidy(folder)


def tidy(folder: Path) -> None:
    """Remove what a finished run no longer needs: its checkpoint, note and an earlier error."""
    files.remove(folder / CHECKPOINT)
    files.remove(folder / ERROR)
    files.remove(folder / NOTE)
    files.remove_unfinished(folder)


def read(folder: Path) -> Content | None:
    """Return `run.json` of a finished run, its files checked; None where there is none.

    Raises:
        Damaged: a file is missing or has changed; the message says which.
    """
    try:
        run = unseal(folder / RUN)
        timing(folder)
    except FileNotFoundError as error:
        if error.filename == str(folder / RUN):
            return None
        raise Damaged(f"{folder / TIMING} is missing; {_MEND}") from error
    except Damaged as error:
        raise Damaged(f"{error}; {_MEND}") from error
    if not _are_files(run.get("files")):
        raise Damaged(f"{folder / RUN} names files that are no run's; {_MEND}")
    for name, known in run["files"].items():
        try:
            same = files.digest(folder / name, known["bytes"]) == known["sha256"]
        except FileNotFoundError:
            same = False
        if not same:
            raise Damaged(f"{folder / name} is not the file that the run finished with; {_MEND}")
    return run


def _are_files(value: object) -> bool:
    """Return True where `run.json` holds size and digest of a run's own files alone."""
    return (
        isinstance(value, dict)
        and value.keys() <= FILES
        and all(isinstance(known, dict) and "sha256" in known for known in value.values())
        and all(type(known.get("bytes")) is int for known in value.values())
    )


def take_up(folder: Path, spec: Mapping[str, object]) -> Content | None:
    """Return `run.json` of the finished run of a spec; the rest of a damaged one is removed.

    What a finished one left behind when it was killed at its very end is removed, too.
    """
    try:
        run = read(folder)
    except Damaged:
        run = {}
    if run is None:  # nothing to remove: a worker elsewhere may be about to finish it
        return None
    if run.get("spec") == json.loads(to_json(spec)):
        tidy(folder)
        return run
    files.remove(folder / RUN)
    return None


def timing(folder: Path) -> Content:
    """Return seconds, epochs_seconds and peak_memory_mb of a finished run.

    Raises:
        Damaged: the file is not the one that was written for that run.
    """
    found = unseal(folder / TIMING)
    if found.pop("run", None) != folder.name:
        raise Damaged(f"{folder / TIMING} is another run's")
    return found


def history(folder: Path) -> list[Content]:
    """Return the rows of a finished run."""
    return [json.loads(line) for line in files.read(folder / "history.jsonl").splitlines()]


def arrays(folder: Path) -> "dict[str, np.ndarray]":
    """Return the arrays of `predictions.npz`.

    Raises:
        Damaged: they are compressed, as `npz` does not write them; they could be of any size.
    """
    import numpy as np

    path = folder / "predictions.npz"
    with np.load(path, allow_pickle=False) as kept:
        if any(member.compress_type != zipfile.ZIP_STORED for member in kept.zip.infolist()):
            raise Damaged(f"{path} is not what was written: it is compressed; {_MEND}")
        return dict(kept)


def npz(**arrays: Any) -> bytes:
    """Return arrays as the bytes of a .npz file, the same for the same arrays."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def tensors(named: "Mapping[str, torch.Tensor]") -> bytes:
    """Return named tensors as the bytes of a .safetensors file."""
    import safetensors.torch

    return safetensors.torch.save({k: _plain(v) for k, v in named.items()})


def save_checkpoint(
    folder: Path, state: Mapping[str, object], environment: Mapping[str, str]
) -> None:
    """Write a training's state, tensors and all, as one file.

    Args:
        folder: the run's.
        state: mappings, lists, tensors and what JSON holds.
        environment: of `run_environment`: in another one the run begins afresh.
    """
    import safetensors.torch

    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps([_pack(state, tensors), dict(environment), folder.name])
    metadata = {"state": text, "sha256": _state_digest(text, tensors)}
    files.write(folder / CHECKPOINT, safetensors.torch.save(tensors, metadata))


def load_checkpoint(folder: Path, environment: Mapping[str, str]) -> Content | None:
    """Return the run's state that was saved last in this environment; None where none is whole."""
    import safetensors

    try:
        state, made_in = unpack_checkpoint(files.read(folder / CHECKPOINT))
    except (OSError, ValueError, safetensors.SafetensorError):
        return None
    return state if made_in == [dict(environment), folder.name] else None


def unpack_checkpoint(content: bytes) -> tuple[Content, list[object]]:
    """Return the state in the bytes of a checkpoint, and of which environment and run it is.

    Raises:
        ValueError, SafetensorError: it is not whole.
    """
    import safetensors.torch

    tensors = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__", {})
    text = metadata.get("state", "")
    if metadata.get("sha256") != _state_digest(text, tensors):
        raise ValueError("it is not whole")
    state, *made_in = json.loads(text)
    return _unpack(state, tensors), made_in


def checkpoint_time(folder: Path) -> int | None:
    """Return when the run's state was saved last, in nanoseconds; None where none is."""
    try:
        return (folder / CHECKPOINT).stat().st_mtime_ns
    except OSError:
        return None


def _state_digest(text: str, tensors: "Mapping[str, torch.Tensor]") -> str:
    import torch

    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def to_jsonl(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as JSON lines; NaN and infinity become null."""
    return "".join(json.dumps(finite(row), ensure_ascii=False) + "\n" for row in rows)


def _pack(value: object, tensors: "dict[str, torch.Tensor]") -> object:
    """Return a JSON value; tensors go into `tensors`, and keys keep their types."""
    import torch

    if isinstance(value, Mapping):
        return {"dict": [[k, _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_pack(v, tensors) for v in value]}
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = _plain(value)
        return {"tensor": name}
    return value


def _unpack(value: object, tensors: "Mapping[str, torch.Tensor]") -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "list":
        return [_unpack(v, tensors) for v in inner]
    return {k: _unpack(v, tensors) for k, v in inner}


def _plain(tensor: "torch.Tensor") -> "torch.Tensor":
    """Return a tensor as a file holds it: a contiguous one of its own on the CPU."""
    import torch

    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
