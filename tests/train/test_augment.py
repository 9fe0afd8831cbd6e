"""Augmentation by torchvision's operations, and words that are joined by "+"."""

import sys

import pytest
import torch
from tests.study.test_check_data import check, made, refused
from torchvision.transforms import v2

from counterpoise.study import Plan, Training
from counterpoise.train import AUGMENTS, augmentation

ORACLES = {"trivial_augment": v2.TrivialAugmentWide, "rand_augment": v2.RandAugment}


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def images(channels=3, number=40):
    return torch.randint(256, (number, channels, 12, 9), dtype=torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("word", ORACLES)
def test_is_torchvisions_on_each_image(word, channels):
    x, oracle = images(channels), ORACLES[word]()
    found = AUGMENTS[word](x, generator())
    seeds = torch.randint(2**63 - 1, (len(x),), generator=generator()).tolist()
    with torch.random.fork_rng(devices=[]):
        for image, seed, changed in zip(x, seeds, found, strict=True):
            torch.manual_seed(seed)
            assert torch.equal(oracle(image), changed)
    assert (found.dtype, found.shape) == (torch.uint8, x.shape)
    assert (found != x).flatten(1).any(1).sum() > 20  # each image by itself, and most of them


@pytest.mark.parametrize("word", ORACLES)
def test_draws_from_its_generator_alone(word):
    x, before = images(), torch.get_rng_state()
    first, same, other = (AUGMENTS[word](x, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_joined_words_are_applied_in_turn():
    x, draws = images(), generator()
    wanted = x
    for word in ("crop", "rand_augment", "flip"):
        wanted = AUGMENTS[word](wanted, draws)
    assert torch.equal(augmentation("crop+rand_augment+flip")(x, generator()), wanted)
    both = augmentation("flip+crop")
    assert both is AUGMENTS["flip+crop"]
    assert augmentation("none") is None
    assert augmentation(both) is both


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (
            "flip+trivial",
            "one of flip, crop, trivial_augment, .* got 'trivial'; did you mean 'triv",
        ),
        ("flip+none", "got 'none'"),
        ("flip+", "got ''"),
        ("trivial", "did you mean 'trivial_augment'"),
    ],
)
def test_unknown_words_are_answered_with_the_nearest(word, says):
    with pytest.raises(ValueError, match=says):
        augmentation(word)
    with pytest.raises(ValueError, match=says):
        Plan("digits", training=Training(augment=word))


@pytest.mark.parametrize("word", ["trivial_augment", "flip+rand_augment"])
def test_a_plan_takes_them_for_images_of_bytes_alone(tmp_path, word, monkeypatch):
    plan = Plan(norms=("none",), training=Training(model="mlp", augment=word))
    bytes_, floats, many = images(1, 12), torch.zeros(12, 1, 8, 8), images(4, 12)
    check(plan, made(x=bytes_, test_x=bytes_))
    refused(
        tmp_path, r"1 or 3 channels, but got .* in torch.float32", made(floats, test_x=floats), plan
    )
    refused(tmp_path, r"but got \(2, 4, 12, 9\) in torch.uint8", made(many, test_x=many), plan)
    for missing in [name for name in sys.modules if name.startswith("torchvision")]:
        monkeypatch.delitem(sys.modules, missing)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    says = r'need torchvision, but: .*; pip install "counterpoise\[vision\]"'
    refused(tmp_path, says, made(x=bytes_, test_x=bytes_), plan)
