"""One trained net, or classical model, as the files of an export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from counterpoise import files
from counterpoise.classical import KEPT
from counterpoise.export._programs import Deployed, Standardized, as_onnx, as_program
from counterpoise.probabilities import Link, Posterior
from counterpoise.sealed import Content
from counterpoise.study import Again, Record, Study, fit_classical
from counterpoise.study import refit as refit_run
from counterpoise.study.events import Epoch

if TYPE_CHECKING:
    import torch
    from torch import nn

    from counterpoise.models import Backbone

_CHECKED = 64  # samples on which programs are compared
# Of the largest logit: another processor, or number of threads; and of nets that computed in
# bfloat16, which has 8 bits, and are exported in float32.
_OFF, _OFF_IN_BFLOAT16 = 1e-3, 0.05
_EXTRA = "pip install 'counterpoise[export]'"


@dataclass
class Part:
    """The files of one net.

    Attributes:
        net: what `model.json` says of the kind of net.
        entry: what it says of this one.
        posterior: of its logits.
        files: by their names.
        lines: sentences on how they were made and checked.
    """

    net: Content
    entry: Content
    posterior: Posterior
    files: dict[str, bytes] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def add(self, kind: str, name: str, content: bytes) -> None:
        """Add a file, which `model.json` names by its kind."""
        self.files[name] = content
        self.entry[kind] = name

    def check(
        self, net: nn.Module, inputs: torch.Tensor, recorded: np.ndarray, most: float
    ) -> None:
        """Compare a net's logits with those that its run recorded.

        Raises:
            ValueError: they are others.
        """
        import torch

        with torch.no_grad():
            found = net(inputs)[0].numpy()
        off = np.abs(found - recorded).max() / max(1.0, np.abs(recorded).max())
        if not off <= most:
            raise ValueError(
                f"the net must answer as in the study, but its logits differ by {off:.1e}; use the "
                "versions that the study was run with (counterpoise show lists them)"
            )
        self.lines.append(f"Logits: {_near(off)} the study's on {len(inputs)} test samples")


def part_of(
    study: Study,
    record: Record,
    number: int,
    posterior: Posterior,
    refit: bool,
    programs: bool,
    say: Callable[[str], None],
) -> Part:
    """Return a net, or a classical model, of a finished run.

    Args:
        study: the run's.
        record: the run.
        number: of the net in the export.
        posterior: of its logits.
        refit: whether it is trained once more.
        programs: whether there are a program and ONNX, too.
        say: called with what is being done.

    Raises:
        ValueError: it cannot be exported.
    """
    if record.classical:
        return _classical(study, record, number, posterior, refit, say)
    weights, features = files.read(record.folder / "weights.safetensors"), _features(record)
    if refit:
        again = _refitted(study, record, say)
        weights, features = again.weights, again.features
        posterior = _at_counts(posterior, again.run)
    return _net(study, record, number, Again(weights, features), posterior, refit, programs, say)


def _refitted(study: Study, record: Record, say: Callable[[str], None]) -> Again:
    """Train a net once more, and say how far it is."""
    epochs = record.run["spec"]["training"]["epochs"]

    def on_event(event: object) -> None:
        if isinstance(event, Epoch):
            say(
                f"training again on training and validation samples: epoch "
                f"{(event.row.get('epoch') or 0) + 1} of {epochs}"
            )

    return refit_run(study, record, on_event)


def _at_counts(posterior: Posterior, run: Content) -> Posterior:
    """Return the posterior of what was trained again, on more samples, with the old calibration."""
    return replace(
        posterior,
        link=Link.from_json(run["link"]),
        seen_counts=tuple(map(float, run["seen_counts"])),
        train_counts=tuple(map(float, run["train_counts"])),
    )


def _features(record: Record) -> Content:
    if "features.json" not in record.run["files"]:
        return {}
    return json.loads(files.read(record.folder / "features.json"))


def _net(
    study: Study,
    record: Record,
    number: int,
    trained: Again,
    posterior: Posterior,
    refitted: bool,
    programs: bool,
    say: Callable[[str], None],
) -> Part:
    import safetensors.torch
    import torch

    from counterpoise.data import Standardizer, TableEncoder
    from counterpoise.net import with_cosine_head
    from counterpoise.study import Variant, make_net

    spec, shape = record.run["spec"], tuple(study.data["shape"])
    table = study.columns is not None
    if table:
        shape = (len(TableEncoder.from_json(trained.features).features),)
    model, norm = spec["training"]["model"], spec["variant"]["norm"]
    classes = len(study.data["class_names"])
    cosine, scale = "cosine_scale" in record.run, record.run.get("cosine_scale", 1.0)
    variant = study.plan.variant_of(record.label)
    t, settings = study.plan.training_of(variant), spec["variant"].get("norm_settings", {})
    with torch.random.fork_rng(devices=[]):
        net = make_net(t, Variant(norm, norm_settings=settings), shape, classes, weights="none")
        net = with_cosine_head(net) if cosine else net
    net.load_state_dict(safetensors.torch.load(trained.weights))
    scaling = Standardizer.from_json({} if table else trained.features)
    if t.on_features:
        shape, backbone = tuple(study.data["reading"]["shape"]), _backbone(study)
        backbone.head, net = Standardized(net, scaling.mean, scaling.std), backbone
        scaling = Standardizer.from_json({})
    own = ":" in model or ":" in norm
    words = {"kind": "onnx" if own else "net", "model": model, "norm": norm, "shape": list(shape)}
    words |= {"classes": classes, "cosine": cosine, "scale": scale}
    words |= {"norm_settings": dict(settings)} if settings else {}
    part = Part(words, {"features": trained.features}, posterior)
    if not own:
        part.add("weights", f"weights-{number}.safetensors", trained.weights)
    elif t.pretrained:  # for other programs
        weights = safetensors.torch.save(net.state_dict())
        part.files[f"weights-{number}.safetensors"] = weights
    if not (programs or own):
        return part
    affine = posterior.affine()
    ab = None if affine is None else (torch.from_numpy(affine[0]), torch.from_numpy(affine[1]))
    whole = Deployed(net, scale, scaling.mean, scaling.std, ab).eval().requires_grad_(False)
    inputs, recorded = _checked_samples(study, record, trained.features if table else None, shape)
    if not refitted and recorded is not None:
        most = _OFF_IN_BFLOAT16 if record.run.get("precision") == "bfloat16" else _OFF
        part.check(whole, inputs, recorded, most)
    for kind, name, make in (
        ("program", f"model-{number}.pt2", as_program),
        ("onnx", f"model-{number}.onnx", as_onnx),
    ):
        say(f"writing {name}")
        try:
            content, off = make(whole, inputs)
        except (ValueError, ImportError) as error:
            why = f"{error}; {_EXTRA}" if isinstance(error, ImportError) else str(error)
            if own and kind == "onnx":
                raise ValueError(
                    f"the net {model} with norm {norm} is your own, and must be exported to ONNX "
                    f"so that it runs without its code, but: {why}"
                ) from error
            part.lines.append(f"No {name}: {why}")
            continue
        part.add(kind, name, content)
        part.lines.append(f"{name}: {_near(off)} the net's logits on {len(inputs)} samples")
    if own:
        whose = "of another library" if t.pretrained else "your own"
        part.lines.append(
            f"The net {model} is {whose}: predict runs {name} by onnxruntime, without its code"
        )
    return part


def _backbone(study: Study) -> Backbone:
    """Return the frozen net whose features a study's heads and classical models were given."""
    from counterpoise.study import open_backbone

    reading, t = study.data["reading"], study.plan.training
    net = open_backbone(t, tuple(reading["shape"]))
    if net.identity != reading["features"]["identity"]:
        raise ValueError(
            f"{t.model} must have the weights whose features the study was run on, but has others "
            "now; put back the file, or run the study again"
        )
    return net


