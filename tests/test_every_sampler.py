"""One suite for every sampler, and what only some of them promise."""

import os
import pickle
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tests.covering import every_pair, in_turn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    Subset,
    TensorDataset,
)

from counterpoise import data, losses, samplers

SRC = Path(__file__).resolve().parents[1] / "src"
COUNTS = [700, 0, 250, 40, 10]  # of class 1 there is none
TARGETS = torch.repeat_interleave(torch.arange(5), torch.tensor(COUNTS))[
    torch.randperm(1000, generator=torch.Generator().manual_seed(1))
]
SHARES = {
    "shuffle": lambda n, t: n / n.sum(),
    "balanced": lambda n, t: (n > 0) / (n > 0).sum(),
    "square_root": lambda n, t: np.sqrt(n) / np.sqrt(n).sum(),
    "progressive": lambda n, t: (1 - t) * n / n.sum() + t * (n > 0) / (n > 0).sum(),
}
EPOCHS = 10


def made(word, targets=TARGETS, **settings):
    return samplers.ALL[word](targets, epochs=EPOCHS, **settings)


@pytest.fixture(params=samplers.ALL)
def word(request):
    return request.param


def test_every_sampler_is_checked_here():
    assert set(SHARES) == set(samplers.ALL)


@pytest.mark.parametrize(
    ("word", "epoch"),
    [*((word, 3) for word in samplers.ALL), *(("progressive", epoch) for epoch in (0, 10, 500))],
)
def test_draws_the_classes_as_often_as_it_says(word, epoch):
    sampler = made(word, num_samples=20_000, seed=5)
    sampler.set_epoch(epoch)
    seen = sampler.seen_counts()
    wanted = SHARES[word](np.array(COUNTS), min(1, epoch / EPOCHS))
    np.testing.assert_allclose(seen.numpy(), 20_000 * wanted, rtol=1e-12)
    assert seen.dtype == torch.float64
    drawn = np.bincount(TARGETS[list(sampler)], minlength=5)
    assert drawn[1] == 0
    occurs = wanted > 0
    assert chisquare(drawn[occurs], 20_000 * wanted[occurs]).pvalue > 0.001


def test_draws_the_classes_independently_of_what_came_before(word):
    sampler = made(word, num_samples=20_000)
    classes = TARGETS[list(sampler)].numpy()
    p = sampler.seen_counts().numpy() / 20_000
    pairs = np.bincount(5 * classes[:-1:2] + classes[1::2], minlength=25)
    wanted = 10_000 * np.outer(p, p).flatten()
    many = wanted > 5  # where a chi-square is one
    assert chisquare(pairs[many], wanted[many] * pairs[many].sum() / wanted[many].sum()).pvalue > (
        0.001
    )


def test_samples_of_a_class_are_used_evenly(word):
    sampler = made(word, num_samples=12_345)
    used = np.bincount(list(sampler), minlength=1000)
    classes = TARGETS.numpy()
    for k in (0, 2, 3, 4):
        of_class = used[classes == k]
        assert of_class.max() - of_class.min() <= 1, k


def test_same_seed_and_epoch_same_order(word):
    sampler, again = made(word, seed=3), made(word, seed=3)
    first = list(sampler)
    assert list(sampler) == first == list(again)
    orders = {}
    for seed in (0, 1, 2**40):
        for epoch in (0, 1, 2):
            sampler = made(word, seed=seed)
            sampler.set_epoch(epoch)
            orders[seed, epoch] = tuple(sampler)
    assert len(set(orders.values())) == 9  # also seed 0, epoch 1 against seed 1, epoch 0
    sampler.set_epoch(0)
    assert tuple(sampler) == orders[2**40, 0]


def test_leaves_the_global_state_of_chance_and_the_targets_alone(word):
    state, targets = torch.get_rng_state(), TARGETS.clone()
    list(made(word))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(TARGETS, targets)


@every_pair(word=samplers.ALL, num_samples=[None, 1, 7, 1000, 1001], replicas=[1, 2, 3, 8])
def test_processes_share_the_order_as_torchs_distributed_sampler_would(word, num_samples, replicas):
    whole = made(word, num_samples=num_samples, seed=4)
    whole.set_epoch(2)
    order = list(whole)
    assert len(order) == len(whole) == (num_samples or 1000)
    for rank in range(replicas):
        sampler = made(word, num_samples=num_samples, seed=4, num_replicas=replicas, rank=rank)
        sampler.set_epoch(2)
        places = DistributedSampler(order, replicas, rank, shuffle=False)
        mine = list(sampler)
        assert mine == [order[place] for place in places]
        assert len(mine) == len(sampler) == len(places)
        assert torch.equal(sampler.seen_counts(), whole.seen_counts())


def test_a_place_given_goes_before_torchs(word, monkeypatch):
    # As where a framework shares the samples among the processes.
    whole = list(made(word, seed=4))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 8)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    assert len(made(word)) == 125
    assert list(made(word, seed=4, num_replicas=1, rank=0)) == whole


