"""Groups of samples, of which none is in two splits."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from counterpoise.data import (
    Split,
    Splits,
    check_apart,
    count_classes,
    fingerprint,
    groups_of,
    load,
    split_validation,
)
from counterpoise.data._hold_out import as_splits


@st.composite
def grouped(draw, largest=8):
    """Samples whose groups are of any size, most of them of one class."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes, groups = draw(st.integers(1, 5)), draw(st.integers(2, 60))
    sizes = rng.integers(1, largest + 1, groups)
    own = np.repeat(rng.integers(0, classes, groups), sizes)
    mixed = rng.random(sizes.sum()) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    targets = np.where(mixed, rng.integers(0, classes, sizes.sum()), own)
    places = torch.arange(len(targets), dtype=torch.float32)[:, None]
    numbers = np.repeat(rng.permutation(groups) * 7, sizes)
    return Split(places, torch.from_numpy(targets), groups=torch.from_numpy(numbers))


def halves(split, share, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes in a single group
        return split_validation(split, share, seed)


def can_be_spared(split):
    """Whether there is a group without which every class still has samples."""
    return any(
        set(split.targets[split.groups != g].tolist()) == set(split.targets.tolist())
        for g in split.groups.unique()
    )


@given(grouped().filter(can_be_spared), st.sampled_from([0.05, 0.1, 0.2, 0.4]), st.integers(0, 99))
def test_no_group_is_on_both_sides_and_every_class_is_learned(split, share, seed):
    rest, held = halves(split, share, seed)
    assert not set(rest.groups.tolist()) & set(held.groups.tolist())
    places = torch.cat([rest.inputs, held.inputs]).flatten().tolist()
    assert sorted(places) == list(range(len(split)))
    assert set(rest.targets.tolist()) == set(split.targets.tolist())
    assert len(held)


@given(grouped(largest=3).filter(lambda s: len(s.groups.unique()) > 40), st.integers(0, 99))
@pytest.mark.slow
def test_with_many_small_groups_every_class_is_held_out_in_about_its_share(split, seed):
    _, held = halves(split, 0.2, seed)
    wanted = 0.2 * count_classes(split.targets)
    assert abs(len(held) - wanted.sum()) <= 0.1 * len(split)
    members = (split.groups[split.targets == k] for k in range(len(wanted)))
    shared = torch.tensor([len(groups.unique()) for groups in members])
    found = count_classes(held.targets, len(wanted))
    assert (found[shared >= 5] > 0).all()


def test_of_many_groups_each_class_is_held_out_in_its_share():
    """Of more groups than StratifiedGroupKFold can deal in a second."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 8_000, 20_000)
    targets = torch.from_numpy(np.searchsorted([0.6, 0.9, 0.98], rng.random(8_000))[groups])
    split = Split(torch.zeros(20_000, 1), targets, groups=torch.from_numpy(groups))
    _, held = split_validation(split, 0.2, 0)
    share = count_classes(held.targets) / count_classes(split.targets)
    assert ((share > 0.17) & (share < 0.23)).all()


def test_the_seed_decides_and_other_seeds_decide_otherwise():
    rng = np.random.default_rng(1)
    numbers = torch.from_numpy(np.repeat(np.arange(30), rng.integers(1, 20, 30)))
    targets = numbers % 3
    split = Split(torch.zeros(len(numbers), 1), targets, groups=numbers)
    draws = [tuple(split_validation(split, 0.2, s)[1].groups.tolist()) for s in (0, 0, *range(9))]
    assert draws[0] == draws[1]
    assert len(set(draws)) >= 8


def test_a_class_in_a_single_group_is_learned_and_said_not_to_be_held_out():
    split = Split(torch.zeros(60, 1), torch.arange(60) // 50, groups=torch.arange(60).clamp(max=50))
    with pytest.warns(UserWarning, match="held-out split has nothing of class 1"):
        rest, held = split_validation(split, 0.2, 0)
    assert (count_classes(rest.targets)[1], count_classes(held.targets, 2)[1]) == (10, 0)
    with pytest.warns(UserWarning, match="test split of here holds nothing of 'dog', whose"):
        as_splits("toy", "here", split, None, ("cat", "dog"), 0)
    one = Split(torch.zeros(6, 1), torch.arange(6) // 3, groups=torch.arange(6) // 3)
    with pytest.raises(ValueError, match=r"groups of here must leave every class .* its 2 groups"):
        as_splits("toy", "here", one, None, ("cat", "dog"), 0)


def test_a_held_out_test_split_shares_no_group_and_the_note_says_by_what():
    groups = torch.arange(100) // 4
    whole = Split(torch.zeros(100, 1), torch.arange(100) // 4 % 2, groups=groups)
    data = as_splits("toy", "here", whole, None, ("cat", "dog"), 0, group="column person")
    assert not set(data.train.groups.tolist()) & set(data.test.groups.tolist())
    assert data.held_out
    assert data.notes == ("25 groups by column person; no group is in two splits",)


def test_a_given_test_split_that_shares_groups_is_refused_with_three_names():
    names = tuple(f"{k}.png" for k in range(20))
    whole = Split(torch.zeros(20, 1), torch.arange(20) % 2, names, torch.arange(20) // 2)
    train, test = whole.take(torch.arange(0, 20, 2)), whole.take(torch.arange(1, 20, 2))
    said = r"that of 0.png and 1.png, that of 2.png and 3.png, .* and 7 more are in train and test"
    with pytest.raises(ValueError, match=said):
        check_apart(Splits("toy", train, test, ("cat", "dog"), "here"))


def test_groups_decide_what_a_run_is_trained_on_and_so_are_in_the_fingerprint():
    plain = Split(torch.zeros(4, 1), torch.tensor([0, 1, 0, 1]))
    grouped = Split(plain.inputs, plain.targets, groups=torch.tensor([0, 1, 1, 0]))
    marks = [fingerprint(Splits("toy", s, plain, ("a", "b"), "here")) for s in (plain, grouped)]
    assert marks[0] != marks[1]


def test_a_pattern_finds_the_groups_of_files():
    names = ["train/cat/p01_1.png", "train/dog/p02_1.png", "test/cat/p01_7.png"]
    assert groups_of(names, r"/(p\d+)_").tolist() == [0, 1, 0]
    assert groups_of(names, r"cat|dog").tolist() == [0, 1, 0]
    many = [*names, *(f"cat/{k}.png" for k in range(2_000))]
    with pytest.raises(ValueError, match=r"cat/0.png, cat/1.png, cat/2.png and 1,997 more; mend"):
        groups_of(many, r"/(p\d+)_")
    with pytest.raises(ValueError, match=r"regular expression.*'\(p' is none"):
        groups_of(names, "(p")
    with pytest.raises(ValueError, match=r"does not match b.png"):
        groups_of(["ab.png", "b.png"], "(a)?b")


@pytest.mark.slow
def test_a_pattern_of_file_names_keeps_the_images_of_a_person_in_one_split(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / kind).mkdir()
        for k in range(30):
            pixels = rng.integers(0, 256, (12, 12), np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"p{k // 3}_{kind}_{k}.png")
    data = load(tmp_path, group=r"/(p[0-9]+)_")
    assert data.notes[-1].startswith("10 groups by the pattern")
    persons = [
        {name.split("/")[1].split("_")[0] for name in s.names} for s in (data.train, data.test)
    ]
    assert not persons[0] & persons[1]
    assert len(persons[1]) == 2
    with pytest.raises(ValueError, match=r"'cat_1_' does not match"):
        load(tmp_path, group="cat_1_")
