"""`counterpoise env`: versions, machine, and which kernels run; for bug reports."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import counterpoise
from counterpoise.cli._shown import write
from counterpoise.text import one_line

_PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib", "pillow", "safetensors", "triton")
_MISSING = "not installed"
_VARIABLES = ("ATEN_", "COUNTERPOISE_", "CUDA_", "KMP_", "MKL_", "OMP_", "PYTORCH_", "TORCH_")


def env() -> None:
    """Print versions, machine, and which kernels run and why: put it into a bug report."""
    rows = {
        "counterpoise": f"{counterpoise.__version__}, {Path(counterpoise.__file__).parent}",
        "Python": f"{sys.version}, {sys.executable}",
        **{name: _version(name) for name in ("torch", *_PACKAGES)},
        "platform": platform.platform(),
    }
    try:
        rows |= _machine()
    except (ImportError, OSError) as error:  # bug reports are of broken installs, too
        rows["broken"] = f"{type(error).__name__}: {error}"
    names = sorted(name for name in os.environ if name.startswith(_VARIABLES))
    rows["environment"] = " ".join(f"{name}={os.environ[name]}" for name in names) or "none set"
    width = max(map(len, rows))
    write("".join(f"{name:{width}}  {one_line(said)}\n" for name, said in rows.items()))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return _MISSING


def _machine() -> dict[str, str]:
    """The processor, the GPUs, and the kernels that run on them."""
    import torch

    from counterpoise import losses, models, norms  # noqa: F401 - each looks up its kernels
    from counterpoise.data.cache import folder
    from counterpoise.kernels import compiled
    from counterpoise.study.environment import environment, run_environment

    here, run = environment(), run_environment()
    in_c = sorted(name for name, found in compiled.FOUND.items() if found)
    not_in_c = sorted(compiled.FOUND.keys() - set(in_c))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    by = "torch operators" if _version("triton") == _MISSING else "the losses by Triton"
    return {
        "torch": torch.__version__,
        "processor": f"{here['processor']}, {here['cores']} cores",
        "threads": f"{torch.get_num_threads()} of torch's",
        "instructions": f"{run['instruction_set']} in torch's kernels",
        "CPU kernels": f"{run['kernels']}: {compiled.REASON}",
        "in C": ", ".join(in_c) or "none",
        "not in C": ", ".join(not_in_c) or "none",
        "cache": str(folder()),
        "GPU kernels": f"{by} on {', '.join(gpus)}" if gpus else "none, as there is no CUDA device",
    }
