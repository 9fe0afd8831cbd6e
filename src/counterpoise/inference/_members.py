"""The nets, and classical models, of an exported model: one for each seed that it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from counterpoise import files
from counterpoise.probabilities import Posterior
from counterpoise.registry import MODELS, NORMS, PLAIN_NORMS
from counterpoise.sealed import Content, Damaged

if TYPE_CHECKING:
    import torch


class Lacking(ValueError):
    """A package that a model needs is not installed."""


@dataclass(frozen=True)
class Member:
    """One trained net of a model.

    Attributes:
        prepare: returns what the net is given for samples as they were read.
        logits: returns its logits, float (N, C).
        posterior: makes log-probabilities of them.
    """

    prepare: Callable[[torch.Tensor, Any], torch.Tensor]
    logits: Callable[[torch.Tensor], np.ndarray]
    posterior: Posterior


def open_member(folder: Path, content: Content, member: Content) -> Member:
    """Return one of the nets that `model.json` lists.

    Args:
        folder: of the model.
        content: of its `model.json`.
        member: the entry of the net.

    Raises:
        ValueError: a package is missing that it needs, or parts do not fit together.
    """
    answer = _KINDS[content["net"]["kind"]](folder, content, member)
    return Member(
        _preparer(folder, content, member), answer, Posterior.from_json(member["posterior"])
    )


def _file(folder: Path, content: Content, member: Content, kind: str) -> bytes:
    """Return a file of a net, one of those that were checked."""
    name = member[kind]
    if name not in content["files"]:
        raise Damaged(f"{folder} names {name!r} as {kind}, which is none of its files")
    return files.read(folder / name)


def _preparer(
    folder: Path, content: Content, member: Content
) -> Callable[[torch.Tensor, Any], torch.Tensor]:
    import torch

    from counterpoise.data import Standardizer, TableEncoder

    if content["columns"]:
        encode = TableEncoder.from_json(member["features"])
        return lambda cells, columns: encode(cells, columns)
    if content["net"]["kind"] == "onnx":  # which standardizes itself
        return lambda inputs, columns: inputs
    scale = Standardizer.from_json(member["features"])
    if "embedding" in member:  # a classical model on what a frozen net makes of images
        embed = _session(folder, content, member, "embedding")
        return lambda inputs, columns: cast("torch.Tensor", scale(torch.from_numpy(embed(inputs))))
    return lambda inputs, columns: cast("torch.Tensor", scale(inputs))


def _net(folder: Path, content: Content, member: Content) -> Callable[[torch.Tensor], np.ndarray]:
    """Return the logits of a net of the registry, built from its words and its weights."""
    import safetensors.torch
    import torch

    from counterpoise.net import build, with_cosine_head
    from counterpoise.train import predict_logits

    words = content["net"]
    known = {"auto", *MODELS}, {*PLAIN_NORMS, *NORMS}
    if (
        words["model"] not in known[0] or words["norm"] not in known[1]
    ):  # no module:name is imported
        raise Damaged(f"{folder} must name a net of counterpoise, but names {words['model']!r}")
    scale = float(words["scale"])
    if not math.isfinite(scale):
        raise Damaged(f"{folder} must scale logits by a finite number, but has {scale}")
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
        shape, own = tuple(words["shape"]), words.get("norm_settings")
        net = build(words["model"], words["norm"], shape, words["classes"], norm_settings=own)
        net = with_cosine_head(net) if words["cosine"] else net
    net.load_state_dict(safetensors.torch.load(_file(folder, content, member, "weights")))
    net = net.to("cuda" if torch.cuda.is_available() else "cpu")
    return lambda inputs: predict_logits(net, inputs).float().numpy() * scale


def _onnx(folder: Path, content: Content, member: Content) -> Callable[[torch.Tensor], np.ndarray]:
    """Return the logits of a net of the user's own, whose code need not be here."""
    return _session(folder, content, member, "onnx")


def _session(
    folder: Path, content: Content, member: Content, kind: str
) -> Callable[[torch.Tensor], np.ndarray]:
    """Return what an ONNX file makes of samples."""
    try:
        import onnxruntime
    except ImportError as error:
        raise Lacking(
            f"a net of {folder} was the user's own, or another library's "
            f"({content['net']['model']}), and runs by onnxruntime, but: {error}; pip install "
            "'counterpoise[export]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(  # nothing is read from other files
        "session.model_external_initializers_file_folder_path", str(folder / "none")
    )
    session = onnxruntime.InferenceSession(
        _file(folder, content, member, kind), options, providers=["CPUExecutionProvider"]
    )
    return lambda inputs: np.asarray(session.run(["logits"], {"input": inputs.numpy()})[0])


def _classical(
    folder: Path, content: Content, member: Content
) -> Callable[[torch.Tensor], np.ndarray]:
    """Return the log-probabilities of a classical model, as skops keeps it."""
    try:
        from skops import io
    except ImportError as error:
        raise Lacking(
            f"the model of {folder} is one of scikit-learn, kept by skops, but: {error}; pip "
            "install 'counterpoise[export]'"
        ) from error
    from counterpoise import classical

    kept = _file(folder, content, member, "model")
    unknown = io.get_untrusted_types(data=kept)
    if other := sorted(set(unknown) - classical.KEPT):
        raise Damaged(f"{folder} holds types that no classifier has: {other[:3]}")
    model = io.loads(kept, trusted=unknown)
    classes = content["net"]["classes"]
    return lambda inputs: classical.log_probabilities(model, inputs, classes)


_KINDS = {"net": _net, "onnx": _onnx, "classical": _classical}
