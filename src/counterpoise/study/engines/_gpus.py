"""Assignment of runs to GPUs: as many share one as its memory holds."""

from collections import Counter
from collections.abc import Callable

from counterpoise.study.events import Epoch, Failed, Finished, OfRun

MEMORY_KNOWN_AFTER = 1  # `Epoch`s of a run, or of any in a process, that are of trained nets
MARGIN = 1.5  # what is kept free for a run, of what one was seen to take


class Gpus:
    """The GPUs, by the names that CUDA_VISIBLE_DEVICES knows.

    A GPU is given one run at first; another when all runs on it have shown what they take, and that
    much and half as much again is free.
    """

    def __init__(self, names: list[str], free: Callable[[int], int]) -> None:
        self.names, self.free = names, free  # free(k): bytes of the k-th
        self.each = 1  # GPUs of a run; of several, it has them to itself
        self.before = [free(k) for k in range(len(names))]
        self.assigned: dict[str, str] = {}  # run -> GPU
        self.epochs: Counter[str] = Counter()  # of each run

    def assign(self, run: str, at_once: bool = False) -> str | None:
        """Give a run the GPU with most room; None where it has to wait for room, unless at once."""
        if self.each > 1:
            return self._assign_several(run)
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

    def _assign_several(self, run: str) -> str | None:
        """Give a run GPUs that no other has: all, if it asks for more than there are."""
        taken = ",".join(self.assigned.values()).split(",")
        idle, number = [name for name in self.names if name not in taken], self.each
        if len(idle) < min(number, len(self.names)):
            return None
        self.assigned[run] = ",".join(idle[:number])
        return self.assigned[run]

    def on_event(self, event: OfRun) -> None:
        """Note an epoch of a run, or its end."""
        match event:
            case Epoch(run, row):
                self.epochs[run] += bool(row.get("epoch"))
            case Finished(run) | Failed(run):
                del self.assigned[run], self.epochs[run]

    def _fits(self, name: str, taken: int, free: int) -> bool:
        here = [run for run, at in self.assigned.items() if at == name]
        known = all(self.epochs[run] >= MEMORY_KNOWN_AFTER for run in here)
        return not here or (known and free >= MARGIN * taken / len(here))
