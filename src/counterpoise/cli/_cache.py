"""`counterpoise cache`: what decoded samples take on the disk, and removing them."""

from datetime import datetime

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def cache(*, limit: str | None = None, cache: str = "auto") -> int:
    """List the decoded samples that studies share, and remove those that were not used for long.

    Nothing is lost with them: a study that needs samples decodes them again.

    Parameters
    ----------
    limit
        Remove the entries that were used last the longest ago, until all together have no more than
        this, such as 20GB; 0 removes all.
    cache
        The cache's folder [default: the environment variable COUNTERPOISE_CACHE, or the user's].
    """
    from counterpoise.cli._shown import Output, shown
    from counterpoise.data.cache import entries, folder, prune

    console = Output()
    removed = prune(_limit(limit), cache) if limit is not None else []
    if removed:
        whole = sum(entry.bytes for entry in removed)
        console.print(shown(f"{len(removed)} removed, {in_words(whole)}"), soft_wrap=True)
    found = entries(cache)
    for entry in found:
        when = datetime.fromtimestamp(entry.last_used).strftime("%Y-%m-%d %H:%M")
        shape = " x ".join(f"{n:,}" for n in entry.shape)
        source = entry.about.get("source", "")
        console.print(
            shown(f"{in_words(entry.bytes):>9}  {when}  {shape} {entry.dtype}  {source}"),
            soft_wrap=True,
        )
    whole = sum(entry.bytes for entry in found)
    console.print(shown(f"{in_words(whole)} in {folder(cache)}"), soft_wrap=True)
    return 0


def in_words(size: int) -> str:
    """Return a number of bytes in words.

    Example:
        >>> in_words(1_234_567)
        '1.2 MB'
    """
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def _limit(text: str) -> int:
    from counterpoise.study.settings import bytes_of

    try:
        return bytes_of(text)
    except ValueError as error:
        raise ValueError(f"--limit: {error}") from error
