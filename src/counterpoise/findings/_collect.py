"""Run all checks over a study."""

from collections.abc import Callable, Collection

from counterpoise.findings import (
    _data,
    _duplicates,
    _groups,
    _learning,
    _more_seeds,
    _noise,
    _record,
    _references,
    _settings,
    _training,
    _verdicts,
)
from counterpoise.findings._codes import SEVERITIES
from counterpoise.findings.finding import Finding
from counterpoise.registry import unknown
from counterpoise.study import Study

Check = Callable[[Study], list[Finding]]

ALL_CHECKS: dict[str, Check] = {
    "CP101": _data.small_classes,
    "CP102": _duplicates.across_splits,
    "CP103": _duplicates.within_training,
    "CP104": _data.missing_in_validation,
    "CP105": _data.largest_class,
    "CP106": _data.absent_classes,
    "CP107": _duplicates.nearly_equal,
    "CP108": _data.left_out,
    "CP109": _data.doubtful,
    "CP220": _learning.failed,
    "CP221": _learning.no_rate_worked,
    "CP222": _learning.never_learned,
    "CP223": _learning.vanishing_signal,
    "CP224": _learning.dead_layers,
    "CP225": _learning.one_answer,
    "CP226": _training.still_improving,
    "CP227": _training.overfit,
    "CP228": _training.gradient_sizes,
    "CP309": _verdicts.single_seed,
    "CP330": _verdicts.verdicts,
    "CP331": _noise.larger_source,
    "CP332": _groups.gain_on_the_head,
    "CP333": _groups.gain_on_the_tail,
    "CP334": _groups.corrected_baseline,
    "CP335": _settings.balanced_already,
    "CP336": _settings.balanced_twice,
    "CP337": _settings.edge_of_the_grid,
    "CP338": _verdicts.fewer_seeds,
    "CP339": _noise.another_test_set,
    "CP340": _references.no_net_is_better,
    "CP341": _references.adjusted_baseline_is_enough,
    "CP342": _references.best_net_and_reference,
    "CP343": _settings.under_another_name,
    "CP344": _settings.fixed_where_others_tune,
    "CP345": _more_seeds.not_planned,
    "CP401": _record.other_environments,
    "CP402": _record.edited_plan,
}


def collect_findings(study: Study, mute: Collection[str] = ()) -> list[Finding]:
    """Collect the findings on a study: its data, trainings and scores, and their limits.

    Args:
        study: finished or not; each check is silent where the records do not hold what it needs.
        mute: codes to leave out.

    Returns:
        The findings, problems first, then cautions, notes and results, each by code.

    Raises:
        ValueError: `mute` has an unknown code.

    Example:
        >>> import tempfile
        >>> from counterpoise import findings
        >>> from counterpoise.study import Training, compare
        >>> quick = Training("mlp", epochs=2, lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = compare("digits", losses=["cross_entropy", "focal"], seeds=1, out=folder,
        ...                     training=quick)
        ...     found = findings.collect_findings(study, mute=["CP101", "CP341"])
        >>> [finding.code for finding in found]
        ['CP309', 'CP340', 'CP330']
    """
    for code in mute:
        if code not in ALL_CHECKS:
            raise ValueError(unknown("code", code, ALL_CHECKS))
    found = [f for code, check in ALL_CHECKS.items() if code not in mute for f in check(study)]
    return sorted(found, key=lambda f: (SEVERITIES.index(f.severity), f.code))
