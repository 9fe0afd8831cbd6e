"""Findings on a study's folder: CP401 and CP402."""

from counterpoise.findings.finding import Finding, listed, sentence
from counterpoise.study import Study


def other_environments(study: Study) -> list[Finding]:
    """CP401: runs that were trained in another environment than most."""
    template = (
        "{runs} of {total} runs were trained in another environment than the others: "
        "{difference}. Results can depend on it: {which}."
    )
    total = len(study.records) + len(study.tuning)
    return [
        sentence(
            "CP401",
            template,
            {
                "runs": len(records),
                "total": total,
                "difference": difference,
                "which": listed([f"{r.label} · seed {r.seed}" for r in records]),
            },
        )
        for difference, records in study.other_environments().items()
    ]


def edited_plan(study: Study) -> list[Finding]:
    """CP402: a plan.toml that is not the plan that was run."""
    if not study.edited:
        return []
    template = (
        "The plan.toml of this study differs from the plan that was run, in {settings}. What is "
        "said here is of the plan that was run; counterpoise compare {file} runs the new one."
    )
    evidence = {"settings": listed(study.edited), "file": str(study.folder / "plan.toml")}
    return [sentence("CP402", template, evidence)]
