"""Assignment of runs to GPUs: as many share one as its memory holds."""

from collections import Counter
from collections.abc import Callable

from counterpoise.study.events import Epoch, Failed, Finished, OfRun

MEMORY_KNOWN_AFTER = 2  # `Epoch`s of a run: of the untrained net, and of the first trained one
MARGIN = 1.5  # what is kept free for a run, of what one was seen to take


class Gpus:
    """The GPUs, by the names that CUDA_VISIBLE_DEVICES knows.

    A GPU is given one run at first; another when all runs on it have shown what they take, and that
    much and half as much again is free.
    """

    def __init__(self, names: list[str], free: Callable[[int], int]) -> None:
        self.names, self.free = names, free  # free(k): bytes of the k-th
        self.before = [free(k) for k in range(len(names))]
        self.assigned: dict[str, str] = {}  # run -> GPU
        self.epochs: Counter[str] = Counter()  # of each run

    def assign(self, run: str, at_once: bool = False) -> str | None:
        """Give a run the GPU with most room; None where it has to wait for room, unless at once."""
        free = {name: self.free(k) for k, name in enumerate(self.names)}
        fitting = [
            name
            for before, name in zip(self.before, self.names, strict=True)
            if at_once or self._fits(name, before - free[name], free[name])
        ]
        if not fitting:
            return None
        here = Counter(self.assigned.values())
        self.assigned[run] = min(fitting, key=lambda name: (here[name], -free[name]))
        return self.assigned[run]

    def on_event(self, event: OfRun) -> None:
        """Note an epoch of a run, or its end."""
        match event:
            case Epoch(run):
                self.epochs[run] += 1
            case Finished(run) | Failed(run):
                del self.assigned[run], self.epochs[run]

    def _fits(self, name: str, taken: int, free: int) -> bool:
        here = [run for run, at in self.assigned.items() if at == name]
        known = all(self.epochs[run] >= MEMORY_KNOWN_AFTER for run in here)
        return not here or (known and free >= MARGIN * taken / len(here))
