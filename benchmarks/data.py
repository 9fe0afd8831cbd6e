"""Reading a folder of photographs: our cache beside torchvision's ImageFolder and a DataLoader.

    python benchmarks/data.py                        2,000 images of 375 x 500 to 224 x 224
    python benchmarks/data.py --images 20000 --height 224 --width 224

Both decode with as many workers as there are cores (threads here, processes there), cut to a square
and scale to `--size`. The first epoch decodes; in later ones the DataLoader does so again, and we
read from the file that is mapped into memory, in a new order. Figures are megapixels of the result
per second, and the ratio. Without torchvision, its folder and transforms are written out below.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from counterpoise import data

BATCH = 32


class ImageFolder(Dataset):
    """torchvision's, with Resize, CenterCrop and PILToTensor."""

    def __init__(self, root: Path, size: int) -> None:
        self.files, self.size = sorted(root.rglob("*.jpg")), size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with open(self.files[index], "rb") as file:
            image = Image.open(file).convert("RGB")
        scale = self.size / min(image.size)
        width, height = (max(self.size, round(scale * n)) for n in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        image = image.crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous(), 0


def photographs(root: Path, number: int, height: int, width: int) -> None:
    """Write smooth random images with some noise, which JPEG packs about as it does photographs."""
    rng = np.random.default_rng(0)
    for k in range(number):
        folder = root / f"class {k % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noisy = np.asarray(image, np.int16) + rng.integers(-8, 9, (height, width, 1), np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{k}.jpg", quality=90)


def of_loader(root: Path, size: int, workers: int) -> list[float]:
    """Return the seconds of two epochs."""
    loader = DataLoader(ImageFolder(root, size), BATCH, shuffle=True, num_workers=workers)
    return [timed(lambda: sum(int(x[0, 0, 0, 0]) for x, _ in loader)) for _ in range(2)]


def of_cache(root: Path, size: int, cache: str) -> list[float]:
    """Return the seconds of two epochs: the first decodes, too."""

    def epoch() -> int:
        inputs = data.load(root, image_size=size, cache=cache).train.inputs
        order = torch.randperm(len(inputs))
        return sum(int(inputs[index][0, 0, 0, 0]) for index in order.split(BATCH))

    return [timed(epoch) for _ in range(2)]


def timed(work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    workers = os.cpu_count() or 1
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photographs"
        photographs(root, a.images, a.height, a.width)
        print(f"{a.images:,} JPEGs of {a.height} x {a.width}, {workers} workers; megapixels/s")
        print(f"{'':8} {'DataLoader':>12} {'cache':>12} {'ratio':>8}")
        pixels = a.images * a.size * a.size / 1e6
        for repeat in range(a.repeats):
            theirs = of_loader(root, a.size, workers)
            # Four fifths are read there; all are decoded, a fifth being held out.
            ours = of_cache(root, a.size, f"{folder}/cache {repeat}")
            for name, t, o, share in zip(("first", "later"), theirs, ours, (1.0, 0.8), strict=True):
                mine = share * pixels / o
                print(f"{name:8} {pixels / t:12.1f} {mine:12.1f} {mine * t / pixels:8.2f}")


if __name__ == "__main__":
    main()
