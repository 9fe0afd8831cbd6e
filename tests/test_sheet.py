"""The sheet's own cells, their blanks filled by `counterpoise.exercise`."""

import runpy
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoise import data, exercise

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "sheet.py"


@pytest.fixture(scope="module")
def cells():
    text = (BENCHMARK.parent / "sheet" / "cells.py").read_text()
    return text.split("# %%\n")[1:]


def named(cells, *words):
    (cell,) = [c for c in cells if all(w in c for w in words)]
    return cell


def test_the_asserts_hold_for_any_seed(cells):
    layer_norm = named(cells, "ln_custom(x), atol")
    group_norm = named(cells, "assert torch.allclose(custom_out, torch_out)")
    failed = []
    for seed in range(200):
        torch.manual_seed(seed)
        scope = dict(vars(exercise)) | {"torch": torch, "nn": nn, "print": lambda *_: None}
        try:
            exec(layer_norm, scope)
            exec(group_norm, scope)
        except AssertionError:
            failed.append(seed)
    assert failed == []


def test_a_missing_class_fails_the_sheets_assert_with_a_reason():
    with pytest.raises(ValueError, match=r"class 1"):
        exercise.create_imbalanced_dataset(
            torch.zeros(3, 1, 28, 28), torch.tensor([0, 0, 1]), {0: 2, 1: 2}
        )


def test_all_cells_run_in_order(cells, monkeypatch):
    """Constants made smaller, nothing else changed; torchvision is played by our own loader."""
    bench = runpy.run_path(str(BENCHMARK))
    found = data.fashion_mnist(download=False)
    train, test = (
        types.SimpleNamespace(
            data=p.inputs[:n, 0], targets=p.targets[:n], classes=list(found.class_names)
        )
        for p, n in ((found.train, 640), (found.test, 320))
    )
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    bench["fake_torchvision"](train, test)
    scope = {}
    for cell in cells:
        small = cell.replace("(k+1)*600", "k+1").replace("(k+1)*100", "k+1")
        small = small.replace("num_epochs = 3", "num_epochs = 1").replace("= 10\n", "= 1\n")
        exec(small, scope)
        if "your code here" in small:
            exec("from counterpoise.exercise import *", scope)
    assert len(scope["y_pred"]) == 55
    assert scope["alpha"].sum().item() == pytest.approx(1)


def test_the_sheets_loop_and_ours_train_alike(cells):
    """The sheet's loop and ours give the same net when they see the samples in the same order."""
    scope = {"torch": torch, "nn": nn, "np": np, "F": F, "print": lambda *_: None}
    exec(named(cells, "class DeeperCNN(nn.Module)"), scope)
    exec(named(cells, "device = torch.device"), scope)
    exec(named(cells, "def validate("), scope)
    exec(named(cells, "def train("), scope)
    x, y = torch.rand(64, 1, 28, 28), torch.randint(10, (64,))
    nets = []
    for make in (scope["DeeperCNN"], exercise.DeeperCNN):
        torch.manual_seed(3)
        nets.append(make())
    whole = {"num_epochs": 3, "lr": 0.1}
    one_batch = (x[:32], y[:32], x, y)  # a single batch: no order to differ in
    theirs, ours = (
        scope["train"](nets[0], *one_batch, **whole),
        exercise.train(nets[1], *one_batch, **whole),
    )
    assert ours[0] == pytest.approx([v.item() for v in theirs[0]], rel=1e-4)
    assert ours[1] == pytest.approx([float(v) for v in theirs[1]], abs=0.02)
    for values in ours:
        assert all(type(v) is float for v in values)
    for f, w in zip(nets[1].parameters(), nets[0].parameters(), strict=True):
        torch.testing.assert_close(f, w, rtol=1e-3, atol=1e-4)


def test_names_have_the_sheets_signatures():
    layer = exercise.LayerNormCustom((4, 5), eps=1e-3)
    assert layer.eps == 1e-3
    assert layer.gamma.shape == layer.beta.shape == (4, 5)
    group = exercise.GroupNormCustom(num_features=6, num_groups=3, eps=1e-4)
    assert (group.eps, group.num_groups) == (1e-4, 3)
    assert exercise.GroupNormCustom(6, 3).num_groups == 3
    assert group.gamma is group.weight
    for net in (exercise.DeeperCNN, exercise.DeeperCNNLayerNorm, exercise.DeeperCNNGroupNorm):
        x = torch.rand(2, 3, 28, 28)
        assert net(3, 7, 2, 6, nr_convs_per_block=1, activation=nn.GELU)(x).shape == (2, 7)


def test_focal_loss_averages_over_the_batch_wherever_alpha_is():
    scores, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    alpha = [0.2, 0.3, 0.5]
    found = exercise.FocalLoss(alpha=alpha, gamma=2)(scores, target)
    p = scores.softmax(1)[torch.arange(6), target]
    wanted = (-torch.tensor(alpha)[target] * (1 - p) ** 2 * p.log()).mean()
    torch.testing.assert_close(found, wanted)
    # "meta" stands for another device: alpha on the CPU, scores elsewhere
    elsewhere = exercise.FocalLoss(torch.tensor(alpha), 2)(scores.to("meta"), target)
    assert elsewhere.device.type == "meta"


def test_plot_confusion_matrix_takes_what_the_sheet_gives():
    axes = exercise.plot_confusion_matrix(
        torch.tensor([0, 1, 1]), [np.int64(0), np.int64(1), np.int64(0)], ["a", "b"], title="T"
    )
    assert axes.get_title().startswith("T")