def _near(off: float) -> str:
    return f"within {off:.0e} of" if off else "equal to"


def _checked_samples(
    study: Study, record: Record, encoder: Content | None, shape: tuple[int, ...]
) -> tuple[torch.Tensor, np.ndarray | None]:
    """Return some samples as a deployed net gets them, and the logits that the run recorded.

    Random ones, and None, where the study's are no longer in the cache.
    """
    import torch

    from counterpoise.data import TableEncoder

    rows = record.test_rows
    kept = study.samples("test" if rows is None else "pool", images=True)
    if kept is None:
        return torch.rand(_CHECKED, *shape, generator=torch.Generator().manual_seed(0)), None
    chosen = np.arange(len(kept.rows))[:_CHECKED] if rows is None else rows[:_CHECKED]
    samples = torch.from_numpy(np.array(kept.inputs[kept.rows[chosen]]))
    if encoder is not None:
        samples = TableEncoder.from_json(encoder)(samples, study.columns)
    return samples, record.predictions["test_logits"][:_CHECKED]


def _classical(
    study: Study,
    record: Record,
    number: int,
    posterior: Posterior,
    whole: bool,
    say: Callable[[str], None],
) -> Part:
    """Fit a classical model once more, and keep it by skops, without pickle."""
    try:
        from skops import io
    except ImportError as error:
        raise ValueError(
            f"{record.label} is a model of scikit-learn, which skops keeps, but: {error}; {_EXTRA}"
        ) from error
    say(f"fitting {record.label} again, as a study keeps no classical models")
    again = fit_classical(study, record, whole)
    content = io.dumps(again.model)
    if other := sorted(set(io.get_untrusted_types(data=content)) - KEPT):
        raise ValueError(
            f"{record.label} must hold nothing but types that skops, or counterpoise, knows to be "
            f"safe, but holds {', '.join(other[:3])}; export another variant"
        )
    net = {"kind": "classical", "model": record.label, "classes": len(study.data["class_names"])}
    posterior = _at_counts(posterior, again.run) if whole else posterior
    part = Part(net, {"features": again.features}, posterior)
    part.add("model", f"model-{number}.skops", content)
    if study.plan.training.on_features:
        from torch import nn

        say("writing the frozen net as ONNX")
        backbone = _backbone(study)
        backbone.head = nn.Identity()
        embed = Deployed(backbone).eval().requires_grad_(False)
        shape = tuple(study.data["reading"]["shape"])
        inputs, _ = _checked_samples(study, record, None, shape)
        try:
            onnx, off = as_onnx(embed, inputs)
        except (ValueError, ImportError) as error:
            raise ValueError(
                f"{record.label} is given features of {backbone.name}, which must be exported to "
                f"ONNX, but: {error}; {_EXTRA}"
            ) from error
        part.add("embedding", f"features-{number}.onnx", onnx)
        part.lines.append(f"features-{number}.onnx: {_near(off)} the frozen net's features")
    if again.checked:
        part.lines.append(
            f"Fitted again: log-probabilities as in the study on {again.checked:,} held-out samples"
        )
    return part
