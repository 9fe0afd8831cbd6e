"""How often verdicts are right where the truth is known: the tables of docs/statistics.md.

python benchmarks/calibration.py

About a minute on one core. Each cell is thousands of studies with a fixed rng, through the
functions that `stats.compare_variants` and `stats.seeds_needed` call;
tests/test_stats_by_simulation.py shows that they agree, and takes its studies from here. A share
near 5% of 4,000 studies is known to ± 0.7 points.
"""

import warnings
from typing import Any

import numpy as np
import scipy.stats

from counterpoise import stats
from counterpoise.stats._comparison import standard_error, summarize
from counterpoise.stats._decide import Decision, decide
from counterpoise.stats._looks import Looks
from counterpoise.stats._seeds import predict_seeds

MARGIN = 0.01
STUDIES = 4000
SEEDS = (3, 5, 10)
SPREADS = (0.3, 0.6, 1.0, 1.5, 2.0, 3.0)  # of the paired differences, in margins
TRUTHS = (0.0, 0.5, 1.0, 2.0)  # in margins


def draw(
    rng: Any,
    n: int,
    variants: int = 1,
    *,
    delta: float = 0.0,
    sd: float = 0.01,
    shape: str = "normal",
    studies: int = STUDIES,
) -> tuple[Any, Any]:
    """Scores of baseline and variants [study, variant, seed], half of the variance the seed's own.

    `sd` is that of the paired differences, before runs collapse.
    """
    noise = rng.normal(size=(studies, variants + 2, n))
    own, shared = noise[:, :-1], noise[:, -1:]
    if shape == "log-normal":
        own, shared = np.exp(own), np.exp(shared)
        own = own / np.sqrt(np.e * (np.e - 1))
    scores = 0.8 + sd / np.sqrt(2) * (own + shared)
    scores[:, 1:] += delta
    if shape == "collapsed":
        scores[rng.random(scores.shape) < 0.2] = 0.1
    if shape == "rounded":
        scores = scores.round(2)
    return scores[:, :1], scores[:, 1:]


def values(rng: Any, kind: str, size: Any) -> Any:
    """Independent numbers of mean 0 and standard deviation 1."""
    normal = rng.normal(size=size)
    if kind == "skewed":  # log-normal
        return (np.exp(normal) - np.exp(0.5)) / np.sqrt(np.e * (np.e - 1))
    if kind == "heavy":  # Student's t with 3 degrees of freedom
        return rng.standard_t(3, size=size) / np.sqrt(3)
    return normal


UNLIKE = {  # what varies in the baseline's runs alone, in the variants' alone, and by how much more
    "all heavy-tailed": ("heavy", "heavy", 1),
    "all skewed": ("skewed", "skewed", 1),
    "variants heavy-tailed": ("normal", "heavy", 1),
    "variants skewed": ("normal", "skewed", 1),
    "variants scatter 3 times as much": ("normal", "normal", 3),
    "variants skewed, and scatter 3 times as much": ("normal", "skewed", 3),
}


def draw_unlike(
    rng: Any, n: int, variants: int, name: str, *, studies: int = STUDIES
) -> tuple[Any, Any]:
    """Scores of variants with the baseline's mean, whose runs scatter in another way."""
    one, other, times = UNLIKE[name]
    shared = values(rng, "normal", (studies, 1, n))
    before = values(rng, one, (studies, 1, n))
    after = times * values(rng, other, (studies, variants, n))
    return 0.8 + 0.014 * (before + shared), 0.8 + 0.014 * (after + shared)


def draw_hits(
    rng: Any, n: int, variants: int, samples: int, *, studies: int = STUDIES
) -> tuple[Any, Any]:
    """Accuracies of equal variants on so many test samples, each right by a chance of 80%."""
    before = rng.binomial(samples, 0.8, size=(studies, 1, n)) / samples
    return before, rng.binomial(samples, 0.8, size=(studies, variants, n)) / samples


def welch(before: Any, after: Any) -> Decision:
    """Decide unpaired scores [study, variant, run], as `compare_unpaired` compares two of them."""
    (a, b), (n, m) = (
        (x.var(-1, ddof=1) / x.shape[-1] for x in (before, after)),
        (x.shape[-1] for x in (before, after)),
    )
    df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    mean = after.mean(-1) - before.mean(-1)
    return decide(min(n, m), mean, np.sqrt(a + b), df, MARGIN, 0.95)


