"""Diagnose, before training, whether a net will learn; if not, why, and which remedy helps."""

from counterpoise.doctor._causes import CAUSES
from counterpoise.doctor._diagnose import OPTIMIZERS, diagnose
from counterpoise.doctor._diagnosis import Check, Diagnosis, Numbers, Remedy

__all__ = ["CAUSES", "OPTIMIZERS", "Check", "Diagnosis", "Numbers", "Remedy", "diagnose"]
