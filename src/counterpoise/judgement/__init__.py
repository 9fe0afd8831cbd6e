"""Judgement of runs that were trained elsewhere: is a difference between variants real?"""

from counterpoise.judgement._runs import Runs

__all__ = ["Runs"]