def decisions(before: Any, after: Any, n: int, looks: Any = None) -> Decision:
    mean, sd = summarize(before[..., :n], after[..., :n])
    return decide(n, mean, standard_error(n, sd), n - 1, MARGIN, 0.95, looks)


def claimed(found: Decision) -> Any:
    """Where "better" or "worse" is said."""
    return (found.direction != 0) & ~found.inside


def decided(found: Decision) -> Any:
    return (found.direction != 0) | found.inside


def wrong(found: Decision, delta: Any) -> Any:
    """Where a claim is false: a direction, that there is none that matters, or "by the margin"."""
    return (
        ((found.direction != 0) & (found.direction != np.sign(delta)))
        | (found.inside & (np.abs(delta) >= MARGIN))
        | (found.by_margin & (np.abs(delta) <= MARGIN))
    )


def open_after(before: Any, after: Any, n: int) -> Any:
    """Whether each study [study, seed] cannot tell yet after n seeds."""
    # An axis for the family: without it `decide` would take all studies for one.
    return ~decided(decisions(before[:, None], after[:, None], n))[:, 0]


def seeds_asked(before: Any, after: Any, n: int) -> Any:
    mean, spread = summarize(before[:, :n], after[:, :n])
    return predict_seeds(n, mean / MARGIN, spread / MARGIN, 0.95)


def later(before: Any, after: Any, sizes: Any) -> Decision:
    """What each study [study, seed] says after its own number of seeds."""
    rows = [np.empty((len(sizes), 1)) for _ in Decision._fields]
    for size in np.unique(sizes):
        at = sizes == size
        for row, new in zip(rows, decisions(before[at, None], after[at, None], size), strict=True):
            row[at] = new
    return Decision(*rows[:3], rows[3].astype(int), rows[4] > 0, rows[5] > 0)


def bootstrap_says(before: Any, after: Any, resamples: int = 500) -> Any:
    """Whether a percentile bootstrap interval of the mean difference leaves out 0."""
    d = after - before
    picks = np.random.default_rng(0).integers(d.shape[-1], size=(resamples, d.shape[-1]))
    low, high = np.quantile(d[..., picks].mean(-1), [0.025, 0.975], axis=-1)
    return (low > 0) | (high < 0)


def sign_flip_says(before: Any, after: Any) -> Any:
    d = (after - before)[:, 0]
    n = d.shape[-1]
    signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    seen = np.abs(d.sum(-1, keepdims=True)) - 1e-12
    return (np.abs(d @ signs.T) >= seen).mean(-1) <= 0.05


RULES = {
    "`compare_variants`": lambda a, b: claimed(decisions(a, b, a.shape[-1])),
    "paired t, p < 0.05": lambda a, b: scipy.stats.ttest_rel(a, b, axis=-1).pvalue < 0.05,
    "Welch's t, p < 0.05": lambda a, b: (
        scipy.stats.ttest_ind(a, b, axis=-1, equal_var=False).pvalue < 0.05
    ),
    "paired bootstrap interval": bootstrap_says,
    "sign flips, p <= 0.05": sign_flip_says,
}


