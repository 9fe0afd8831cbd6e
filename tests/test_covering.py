"""The selections hold what they promise, or faults would slip through every suite that has them."""

import itertools

import pytest
from tests.covering import every_pair, in_turn

AXES = {"a": range(7), "b": "wxyz", "c": (None, 0.5, 1), "d": (False, True)}


def test_every_two_values_meet():
    rows = every_pair(**AXES).args[1]
    for (i, first), (j, second) in itertools.combinations(enumerate(AXES.values()), 2):
        assert {(row[i], row[j]) for row in rows} == set(itertools.product(first, second))
    assert 28 <= len(rows) <= 30  # of 168; the two longest alone have 28 pairs


def test_every_value_has_its_turn():
    rows = in_turn(**AXES).args[1]
    assert [set(column) for column in zip(*rows, strict=True)] == list(map(set, AXES.values()))
    assert len(rows) == 7


@every_pair(a=[1, 2], doubled=[2, 4], indirect=["doubled"])
def test_a_fixture_may_be_among_them(a, doubled):
    assert (a, doubled) in itertools.product((1, 2), (4, 8))


@pytest.fixture
def doubled(request):
    return 2 * request.param
