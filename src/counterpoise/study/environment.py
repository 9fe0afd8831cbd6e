"""Versions and machine: the environment in a run's record."""

import os
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import counterpoise

_CLASSICAL = ("scikit-learn", "imbalanced-learn")


def environment() -> dict[str, str | int | None]:
    """Return the versions and the machine, for people."""
    packages = ("torch", "numpy", "scipy", *_CLASSICAL)
    return {
        "counterpoise": counterpoise.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        **{name: version(name) for name in packages},
    }


@cache
def run_environment() -> dict[str, str]:
    """Return the environment that a run's bytes depend on; the same within one process.

    Returns:
        counterpoise, torch and numpy: versions; device: of the net; instruction_set: of torch's
        kernels on this processor; kernels: of ours, such as "C for AVX2", or "torch operators".
    """
    import torch

    from counterpoise.kernels import compiled

    cuda = torch.cuda.is_available()
    return {
        "counterpoise": counterpoise.__version__,
        "torch": version("torch"),
        "numpy": version("numpy"),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "kernels": f"C for {compiled.INSTRUCTIONS}" if compiled.LIBRARY else "torch operators",
    }


@cache
def reference_environment() -> dict[str, str]:
    """Return what the bytes of a classical model's record depend on."""
    return {**run_environment(), **{name: version(name) for name in _CLASSICAL}}


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Say in which of its entries an environment differs from another.

    Example:
        >>> differences({"torch": "2.12.0", "kernels": "C"}, {"torch": "2.13.0", "kernels": "C"})
        ['torch 2.12.0 in place of 2.13.0']
    """
    names: Iterable[str] = dict.fromkeys([*other, *one])
    return [
        f"{name} {one.get(name)} in place of {other.get(name)}"
        for name in names
        if one.get(name) != other.get(name)
    ]


def processor() -> str:
    """Return the processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
