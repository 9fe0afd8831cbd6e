"""Judgement of runs that were trained elsewhere: is a difference between variants real?

    found = judgement.judge("results.csv")  # or a data frame, a folder of MLflow, W&B, TensorBoard
    print(found)                            # a table, a sentence a variant, and what was guessed

How it is read and judged: docs/judge.md.
"""

from counterpoise.judgement._judge import judge
from counterpoise.judgement._judgement import HEAD, Family, Judgement
from counterpoise.judgement._names import named
from counterpoise.judgement._read_runs import read_runs
from counterpoise.judgement._runs import Runs

__all__ = ["HEAD", "Family", "Judgement", "Runs", "judge", "named", "read_runs"]
