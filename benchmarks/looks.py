"""What it costs to look after every seed: the rules that keep false claims at 5%, compared.

python benchmarks/looks.py

A minute on one core. 20,000 studies of one variant a cell, with normal differences; a study is read
after 5, 6, .. 25 seeds, and stops at its first claim of a sign. The first table is of seeds that
nobody planned. For docs/statistics.md.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from calibration import STUDIES as MANY
from calibration import claimed, decisions, draw, percent, table
from scipy.optimize import brentq
from scipy.stats import norm, t

from counterpoise.stats import Looks

FIRST, LAST = 5, 25
STUDIES = 20_000
TRUTHS = (0.0, 0.5, 1.0, 2.0)  # the true difference, in standard deviations of the paired ones


def paired_t(rng: Any, truth: float) -> tuple[Any, Any]:
    """Return |t| of each study after each look, [study, look], and whether its sign is right."""
    d = truth + rng.normal(size=(STUDIES, LAST))
    n = np.arange(1, LAST + 1)
    mean = d.cumsum(1) / n
    square = np.maximum((d**2).cumsum(1) / n - mean**2, 1e-300)
    found = (mean / np.sqrt(square / np.maximum(n - 1, 1)))[:, FIRST - 1 :]
    return np.abs(found), found > 0


def one_look(n: Any, level: float) -> Any:
    return t.isf(level / 2, n - 1)


def constant(n: Any, level: float) -> Any:
    """`stats.Looks`, for 25 seeds at most."""
    return t.isf(Looks(FIRST, LAST).nominal(level) / 2, n - 1)


def constant_200(n: Any, level: float) -> Any:
    """The same for 200 seeds at most."""
    return t.isf(Looks(FIRST, 200).nominal(level) / 2, n - 1)


def bonferroni(n: Any, level: float) -> Any:
    return t.isf(level / (LAST - FIRST + 1) / 2, n - 1)


def lai(n: Any, level: float) -> Any:
    """Lai 1976, Ann. Stat. 4, 265: a mixture over all means, from the first look on, forever."""
    df = FIRST - 1
    a = brentq(lambda a: 2 * (t.sf(a, df) + a * t.pdf(a, df)) - level, 1, 1e4)
    return np.sqrt((n - 1) * (((1 + a**2 / df) ** FIRST * n / FIRST) ** (1 / n) - 1))


def e_process(n: Any, level: float, scale: float = 1.0) -> Any:
    """Pérez-Ortiz et al. 2022, arXiv 2208.07610: a normal mixture of effects, valid forever."""
    most = 1 + n * scale**2
    ratio = (np.sqrt(most) / level) ** (2 / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (ratio - 1) / (1 - ratio / most)
    return np.where(ratio < most, np.sqrt((n - 1) * np.abs(x)), np.inf)


def o_brien_fleming(n: Any, level: float) -> Any:
    """O'Brien and Fleming 1979, Biometrics 35, 549, as nominal levels, constant by simulation."""
    null, _ = paired_t(np.random.default_rng(1), 0.0)
    z = norm.isf(t.sf(null, n - 1)) * np.sqrt(n / LAST)
    least = np.quantile(z.max(1), 1 - level)
    return t.isf(norm.sf(least * np.sqrt(LAST / n)), n - 1)


RULES: dict[str, Callable[[Any, float], Any]] = {
    "p < 0.05 at every look": one_look,
    "`Looks(5, 25)`": constant,
    "`Looks(5, 200)`": constant_200,
    "p < 0.05 / 21 (Bonferroni)": bonferroni,
    "Lai's confidence sequence": lai,
    "e-process of t, effects of 1 sd": e_process,
    "O'Brien and Fleming": o_brien_fleming,
}


def extended() -> None:
    """What it costs to add seeds without having planned to, read after each of them."""
    ways = {
        "one look at 5": [(None, (5,))],
        "planned: `Looks(5, 25)`": [(Looks(5, 25), range(5, 26))],
        "5 fixed beforehand, then `Looks(5, 200)` up to 25": [
            (None, (5,)),
            (Looks(5, 200), range(6, 26)),
        ],
        "planned up to 10, then `Looks(5, 200)` up to 25": [
            (Looks(5, 10), range(5, 11)),
            (Looks(5, 200), range(11, 26)),
        ],
        "5 fixed beforehand, then each number as if fixed, up to 25": [(None, range(5, 26))],
    }
    both = {
        f"{variants} {shape}": draw(
            np.random.default_rng(5), 25, variants, sd=0.02, shape=shape, studies=3 * MANY
        )
        for shape in ("normal", "rounded")
        for variants in (1, 8)
    }
    rows = []
    for name, parts in ways.items():
        row = [name]
        for pair in both.values():
            found = [decisions(*pair, n, looks) for looks, sizes in parts for n in sizes]
            row.append(percent(np.any([claimed(x).any(-1) for x in found], axis=0)))
        rows.append(row)
    table("Studies of 1 or 8 variants alike with a false claim at any look, %", ["", *both], rows)


def main() -> None:
    extended()
    n = np.arange(FIRST, LAST + 1)
    for level in (0.05, 0.05 / 20):
        print(f"\nlevel {level:g}\n")
        head = ["false", *(f"{d:g} sd: at 10, by 25, seeds" for d in TRUTHS[1:])]
        print(f"| rule | {' | '.join(head)} |\n|{' --- |' * (len(head) + 1)}")
        for name, rule in RULES.items():
            edge, row = rule(n, level), []
            for truth in TRUTHS:
                size, right = paired_t(np.random.default_rng(round(10 * truth)), truth)
                over = size > edge
                if not truth:
                    row.append(f"{100 * over.any(1).mean():.1f}")
                    continue
                stop = np.where(over.any(1), n[over.argmax(1)], LAST)
                row.append(
                    f"{100 * (over & right)[:, 10 - FIRST].mean():.0f}, "
                    f"{100 * over.any(1).mean():.0f}, {stop.mean():.1f}"
                )
            print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
