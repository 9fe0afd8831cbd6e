"""Which GPU the next run goes to: as many runs share one as its memory holds."""

from collections import Counter
from collections.abc import Callable
from typing import Any

SETTLED = 2  # rows of a run by which it has taken what it will: of the untrained net, and an epoch
MARGIN = 1.5  # what is kept free for a run, of what one was seen to take


class Gpus:
    """The GPUs, by the names that CUDA_VISIBLE_DEVICES knows.

    A GPU is given one run at first; another when all runs on it have shown what they take, and that
    much and half as much again is free.
    """

    def __init__(self, names: list[str], free: Callable[[int], int]) -> None:
        self.names, self.free = names, free  # free(k): bytes of the k-th
        self.before = [free(k) for k in range(len(names))]
        self.runs: dict[str, str] = {}  # run -> GPU
        self.heard: Counter[str] = Counter()  # rows of a run

    def place(self, run: str, at_once: bool = False) -> str | None:
        """Give a run the GPU with most room; None where it has to wait for room, unless at once."""
        free = {name: self.free(k) for k, name in enumerate(self.names)}
        fitting = [
            name
            for before, name in zip(self.before, self.names, strict=True)
            if at_once or self._fits(name, before - free[name], free[name])
        ]
        if not fitting:
            return None
        here = Counter(self.runs.values())
        self.runs[run] = min(fitting, key=lambda name: (here[name], -free[name]))
        return self.runs[run]

    def hear(self, run: str, kind: str, value: Any) -> None:
        """Note a message of a run, or its end."""
        if kind != "news":
            del self.runs[run], self.heard[run]
        elif "row" in value:
            self.heard[run] += 1

    def _fits(self, name: str, taken: int, free: int) -> bool:
        here = [run for run, at in self.runs.items() if at == name]
        settled = all(self.heard[run] >= SETTLED for run in here)
        return not here or (settled and free >= MARGIN * taken / len(here))