RANKED = """
import sys
import torch.distributed as dist
from counterpoise import samplers
rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
for word, make in samplers.ALL.items():
    sampler = make([0] * 50 + [1] * 7, epochs=4, seed=1)
    sampler.set_epoch(2)
    mine, everyones = list(sampler), [None, None]
    dist.all_gather_object(everyones, mine)
    assert everyones[rank] == mine
    if rank == 0:
        print(word, *(place for pair in zip(*everyones) for place in pair))
dist.destroy_process_group()
"""


def test_a_framework_that_shares_the_samples_is_handed_all_of_them(word):
    """Accelerate's and Lightning's own wrappers, as two processes would use them."""
    from accelerate.data_loader import BatchSamplerShard
    from lightning.fabric.utilities.distributed import DistributedSamplerWrapper

    def sampler():
        return made(word, seed=0, num_replicas=1, rank=0)

    wanted, lightning, accelerate = sorted(sampler()), [], []
    for rank in (0, 1):
        lightning += DistributedSamplerWrapper(sampler(), num_replicas=2, rank=rank)
        for batch in BatchSamplerShard(BatchSampler(sampler(), 10, drop_last=False), 2, rank):
            accelerate += batch
    assert sorted(lightning) == sorted(accelerate) == wanted


def test_two_processes_find_their_places_themselves(tmp_path):
    path = os.pathsep.join(filter(None, [str(SRC), os.environ.get("PYTHONPATH")]))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANKED, str(rank), str(tmp_path / "meet")],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said
    found = {line.split()[0]: line.split()[1:] for line in said[0][0].splitlines()}
    assert set(found) == set(samplers.ALL)
    for word, places in found.items():
        alone = samplers.ALL[word]([0] * 50 + [1] * 7, epochs=4, seed=1)
        alone.set_epoch(2)
        order = list(alone)
        assert list(map(int, places)) == [*order, order[0]]  # 57 are shared as 29 and 29


@in_turn(word=samplers.ALL, workers=[0, 1])
def test_feeds_a_data_loader(word, workers):
    sampler = made(word)
    loader = DataLoader(
        TensorDataset(torch.arange(1000), TARGETS), 64, sampler=sampler, num_workers=workers
    )
    for epoch in range(2):
        sampler.set_epoch(epoch)
        places, targets = (torch.cat(parts) for parts in zip(*loader, strict=True))
        assert places.tolist() == list(sampler)
        assert torch.equal(targets, TARGETS[places])


def test_takes_labels_in_every_form(word):
    wanted = list(made(word))
    part = data.Split(torch.zeros(1000, 1), TARGETS)
    more = data.Split(torch.zeros(1003, 1), torch.cat([TARGETS[:3], TARGETS]))
    subset = Subset(more, range(3, 1003))
    pairs = TensorDataset(torch.arange(1000), TARGETS)
    joined = ConcatDataset([Subset(pairs, range(400)), Subset(pairs, range(400, 1000))])
    arrays = (TARGETS.tolist(), TARGETS.numpy(), TARGETS.to(torch.uint8))
    for targets in (*arrays, part, subset, pairs, joined):
        assert list(made(word, targets)) == wanted


def test_one_class_and_one_sample(word):
    sampler = made(word, [0], num_samples=3)
    assert list(sampler) == [0, 0, 0]
    assert sampler.seen_counts().tolist() == [3]


def test_classes_that_are_empty_at_the_end_are_counted_on_demand(word):
    sampler = made(word, num_classes=8)
    assert sampler.seen_counts().shape == (8,)
    assert torch.equal(sampler.seen_counts()[:5], made(word).seen_counts())
    assert list(sampler) == list(made(word))


def test_is_pickled_with_its_epoch(word):
    sampler = made(word)
    sampler.set_epoch(7)
    again = pickle.loads(pickle.dumps(sampler))
    assert list(again) == list(sampler)


@pytest.mark.parametrize("word", ["shuffle", "balanced"])
def test_takes_more_samples_than_torchs_multinomial(word):
    targets = torch.zeros(2**24 + 50, dtype=torch.uint8)
    targets[-25:] = 1
    with pytest.raises(RuntimeError, match=r"2\^24"):  # so WeightedRandomSampler cannot
        torch.multinomial(torch.ones(1).expand(len(targets)), 3)
    sampler = samplers.ALL[word](targets, epochs=2, num_samples=1000)
    sampler.set_epoch(1)
    places = torch.tensor(list(sampler))
    assert len(places) == 1000
    rare = float((targets[places] == 1).sum())
    wanted = float(sampler.seen_counts()[1])
    assert abs(rare - wanted) < 5 * max(1, wanted) ** 0.5
    assert len(places[places < 2**24 + 25].unique()) == 1000 - rare


BALANCING = ["weighted", "class_balanced", "balanced_softmax", "logit_adjusted", "cdt", "vs"]


