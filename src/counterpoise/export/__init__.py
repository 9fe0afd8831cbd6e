"""A study's model, to take home: a folder that `counterpoise.load` and `predict` work from.

_choose.py    which variant and which seeds, and why
_parts.py     a net's files: weights, program, ONNX
_programs.py  a net as a program of torch.export and as ONNX
_rules.py     the rule by which classes are given
_card.py      the model card
_write.py     all of it, written
"""

from counterpoise.export._rules import Wanted
from counterpoise.export._write import Exported, check_place, export

__all__ = ["Exported", "Wanted", "check_place", "export"]
