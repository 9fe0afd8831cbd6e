"""Small data sets: scikit-learn's, and drawn ones."""

import math
from functools import cache

import torch
from sklearn import datasets
from torch.nn import functional as F

load = cache(lambda name: getattr(datasets, f"load_{name}")())


def digits(samples=1024):
    """Images (N, 1, 8, 8) in 0 .. 1 and classes."""
    index = torch.randperm(1797)[:samples]
    found = load("digits")
    images = torch.from_numpy(found.images).float()[index, None] / 16
    return images, torch.from_numpy(found.target)[index].long()


def flat_digits(samples=1024):
    x, y = digits(samples)
    return x.flatten(1), y


def large_digits(samples=512, size=16):
    """Digits as images of another size."""
    x, y = digits(samples)
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False), y


def table(name, raw=False):
    """Columns of iris, wine, breast_cancer or diabetes, standardized or raw, and targets."""
    found = load(name)
    x, y = torch.from_numpy(found.data).float(), torch.from_numpy(found.target)
    x = x if raw else (x - x.mean(0)) / x.std(0)
    return x, y.float()[:, None] if name == "diabetes" else y.long()


def moons(samples=512, noise=0.1):
    y = torch.arange(samples) % 2
    t = torch.rand(samples) * math.pi
    upper = torch.stack([t.cos(), t.sin()], 1)
    lower = torch.stack([1 - t.cos(), 0.5 - t.sin()], 1)
    return torch.where(y[:, None] == 0, upper, lower) + noise * torch.randn(samples, 2), y


def spirals(samples=512, turns=1.0, classes=2):
    y = torch.arange(samples) % classes
    r = torch.rand(samples).sqrt()
    t = 2 * math.pi * (turns * r + y / classes)
    x = r[:, None] * torch.stack([t.cos(), t.sin()], 1) * 2
    return x + 0.05 * torch.randn(samples, 2), y


def rings(samples=512):
    y = torch.arange(samples) % 2
    t, r = 2 * math.pi * torch.rand(samples), 1.0 + 1.5 * y + 0.2 * torch.randn(samples)
    return r[:, None] * torch.stack([t.cos(), t.sin()], 1), y


def gaussians(samples=1024, columns=20, classes=4, distance=3.0):
    centers = distance * torch.randn(classes, columns) / columns**0.5
    y = torch.randint(classes, (samples,))
    return centers[y] * 2 + torch.randn(samples, columns), y


def parity(bits, samples=512):
    x = torch.randint(2, (samples, bits)).float()
    return 2 * x - 1, x.sum(1).long() % 2


def polynomial(samples=512, columns=1):
    x = 2 * torch.rand(samples, columns) - 1
    return x, (x**2 - 0.5 * x).sum(1, keepdim=True)


def friedman(samples=512):
    """Friedman's first regression task (1991), standardized targets."""
    x = torch.rand(samples, 10)
    y = 10 * torch.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y = y + 10 * x[:, 3] + 5 * x[:, 4] + torch.randn(samples)
    return x, ((y - y.mean()) / y.std())[:, None]


def waves(samples=512, length=32):
    """Sequences (N, length, 1) of a sine, a square and a sawtooth wave, and their classes."""
    y = torch.randint(3, (samples,))
    t = torch.arange(length) * (0.08 + 0.06 * torch.rand(samples, 1)) + torch.rand(samples, 1)
    phase = t % 1
    every = torch.stack([(2 * math.pi * t).sin(), (phase - 0.5).sign(), 2 * phase - 1])
    return (every[y, torch.arange(samples)] + 0.1 * torch.randn(samples, length))[..., None], y


def series(samples=512, length=24):
    """Windows (N, length, 1) of a noisy sum of two sines, and the next value (N, 1)."""
    t = torch.arange(samples + length).float()
    x = (0.3 * t).sin() + 0.5 * (0.11 * t).cos() + 0.05 * torch.randn(samples + length)
    windows = x.unfold(0, length + 1, 1)[:samples]
    return windows[:, :-1, None], windows[:, -1:]


def adding(samples=1024, length=20):
    """The adding problem of Hochreiter & Schmidhuber (1997)."""
    values, marks = torch.rand(samples, length), torch.zeros(samples, length)
    for half in (0, length // 2):
        marks[torch.arange(samples), half + torch.randint(length // 2, (samples,))] = 1
    return torch.stack([values, marks], 2), (values * marks).sum(1, keepdim=True)


def copying(samples=1024, symbols=8, remembered=3, delay=10):
    """Copy the first symbols after a delay: tokens (N, T) and targets (N, T); 0 is blank."""
    words = torch.randint(1, symbols + 1, (samples, remembered))
    blank = torch.zeros(samples, delay, dtype=torch.long)
    go = torch.full((samples, remembered), symbols + 1)
    targets = torch.cat([torch.zeros_like(words), blank, words], 1)
    return torch.cat([words, blank, go], 1), targets


def names(samples=1024, length=10):
    """Words (N, length) of 26 characters and a blank 0, from four languages' syllables."""
    languages = (
        "ka ki ro shi ta mo",
        "ski ov na czy wro iv",
        "sen berg hol dt ger",
        "ez lo ria do",
    )
    words, y = torch.zeros(samples, length, dtype=torch.long), torch.randint(4, (samples,))
    for word, language in zip(words, y.tolist(), strict=True):
        syllables = languages[language].split()
        text = "".join(syllables[i] for i in torch.randint(len(syllables), (3,)).tolist())
        word[: len(text)] = torch.tensor([ord(c) - 96 for c in text])[:length]
    return words, y


def reviews(samples=512, length=24, words=200):
    """Texts (N, length) of word numbers; the class is whether good words outnumber bad ones."""
    tokens = torch.randint(20, words, (samples, length))
    y = torch.randint(2, (samples,))
    marked = torch.rand(samples, length) < 0.25
    opinion = torch.randint(1, 10, (samples, length)) + 10 * y[:, None]
    return torch.where(marked, opinion, tokens), y


def text(length=16, samples=1024):
    """Windows of an English text by characters, (N, length), the next ones, and their number."""
    characters = sorted(set(load("iris").DESCR + load("wine").DESCR))
    tokens = torch.tensor([characters.index(c) for c in load("iris").DESCR + load("wine").DESCR])
    windows = tokens.unfold(0, length + 1, 1)
    windows = windows[torch.randperm(len(windows))[:samples]]
    return windows[:, :-1], windows[:, 1:], len(characters)


def sets(samples=512, size=12):
    """Sets (N, size, 2) of points; the class is whether their spread is large."""
    y = torch.arange(samples) % 2
    return torch.randn(samples, size, 2) * (0.6 + 0.8 * y)[:, None, None], y
