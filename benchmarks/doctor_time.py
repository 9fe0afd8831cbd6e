"""How long the doctor takes: the sheet's nets, and a net of ResNet-50's size.

    python benchmarks/doctor_time.py              on all cores
    python benchmarks/doctor_time.py --threads 1

The nets have no norms, except the last, so that they fail and every remedy is tried. Wall time, and
processor time, which hardly depends on other load.
"""

import argparse
import time

import torch
from torch import nn

from counterpoise import data, doctor, models


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut: He et al. 2015, arXiv 1512.03385."""

    def __init__(self, wide, narrow, stride, norm):
        super().__init__()
        out = 4 * narrow
        steps = [
            (nn.Conv2d(wide, narrow, 1, bias=False), narrow),
            (nn.Conv2d(narrow, narrow, 3, stride, 1, bias=False), narrow),
            (nn.Conv2d(narrow, out, 1, bias=False), out),
        ]
        layers = [part for conv, n in steps for part in (conv, norm(n), nn.ReLU())]
        self.body = nn.Sequential(*layers[:-1])
        same = wide == out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(wide, out, 1, stride, bias=False)

    def forward(self, x):
        return (self.body(x) + self.shortcut(x)).relu_()


def resnet_50(norm=lambda channels: nn.Identity()):
    """25.5 million weights in 53 convolutions and a linear layer."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), norm(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    wide = 64
    for narrow, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            layers.append(Bottleneck(wide, narrow, 1 if i else stride, norm))
            wide = 4 * narrow
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 1000))


def examples():
    train = data.fashion_mnist().train
    for depth in (8, 16):
        net = models.DeeperCNN(convs_per_block=depth)
        yield f"DeeperCNN, {2 * depth} convs", net, train.inputs[:256], train.targets[:256], {}
    few = {"steps": 10, "batch_size": 8}  # enough for a net that plainly fails
    images = torch.randn(16, 3, 64, 64)
    yield "ResNet-50 without norms, 64x64", resnet_50(), images, torch.arange(16), few
    images = torch.randn(16, 3, 64, 64)
    yield "ResNet-50, 64x64", resnet_50(nn.BatchNorm2d), images, torch.arange(16), few


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    for name, net, inputs, targets, options in examples():
        begin, used = time.perf_counter(), time.process_time()
        found = doctor.diagnose(net, nn.CrossEntropyLoss(), inputs, targets, lr=0.1, **options)
        wall, used = time.perf_counter() - begin, time.process_time() - used
        tried = len(found.remedies)
        print(
            f"{name:32} {wall:6.1f} s, processor {used:6.1f} s, {tried} remedies: {found.verdict}"
        )


if __name__ == "__main__":
    main()
