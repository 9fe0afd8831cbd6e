"""Let torchvision, made for another build of torch, be imported beside the one for CPUs.

Python imports this module at its start where the folder is on PYTHONPATH. torchvision registers
what it knows of two compiled operators; here they are declared, and nothing calls them.
"""

import sys
from importlib.machinery import ModuleSpec

_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _BeforeTorchvision:
    """Finder that finds nothing, and declares the operators before torchvision is imported."""

    library: object = None  # what is declared lasts as long as this

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "torchvision":
            import torch

            if not hasattr(torch.ops.torchvision, "nms"):
                cls.library = library = torch.library.Library("torchvision", "DEF")
                for operator in ("nms", "qnms"):
                    library.define(operator + _ARGUMENTS)
        return None


sys.meta_path.insert(0, _BeforeTorchvision)
