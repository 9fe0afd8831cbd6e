"""Nets and losses of the user's own."""

import re
import sys

import pytest
from tests.study.small import prepared

from counterpoise.study import (
    Plan,
    Training,
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("nn.Linear(shape[0], 2)", "here (2, 10) for 2 samples, but this one returns (2, 2)"),
        ("nn.Linear(shape[0], 12)", "this one returns (2, 12); the data have 10 classes"),
        ("nn.LSTM(shape[0], 10)", "this one returns a tuple"),
        ("5", "my_net:net must make a torch.nn.Module, but made a int"),
    ],
)
def test_a_net_that_returns_no_logits_of_the_classes_is_told(tmp_path, monkeypatch, body, said):
    from counterpoise.study import one_run

    (tmp_path / "flat.py").write_text(
        "from counterpoise.data import Splits, Split, digits\n"
        "def data():\n"
        "    d = digits()\n"
        "    splits = [Split(p.inputs.flatten(1).float(), p.targets) for p in (d.train, d.test)]\n"
        "    return Splits('flat', *splits, d.class_names, 'made')\n"
    )
    (tmp_path / "my_net.py").write_text(
        f"from torch import nn\ndef net(norm, shape, classes):\n    return {body}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Plan("flat:data", seeds=(0,), training=Training("my_net:net", epochs=1, lr=0.1))
    (tmp_path / "study").mkdir()
    work = prepared(made, tmp_path / "study")
    with pytest.raises(ValueError, match=re.escape(said)):
        one_run.train_run(work.job(work.names("final")[0]), lambda event: None)


def test_a_net_of_float32_and_a_loss_that_is_a_function_are_trained(tmp_path, monkeypatch):
    """The look at the first step is in float64 only where the net can be."""
    from counterpoise.study import one_run

    (tmp_path / "narrow.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Narrow(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.last = nn.Linear(64, 10)\n"
        "    def forward(self, x):\n"
        "        return self.last(x.flatten(1)) @ torch.eye(10)\n"
        "def net(norm, shape, classes):\n"
        "    return Narrow()\n"
        "def loss(counts):\n"
        "    return nn.functional.cross_entropy\n"
        "def vector(counts):\n"
        "    return nn.CrossEntropyLoss(reduction='none')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    training = Training("narrow:net", epochs=1, lr=0.1)
    made = Plan("digits", losses=("narrow:loss", "narrow:vector"), seeds=(0,), training=training)
    (tmp_path / "study").mkdir()
    work = prepared(made, tmp_path / "study")
    fine, vector = work.names("final")
    one_run.train_run(work.job(fine), lambda event: None)
    with pytest.raises(RuntimeError, match="scalar"):
        one_run.train_run(work.job(vector), lambda event: None)
