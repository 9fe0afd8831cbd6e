"""Checks of what a plan does to the samples that are trained on: augmentation."""

from counterpoise import registry
from counterpoise.study._check_words import check_word


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
