"""Signs of a cause that are seen before any training, in samples, net, loss or optimizer."""

from dataclasses import dataclass

NOT_FINITE = "the inputs hold values that are not finite"
TARGET_NOT_FINITE = "the targets hold values that are not finite"
ALL_EQUAL = "the inputs are the same for all samples"
SCALE = "the inputs are far from a scale of 1"
TARGET_SCALE = "the targets are far from a scale of 1"
SYMMETRIC = "the units of a layer start alike"
ONE_TARGET = "the targets are the same for all samples"
OUTSIDE = "the targets are outside the outputs"
UNHELD = "no optimizer holds the parameters"
NO_GRADIENT = "no gradient reaches the parameters"
NOT_A_NUMBER = "values become not a number"
DECAY = "the weight decay is stronger than the loss"
DROPPED = "dropout leaves nothing"
TWICE = "the net ends in a softmax or sigmoid that the loss contains"
WRONG_SIGN = "the loss has the wrong sign"
CONSTANT = "the loss is constant"
BROADCAST = "outputs and targets of different shapes are broadcast"
FOREIGN = "batch norm is in evaluation mode, with foreign statistics"
MIXED = "the net mixes samples"


@dataclass(frozen=True)
class Symptom:
    """A sign of a cause that is seen before the training.

    Attributes:
        cause: one of the words above.
        why: the numbers behind it, in a sentence.
        layer: where it is, or None.
        fatal: whether the net cannot learn with it, whatever the steps show.
        weak: whether sound nets show it, too: it counts where nothing else is seen.
    """

    cause: str
    why: str
    layer: str | None = None
    fatal: bool = False
    weak: bool = False
