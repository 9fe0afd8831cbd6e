"""Judgement of runs that were trained elsewhere: is a difference between variants real?"""

from counterpoise.judgement._read_runs import read_runs
from counterpoise.judgement._runs import Runs

__all__ = ["Runs", "read_runs"]
