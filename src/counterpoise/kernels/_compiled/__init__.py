"""The kernels in C, through ctypes: compiled by `hatch_build.py` when the project is installed.

They take addresses and sizes, know nothing of torch, and run with as many threads as torch does.
Where there was no compiler `LIBRARY` is None, and torch's operators do the work.
"""

import ctypes
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


def _load() -> ctypes.CDLL | None:
    """The library for this CPU; None where none was compiled, or it does not load."""
    names = (torch.backends.cpu.get_cpu_capability(), "DEFAULT")
    found = [path for name in names if (path := HERE / f"{name}.so").exists()]
    if not found:
        return None
    try:
        for openmp in Path(torch.__file__).parent.glob("lib/libgomp*"):
            ctypes.CDLL(str(openmp), ctypes.RTLD_GLOBAL)  # torch's, whose threads are shared
        return ctypes.CDLL(str(found[0]))
    except OSError:
        return None


LIBRARY = _load()


def prototype(name: str, signature: str) -> Any:
    """A function of the library: p for an address, i for an int64, d for a double, in order.

    None where there is no library, or the kernel was not compiled for this CPU.
    """
    function = getattr(LIBRARY, name, None)
    if function is None:
        return None
    kinds = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}
    function.argtypes = [kinds[letter] for letter in signature]
    function.restype = ctypes.c_int64
    return function


def addressable(x: torch.Tensor) -> bool:
    """True for a tensor whose numbers lie in this process's memory as they are."""
    own = type(x) is torch.Tensor or type(x) is torch.nn.Parameter
    return own and x.is_cpu and not x.is_neg()


def address(x: torch.Tensor | None) -> int | None:
    """Where a tensor's numbers begin."""
    return None if x is None else x.data_ptr()
