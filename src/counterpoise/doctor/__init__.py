"""Say whether a net will learn before its training is paid for; if not, why, and what helps."""

from counterpoise.doctor._diagnose import OPTIMIZERS, diagnose
from counterpoise.doctor._diagnosis import Diagnosis, Numbers, Remedy
from counterpoise.doctor._judge import CAUSES

__all__ = ["CAUSES", "OPTIMIZERS", "Diagnosis", "Numbers", "Remedy", "diagnose"]
