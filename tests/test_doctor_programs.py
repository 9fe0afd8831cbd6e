"""The programs on which the doctor is judged, and how the judging counts."""

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss
from torch import nn

from counterpoise.probe.nested import call, count_samples

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    import doctor_programs as judging
    from doctor_corpus import PROGRAMS

BROKEN = {"NaN", "inputs: NaN"}  # planted causes that show in the first loss


def test_every_program_takes_a_batch_and_is_finite_unless_that_is_its_fault():
    bad = {}
    for name, entry in PROGRAMS.items():
        program = entry.build(0)
        samples = count_samples(program.inputs, program.batch_dim)
        index = torch.arange(min(program.batch_size, samples))
        given = program.inputs, program.targets
        x, y = judging.take(given, index, program.batch_dim, samples)
        assert count_samples(x, program.batch_dim) == len(index)
        output = call(program.net, x)
        losses = program.loss(output, y), (program.meant or program.loss)(output, y)
        assert [loss.shape for loss in losses] == [(), ()], name
        if entry.cause not in BROKEN and not all(loss.isfinite() for loss in losses):
            bad[name] = losses
    assert bad == {}
    assert len(PROGRAMS) >= 120


def test_a_source_is_in_one_half_and_sound_and_faulty_programs_are_in_both():
    halves = defaultdict(set)
    for entry in PROGRAMS.values():
        halves[entry.source].add(entry.half)
    assert {len(found) for found in halves.values()} == {1}
    kinds = {(entry.half, entry.cause is None) for entry in PROGRAMS.values()}
    assert len(kinds) == 4


def test_the_same_seed_builds_the_same_program():
    for name in ("tables/deep_sets", "language/min_gpt"):
        one, two, other = (PROGRAMS[name].build(seed) for seed in (0, 0, 1))
        torch.testing.assert_close(one.net.state_dict(), two.net.state_dict(), rtol=0, atol=0)
        assert torch.equal(one.inputs, two.inputs)
        assert not torch.equal(one.inputs, other.inputs)


def test_the_constant_loss_is_that_of_the_class_frequencies_and_of_the_mean():
    y = torch.tensor([0, 0, 0, 1, 2, 2, 1, 0])
    found = judging.constant_loss(nn.CrossEntropyLoss(), torch.randn(8, 3), y, 0, 8)
    frequencies = np.tile(np.bincount(y) / 8, (8, 1))
    assert found == pytest.approx(log_loss(y, frequencies), rel=1e-6)
    z = torch.randn(8, 2)
    assert judging.constant_loss(nn.MSELoss(), torch.randn(8, 2), z, 0, 8) == pytest.approx(
        z.double().var(0, unbiased=False).mean().item(), rel=1e-6
    )


def test_the_constant_loss_of_probabilities_is_found_where_the_net_is_stuck_at_one():
    entry = PROGRAMS["faults/softmax_of_one_unit"].build(0)
    found = judging.constant_loss(entry.loss, torch.ones(512, 1), entry.targets, 0, 512)
    assert found == pytest.approx(math.log(2), rel=1e-6)


def test_the_balanced_accuracy_is_scikit_learns():
    rng = np.random.default_rng(0)
    learns, right = rng.random(60) < 0.4, rng.random(60) < 0.8
    rows = [
        {"source": str(i % 12), "learns": bool(a), "right": bool(b)}
        for i, (a, b) in enumerate(zip(learns, right, strict=True))
    ]
    accuracy, low, high = judging.balanced(rows)
    assert accuracy == pytest.approx(balanced_accuracy_score(learns, learns == right))
    assert low < accuracy < high
