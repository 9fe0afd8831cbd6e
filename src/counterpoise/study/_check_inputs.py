"""Checks of what a plan does to the samples that are trained on: augmentation and mixing."""

from counterpoise import registry
from counterpoise.study._check_words import check_word, shown
from counterpoise.study.settings import Training


def check_augment(word: str) -> None:
    """Refuse an unknown augmentation, also among those that are joined by "+".

    Raises:
        ValueError: it is one; the message has the nearest word.
    """
    if "+" not in word or ":" in word or word in registry.AUGMENTS:
        check_word("training.augment", word, ("auto", *registry.AUGMENTS))
        return
    for part in word.split("+"):
        check_word("a part of training.augment", part, registry.AUGMENT_PARTS, imports=False)


def check_mix(t: Training) -> None:
    """Refuse mixing where nets are trained together, in loops that do not mix.

    Raises:
        ValueError: it is asked for there.
    """
    if t.mix != "none" and (t.head_alone or t.stack_seeds):
        raise ValueError(
            "training.mix is of nets that are trained as a whole and alone, but here are heads on "
            f"vectors or features, or stack_seeds, with mix = {shown(t.mix)}; set it to 'none'"
        )