@pytest.mark.parametrize("loss", BALANCING)
def test_behind_a_balanced_sampler_no_loss_balances_again(loss):
    targets = TARGETS[TARGETS != 1]
    targets = targets - (targets > 1).long()
    counts = samplers.BalancedSampler(targets).seen_counts()
    logits = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    target = torch.arange(40) % 4
    found = losses.ALL[loss](counts)(logits, target)
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(logits, target))
    again = losses.ALL[loss](losses.count_classes(targets))(logits, target)
    assert abs(float(again - found)) > 1e-3  # the data's counts would have balanced again


def test_shuffle_shows_every_sample_once():
    sampler = samplers.ShuffleSampler(TARGETS)
    assert sorted(sampler) == list(range(1000))
    assert torch.equal(sampler.seen_counts(), torch.tensor(COUNTS).double())
    first = list(islice(samplers.ShuffleSampler(TARGETS, num_samples=2500), 1000))
    assert sorted(first) == list(range(1000))


def test_progressive_tells_the_counts_of_every_epoch():
    sampler = samplers.ProgressiveSampler(TARGETS, epochs=10)
    sampler.set_epoch(4)
    assert torch.equal(sampler.seen_counts(), sampler.seen_counts(4))
    assert torch.equal(sampler.seen_counts(0), torch.tensor(COUNTS).double())
    assert torch.equal(sampler.seen_counts(10), samplers.BalancedSampler(TARGETS).seen_counts())
    assert torch.equal(sampler.seen_counts(10**9), sampler.seen_counts(10))


BALANCED = samplers.BalancedSampler


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: BALANCED([]), ValueError, "at least one"),
        (lambda: BALANCED([[0, 1]]), ValueError, r"shape \(1, 2\)"),
        (lambda: BALANCED([0, -1]), ValueError, "hold -1"),
        (lambda: BALANCED([0.5]), TypeError, "float64"),
        (lambda: BALANCED([0, 3], num_classes=3), ValueError, "num_classes=3, but hold 3"),
        (lambda: BALANCED([0], 0), ValueError, "num_samples must be 1 or more"),
        (lambda: BALANCED([0], 2.5), TypeError, "num_samples must be an integer"),
        (lambda: BALANCED([0], seed=-1), ValueError, "seed"),
        (lambda: BALANCED([0], num_replicas=2), ValueError, "needs a rank"),
        (lambda: BALANCED([0], num_replicas=2, rank=2), ValueError, "below num_replicas=2"),
        (lambda: BALANCED([0], num_replicas=0, rank=0), ValueError, "num_replicas must be 1 or"),
        (lambda: BALANCED([0]).set_epoch(-1), ValueError, "epoch must be 0 or more"),
        (lambda: BALANCED([0]).seen_counts(1.5), TypeError, "epoch must be an integer"),
        (lambda: samplers.ALL["progressive"]([0]), TypeError, "epochs must be an integer"),
        (lambda: samplers.ProgressiveSampler([0], epochs=0), ValueError, "epochs must be 1 or"),
    ],
)
def test_bad_input_is_explained(call, error, says):
    with pytest.raises(error, match=says):
        call()


@in_turn(
    word=samplers.ALL,
    refusal=[
        (np.array([2**63, 0], np.uint64), "but hold 922337"),
        (torch.tensor([2**63, 0], dtype=torch.uint64), ""),
        ([10**12, 0], "but hold 1000000000000; renumber"),
    ],
)
def test_refuses_classes_that_cannot_be_counted(word, refusal):
    """A count of 10^12 classes would take 8 TB; int64 makes 2^63 negative."""
    targets, says = refusal
    with pytest.raises(ValueError, match=f"class numbers below 10000000, {says}"):
        made(word, targets)


def test_refuses_a_huge_class_before_it_counts(word):
    with pytest.raises(ValueError, match="below num_classes=2, but hold 1000000000000"):
        made(word, [10**12, 0], num_classes=2)


@in_turn(
    word=samplers.ALL,
    targets=[[0.0, float("nan")], [0, 2**64], [True, False], [None, 0], ["0", "1"]],
)
def test_refuses_what_are_no_class_numbers(word, targets):
    with pytest.raises(TypeError, match="targets must be integer class numbers"):
        made(word, targets)


@pytest.mark.parametrize("word", samplers.ALL)
def test_the_repr_says_what_is_drawn_from_and_how(word):
    sampler = samplers.ALL[word]([0, 0, 1, 2, 2], epochs=4, seed=7)
    sampler.set_epoch(3)
    assert repr(sampler) == f"{type(sampler).__name__}(3 classes, 5 samples, seed=7, epoch=3)"
    shared = samplers.ALL[word]([0, 1], epochs=4, num_replicas=4, rank=2)
    assert repr(shared).endswith("(2 classes, 2 samples, seed=0, epoch=0, rank=2 of 4)")
