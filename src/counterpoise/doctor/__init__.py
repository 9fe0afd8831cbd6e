"""Diagnose, before training, whether a net will learn; if not, why, and which remedy helps."""

from counterpoise.doctor._diagnose import OPTIMIZERS, diagnose
from counterpoise.doctor._diagnosis import Diagnosis, Numbers, Remedy
from counterpoise.doctor._verdict import CAUSES

__all__ = ["CAUSES", "OPTIMIZERS", "Diagnosis", "Numbers", "Remedy", "diagnose"]
