"""Finding on seeds that were added without a plan for them: CP345."""

from counterpoise.findings.finding import Finding, listed, sentence
from counterpoise.study import Study

_FALSE = 7  # % of studies, benchmarks/looks.py

_FIXED = (
    "Verdicts were read at {before} seeds by the rule for a number fixed beforehand, which spent "
    "all of the 5%"
)
_BEYOND = "Verdicts were planned to be read at {last} seeds at most"
_AGAIN = (
    ", and are read at {seeds} now. A first verdict cannot be made valid afterwards: between "
    "variants alike, false claims over all looks are made in up to {most}% of studies. Plan "
    "further looks before the first one, by --seeds auto or sequential = true."
)


def not_planned(study: Study) -> list[Finding]:
    """CP345: verdicts that were read before by a rule that did not allow for so many seeds."""
    if not study.overtaken:
        return []
    fixed = [look.seeds for look in study.overtaken if look.rule == "fixed"]
    about: dict[str, int | str] = {"seeds": len(study.plan.seeds), "most": _FALSE}
    if fixed:
        return [sentence("CP345", _FIXED + _AGAIN, about | {"before": listed(fixed)})]
    last = max(look.last for look in study.overtaken)
    return [sentence("CP345", _BEYOND + _AGAIN, about | {"last": last})]
