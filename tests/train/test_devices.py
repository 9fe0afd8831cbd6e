"""One training in several processes against the same in one."""

import pytest
import torch
from tests.train.trainings import TRAININGS, in_processes, mlp, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone():
    return {name: run(name) for name in TRAININGS}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return in_processes(2, TRAININGS, tmp_path_factory.mktemp("two"))


def assert_same(found, expected):
    for row, other in zip(found["rows"], expected["rows"], strict=True):
        assert row.keys() == other.keys()
        known = [k for k in row if k != "seconds" and row[k] is not None]
        assert [row[k] for k in known] == pytest.approx([other[k] for k in known], rel=2e-4)
    torch.testing.assert_close(found["net"], expected["net"], rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(found["logits"], expected["logits"], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "random"])
def test_two_processes_train_as_one(name, alone, two):
    for found in two:
        assert_same(found[name], alone[name])
    first, other = two
    assert len(first[name]["states"]) == len(first[name]["rows"])
    assert other[name]["states"] == []  # it writes nothing
    torch.testing.assert_close(first[name]["logits"], other[name]["logits"], rtol=0, atol=0)


def test_three_processes_with_a_last_batch_of_two(alone, tmp_path):
    names = ["focal", "ignored", "batch norm", "sharded"]
    for found in in_processes(3, names, tmp_path):
        for name in names:
            assert_same(found[name], alone[name])


RESUMED = ["plain", "batch norm", "sharded", "sharded adamw", "sharded, in parts"]


@pytest.mark.parametrize("name", RESUMED)
def test_one_process_resumes_what_two_began(name, alone, two):
    assert_same(run(name, two[0][name]["states"][1]), alone[name])
    plain = (TRAININGS[name].get("net") or mlp)()
    plain.load_state_dict(two[0][name]["net"])  # without a word about shards


def test_two_processes_resume_what_one_began_and_what_two_began(alone, two, tmp_path):
    """The latter with the same dropout and augmentation, which differ between processes."""
    states = {name: alone[name]["states"][1] for name in RESUMED}
    states["random"] = two[0]["random"]["states"][1]
    for found in in_processes(2, states, tmp_path, states):
        for name in RESUMED:
            assert_same(found[name], alone[name])
        assert_same(found["random"], two[0]["random"])
        assert found["random"]["rows"][1]["loss"] != alone["random"]["rows"][1]["loss"]


def test_nothing_is_shared_or_wrapped_twice(two):
    for found in two:
        sampler, net = found["refusals"]
        assert sampler.endswith("make it with num_replicas=1, rank=0")
        assert net.endswith("give net.module")