def table(title: str, head: list[str], rows: list[list[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def percent(share: Any) -> str:
    return f"{100 * np.mean(share):.1f}"


def rules() -> None:
    rows = []
    for name, says in RULES.items():
        row = [name]
        for delta in (0, 1, 2):
            for n in SEEDS:
                both = draw(np.random.default_rng(n), n, delta=delta * MARGIN, studies=2000)
                row.append(percent(says(*both)))
        rows.append(row)
    head = [f"{d}, n = {n}" for d in ("none", "1 margin", "2 margins") for n in SEEDS]
    table("Called better or worse, %, by the true difference", ["rule", *head], rows)


def words() -> None:
    rows = []
    for sd in (0.5, 1.0, 2.0):
        for delta in TRUTHS:
            row = [f"{sd:g}", f"{delta:g}"]
            for n in SEEDS:
                both = draw(np.random.default_rng(n), n, delta=delta * MARGIN, sd=sd * MARGIN)
                found = decisions(*both, n)
                differs, alike = claimed(found), found.inside
                row.append(
                    f"{differs.mean():.0%} / {alike.mean():.0%} / {1 - decided(found).mean():.0%}"
                )
            rows.append(row)
    table(
        "Better or worse / no difference that matters / cannot tell yet",
        ["sd, margins", "true difference, margins", *(f"n = {n}" for n in SEEDS)],
        rows,
    )


def coverage() -> None:
    rows = []
    for shape in ("normal", "log-normal", "rounded", "collapsed"):
        row = [shape if shape != "collapsed" else "20% of all runs collapsed"]
        for n in SEEDS:
            found = decisions(*draw(np.random.default_rng(n), n, sd=0.02, shape=shape), n)
            row.append(percent((found.low <= 0) & (found.high >= 0)))
        rows.append(row)
    row = ["20% of the variant's runs collapsed"]
    for n in SEEDS:
        before, after = draw(np.random.default_rng(n), n, sd=0.02)
        after[np.random.default_rng(1).random(after.shape) < 0.2] = 0.1
        found = decisions(before, after, n)
        row.append(percent((found.low <= -0.2 * 0.7) & (found.high >= -0.2 * 0.7)))
    table("The 95% interval holds the truth, %", ["scores", *map(str, SEEDS)], [*rows, row])


def families() -> None:
    rows = []
    for shape in ("normal", "log-normal", "rounded", "collapsed"):
        row = [f"eight alike, {shape}"]
        for n in SEEDS:
            both = draw(np.random.default_rng(n), n, 8, sd=0.02, shape=shape)
            alone = scipy.stats.ttest_rel(*both, axis=-1).pvalue < 0.05
            row += [percent(claimed(decisions(*both, n)).any(-1)), percent(alone.any(-1))]
        rows.append(row)
    delta = np.array([0, 0, 0, 0.005, -0.005, 0.01, -0.01, 0.02])
    for sd in (0.002, 0.006, 0.02):
        row = [f"eight truths, sd {sd / MARGIN:g} margins: any false claim"]
        for n in SEEDS:
            before, after = draw(np.random.default_rng(n), n, 8, sd=sd)
            found = decisions(before, after + delta[:, None], n)
            row += [percent(wrong(found, delta).any(-1)), ""]
        rows.append(row)
    head = [f"{rule}, n = {n}" for n in SEEDS for rule in ("compare_variants", "any p < 0.05")]
    table("Studies of eight variants with a false claim, %", ["truth", *head], rows)


def unlike() -> None:
    rows = []
    draws = {name: (lambda *at, name=name, **k: draw_unlike(*at, name, **k)) for name in UNLIKE}
    for samples in (10, 20, 100):
        name = f"{samples} test samples"
        draws[name] = lambda *at, samples=samples, **k: draw_hits(*at, samples, **k)
    for name, make in draws.items():
        row = [name]
        for variants in (1, 8):
            for n in SEEDS:
                both = make(np.random.default_rng([n, variants]), n, variants)
                row.append(percent(wrong(decisions(*both, n), 0.0).any(-1)))
            row.append(
                percent(falsely(*make(np.random.default_rng(0), 24, variants), Looks(5, 24)))
            )
        rows.append(row)
    looks = [*(f"n = {n}" for n in SEEDS), "20 looks from 5"]
    head = [f"{m}, {look}" for m in ("one variant", "eight") for look in looks]
    table("Equal means: studies with a false claim, %", ["scores", *head], rows)


def falsely(before: Any, after: Any, looks: Looks) -> Any:
    """Which studies of equal variants make a claim at any look."""
    found = np.zeros(len(before), bool)
    for n in range(looks.first, looks.last + 1):
        found |= wrong(decisions(before, after, n, looks), 0.0).any(-1)
    return found


def unpaired() -> None:
    rows = []
    for n, m in ((3, 3), (5, 5), (3, 10), (5, 20), (10, 5)):
        row = [f"{n} and {m}"]
        for one, other, times in (
            ("normal", "normal", 1),
            ("normal", "normal", 3),
            *[("normal", "normal", 1 / 3), ("skewed", "skewed", 1), ("normal", "skewed", 1)],
        ):
            for variants in (1, 8):
                rng = np.random.default_rng([n, m, variants])
                before = 0.8 + 0.02 * values(rng, one, (STUDIES, 1, n))
                after = 0.8 + 0.02 * times * values(rng, other, (STUDIES, variants, m))
                row.append(percent(wrong(welch(before, after), 0.0).any(-1)))
        rows.append(row)
    kinds = ("normal", "3 times the spread", "a third of it", "skewed", "variants skewed")
    head = [f"{kind}, {m}" for kind in kinds for m in ("one variant", "eight")]
    table("Unpaired, equal means: false claims, %", ["runs", *head], rows)


def collapses() -> None:
    rows = []
    for share in (0.02, 0.05):
        row = [f"{100 * share:g}%"]
        for n in SEEDS:
            rng = np.random.default_rng([n, round(100 * share)])
            both = draw(rng, 201, sd=0.02, studies=2000)
            for x in both:
                x[rng.random(x.shape) < share] = 0.1
            before, after = (x[:, 0] for x in both)
            still = open_after(before, after, n)
            seen = ((before < 0.5) | (after < 0.5))[:, :n].any(1)
            named = still & ~seen
            asked = seeds_asked(before[named], after[named], n)
            enough = decided(later(before[named], after[named], asked))
            row.append(f"{percent(seen[still])}, {percent(enough)}")
        rows.append(row)
    table(
        "Rare collapses: open studies in which one was seen, so that no number is named, %; and "
        "the numbers named that were enough, %",
        ["runs that collapse", *(f"n = {n}" for n in SEEDS)],
        rows,
    )


def fewest(delta: float, sd: float, studies: int = 1500) -> int:
    """The smallest number of seeds that is enough in 70% of new studies, knowing the truth."""
    before, after = draw(np.random.default_rng(0), 201, delta=delta, sd=sd, studies=studies)
    sizes = (n for n in range(2, 202) if decided(decisions(before, after, n)).mean() >= 0.7)
    return next(sizes, 201)


def seeds() -> None:
    rows, again, ratios = [], [], dict[int, list[Any]]()
    for sd in SPREADS:
        for delta in TRUTHS:
            least = fewest(delta * MARGIN, sd * MARGIN)
            row = [f"{sd:g}", f"{delta:g}", str(least)]
            for n in SEEDS:
                both = draw(
                    np.random.default_rng([n, round(10 * delta), round(10 * sd)]),
                    201,
                    delta=delta * MARGIN,
                    sd=sd * MARGIN,
                )
                before, after = (x[:, 0] for x in both)
                still = open_after(before, after, n)
                if still.mean() < 0.03:
                    row.append("-")
                    continue
                asked = seeds_asked(before[still], after[still], n)
                then = later(before[still], after[still], asked)
                low, middle, high = np.quantile(asked, [0.25, 0.5, 0.75])
                ratios.setdefault(n, []).append(asked / max(least, n + 1))
                row.append(f"{percent(decided(then))}% of {middle:.0f} ({low:.0f}-{high:.0f})")
                if delta == 0:
                    first = claimed(decisions(before[:, None], after[:, None], n))[:, 0]
                    first[still] = claimed(then)[:, 0]
                    again.append([f"{sd:g}", str(n), percent(first)])
            rows.append(row)
    head = ["sd, margins", "true difference, margins", "enough if the truth were known"]
    asked = [f"after {n}" for n in SEEDS]
    table("Enough in, and the seeds asked for: median (quartiles)", [*head, *asked], rows)
    pooled = ", ".join(
        f"{np.median(np.concatenate(found)):.2f} after {n}" for n, found in ratios.items()
    )
    print(f"\nMedian of the seeds asked for, over those that are enough: {pooled}")
    wide = [[s, *(r[2] for r in again if r[0] == s)] for s in dict.fromkeys(r[0] for r in again)]
    wide = [[*w, *["-"] * (1 + len(SEEDS) - len(w))] for w in wide]
    table("Alike, but called better or worse at either look, %", ["sd, margins", *asked], wide)


def two_way(n: int, samples: int, studies: int, luck: float = 0.5) -> float:
    """How often the interval for a rare class of equal variants holds 0."""
    rng = np.random.default_rng([n, samples])
    held = 0
    for _ in range(studies):
        odds = rng.normal(size=(1, samples)) + luck * rng.normal(size=(2, n, 1))
        a, b = rng.random((2, n, samples)) < 1 / (1 + np.exp(-odds))
        found = stats.two_way_bootstrap(a, b, np.zeros(samples), resamples=400)
        held += found.low <= 0 <= found.high
    return held / studies


def rare_classes() -> None:
    rows = [
        [str(k), f"{luck:g}", *(percent(two_way(n, k, 400, luck)) for n in SEEDS)]
        for k in (8, 20, 50, 200)
        for luck in (0.5, 2.0)
    ]
    table(
        "The two-way interval of a rare class's recall holds the truth, %",
        ["test samples", "sd of the seeds, log odds", *(f"n = {n}" for n in SEEDS)],
        rows,
    )


def main() -> None:
    for part in (
        rules,
        words,
        coverage,
        families,
        unlike,
        unpaired,
        seeds,
        collapses,
        rare_classes,
    ):
        part()


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # SciPy's, where all runs collapsed alike
    main()
