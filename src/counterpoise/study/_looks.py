"""The numbers of seeds at which a study's verdicts were read, and the rule that they follow."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from counterpoise import files, stats
from counterpoise.study import _schema, record
from counterpoise.study.plan import Plan
from counterpoise.text import listed

FILE = "looks.json"


@dataclass(frozen=True, order=True)
class Look:
    """Verdicts that were read.

    Attributes:
        seeds: that all variants with a finished run had in common.
        rule: "fixed" for a number of seeds fixed beforehand; "sequential" for `stats.Looks`.
        last: seeds up to which that rule was valid.
    """

    seeds: int
    rule: Literal["fixed", "sequential"]
    last: int


def read(folder: Path, data: str) -> tuple[Look, ...]:
    """Return the looks at a study of data with this fingerprint; none of one that has no record.

    Raises:
        record.Damaged: the file is not what was written.
    """
    path = folder / FILE
    try:
        kept = record.unseal(path)
        _schema.check_looks(path, kept)
    except FileNotFoundError:
        return ()
    except record.OtherFormat:
        raise
    except (OSError, record.Damaged) as error:
        raise record.Damaged(
            f"{error}; remove it, and the present number of seeds counts as the first that was read"
        ) from error
    return tuple(Look(**row) for row in kept["looks"]) if kept["data"] == data else ()


def add(folder: Path, plan: Plan, data: str, seeds: int) -> None:
    """Record that verdicts are read on so many seeds; the same number again is the same look.

    Raises:
        OSError: the file cannot be written.
    """
    known = read(folder, data)
    if seeds < 2 or any(look.seeds == seeds for look in known):
        return
    found = rule_of(plan, known)
    look = Look(seeds, "sequential", found.last) if found else Look(seeds, "fixed", len(plan.seeds))
    rows = [asdict(x) for x in sorted((*known, look))]
    files.write(folder / FILE, record.seal({"data": data, "looks": rows}))


def rule_of(plan: Plan, known: Sequence[Look]) -> stats.Looks | None:
    """Return the rule for the verdicts of a study; None for a number of seeds fixed beforehand.

    Once the first look is recorded, a plan can change neither its number nor the last one.
    """
    n = len(plan.seeds)
    planned = [look.last for look in known if look.rule == "sequential"]
    if not planned and (plan.sequential or plan.most_seeds):
        planned = [plan.most_seeds or stats.MAX_SEEDS]
    if n < 2 or not (planned or overtaken(plan, known)):
        return None
    first = min((look.seeds for look in known), default=n)
    last = max(planned, default=stats.MAX_SEEDS)
    return stats.Looks(min(first, n), last if n <= last else max(n, stats.MAX_SEEDS))


def overtaken(plan: Plan, known: Sequence[Look]) -> list[Look]:
    """Return the looks whose rule did not allow for as many seeds as there are now."""
    return [look for look in known if len(plan.seeds) > look.last]


def words(plan: Plan, known: Sequence[Look]) -> str:
    """Return a sentence on the rule of the verdicts."""
    rule, numbers = rule_of(plan, known), listed([str(look.seeds) for look in known], most=99)
    if rule is None:
        return (
            f"Verdicts hold for one look, at a number of seeds fixed beforehand: {len(plan.seeds)}."
        )
    if overtaken(plan, known):
        return (
            f"Verdicts allow for looks from {rule.first} up to {rule.last} seeds, but that was not "
            f"planned before the first one (looks at {numbers}): see CP345."
        )
    seen = f"looks at {numbers}" if known else f"looks from {rule.first} seeds on,"
    return (
        f"Verdicts hold however often they are read: {seen} of at most {rule.last} seeds; all "
        "intervals hold together with 95%, at all looks."
    )
