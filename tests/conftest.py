"""What every test runs under: one torch thread, no window for figures, the same draws each time."""

import importlib.util
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib
_CACHE = tempfile.TemporaryDirectory(prefix="counterpoise-tests-")
os.environ["COUNTERPOISE_CACHE"] = _CACHE.name  # of decoded images, and of child processes
_SITE = str(Path(__file__).parent / "site")  # its sitecustomize.py lets torchvision be imported
if _SITE not in sys.path:  # as it is where this process began with that PYTHONPATH
    sys.path.insert(0, _SITE)
    sys.modules.pop("sitecustomize", None)  # the system's
    importlib.import_module("sitecustomize")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_SITE, os.environ.get("PYTHONPATH"))))

settings.register_profile("counterpoise", deadline=None, derandomize=True)
settings.load_profile("counterpoise")

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch

    torch.set_num_threads(1)  # sums in one order, and no fight with the other test process


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Give every test the same random numbers, whichever tests ran before it."""
    random.seed(0)
    if HAS_TORCH:
        torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if HAS_TORCH and torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(params=["cpu", "eager"])
def with_and_without_c(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run norms in C at any size, where it was compiled, and then by torch's kernels."""
    from counterpoise import norms

    with norms.backend(request.param):
        yield


# A digit that belongs to a word, as in macro-F1, is no number.
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")


def numbers_in(text: str) -> set[float]:
    return {float(token.replace(",", "").rstrip(",")) for token in NUMBER.findall(text)}


def assert_backed(found: list[Any]) -> None:
    for finding in found:
        known = set().union(*(numbers_in(str(value)) for value in finding.evidence.values()), set())
        assert numbers_in(finding.text) <= known, finding
        assert "{" not in finding.text
        json.dumps(finding.to_dict())


@pytest.fixture(scope="session")
def numbers() -> Callable[[str], set[float]]:
    """Return the numbers in a text."""
    return numbers_in


@pytest.fixture(scope="session")
def backed() -> Callable[[list[Any]], None]:
    """Assert that every number of a finding's text is in its evidence, strings of it included."""
    return assert_backed
