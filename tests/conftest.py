"""What every test runs under: one torch thread, no window for figures, the same draws each time."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib

settings.register_profile("counterpoise", deadline=None, derandomize=True)
settings.load_profile("counterpoise")

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch

    torch.set_num_threads(1)  # sums in one order, and no fight with the other test process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if HAS_TORCH and torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(params=["as usual", "native"])
def with_and_without_c(request: pytest.FixtureRequest) -> Iterator[None]:
    """Norms take their usual way, in C where there is such, and then that of torch's kernels."""
    from counterpoise import norms

    with norms.backend("native") if request.param == "native" else contextlib.nullcontext():
        yield
