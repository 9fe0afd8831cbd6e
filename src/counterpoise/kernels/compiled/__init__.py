"""The kernels in C, through ctypes: compiled by `hatch_build.py` when the project is installed.

They take addresses and sizes, know nothing of torch, and run with as many threads as torch does.
Where no library is there, or none loads, `LIBRARY` is None, and torch's operators do the work.
"""

import ctypes
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
_BEST_FIRST = ("AVX512", "AVX2", "DEFAULT")  # instruction sets, each with all of the next


def _load() -> tuple[ctypes.CDLL | None, str, str]:
    """Load the best library for this CPU of those that are there and load.

    Returns:
        The library, its instruction set, and why it is this one; without one None, "" and why.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    first = _BEST_FIRST.index(capability) if capability in _BEST_FIRST else -1
    failed: list[str] = []
    for name in _BEST_FIRST[first:]:
        path = HERE / f"{name}.so"
        if not path.exists():
            continue
        try:
            for openmp in Path(torch.__file__).parent.glob("lib/libgomp*"):
                ctypes.CDLL(str(openmp), ctypes.RTLD_GLOBAL)  # torch's, whose threads are shared
            library = ctypes.CDLL(str(path))
        except OSError as error:
            failed.append(f"{path.name} does not load: {error}")
        else:
            return library, name, "; ".join([*failed, f"{path} is the best for {capability}"])
    others = ", ".join(sorted(path.name for path in HERE.glob("*.so")))
    missing = f"none was compiled for {capability}" + (f", only {others}" if others else "")
    return None, "", "; ".join(failed) or missing


LIBRARY, INSTRUCTIONS, REASON = _load()
FOUND: dict[str, bool] = {}  # whether the library has it, by the name of each kernel looked up


def prototype(name: str, signature: str) -> Any:
    """A function of the library: p for an address, i for an int64, d for a double, in order.

    None where there is no library, or the kernel was not compiled for this CPU.
    """
    function = getattr(LIBRARY, name, None)
    FOUND[name] = function is not None
    if function is None:
        return None
    kinds = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}
    function.argtypes = [kinds[letter] for letter in signature]
    function.restype = ctypes.c_int64
    return function


def address(x: torch.Tensor | None) -> int | None:
    """Return the address of a tensor's first number."""
    return None if x is None else x.data_ptr()
