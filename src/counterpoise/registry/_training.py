"""Rows of how nets are trained: samplers, augmentation, optimizers, schedules."""

from counterpoise.registry._member import Member

_SAMPLERS = "counterpoise.samplers"
SAMPLERS: dict[str, Member] = {
    "shuffle": Member(f"{_SAMPLERS}._shuffle:ShuffleSampler", "every sample once an epoch"),
    "balanced": Member(
        f"{_SAMPLERS}._balanced:BalancedSampler",
        "every class equally often",
        settings=("num_samples",),
    ),
    "square_root": Member(
        f"{_SAMPLERS}._square_root:SquareRootSampler",
        "a class as often as the square root of its size",
        "",
        "1805.00932",
        settings=("num_samples",),
    ),
    "progressive": Member(
        f"{_SAMPLERS}._progressive:ProgressiveSampler",
        "from shuffle to balanced over the training",
        "",
        "1910.09217",
        needs=("epochs",),
        settings=("num_samples",),
    ),
}

_TRAIN = "counterpoise.train"
AUGMENTS: dict[str, Member] = {
    "none": Member("", "the samples as they are"),
    "flip": Member(f"{_TRAIN}._augment:flip", "mirrored left to right, one in two"),
    "crop": Member(f"{_TRAIN}._augment:crop", "shifted by up to an eighth"),
    "flip+crop": Member(f"{_TRAIN}._augment:flip_and_crop", "both"),
    "trivial_augment": Member(
        f"{_TRAIN}._auto_augment:trivial_augment", "one random operation", "", "2103.10158"
    ),
    "rand_augment": Member(
        f"{_TRAIN}._auto_augment:rand_augment", "two random operations", "", "1909.13719"
    ),
}
AUGMENT_PARTS = tuple(name for name in AUGMENTS if name != "none" and "+" not in name)  # of "a+b"
OPTIMIZERS: dict[str, Member] = {
    "sgd": Member("", "SGD with momentum"),
    "adamw": Member("", "AdamW", paper="1711.05101"),
}
SCHEDULES: dict[str, Member] = {
    "cosine": Member(
        f"{_TRAIN}._schedule:cosine", "down to 0 along half a cosine", "", "1608.03983"
    ),
    "constant": Member(f"{_TRAIN}._schedule:constant", "one learning rate"),
}
MIXES: dict[str, Member] = {
    "none": Member("", "each sample by itself"),
    "mixup": Member(f"{_TRAIN}._mixup:mixup", "the mean of two samples", "", "1710.09412"),
    "cutmix": Member(
        f"{_TRAIN}._cutmix:cutmix", "an image with a box of another one", "", "1905.04899"
    ),
    "remix": Member(
        f"{_TRAIN}._mixup:remix", "mixup with the label of the rarer class", "", "2007.03943"
    ),
}
RETRAINS: dict[str, Member] = {
    "none": Member("", "one stage"),
    "crt": Member(f"{_TRAIN}._retrain:renewed", "then a new head", "", "1910.09217"),
    "lws": Member(
        f"{_TRAIN}._retrain:Scaled",
        "then a factor a class on the head's weights",
        "z_j = s_j (w_j·x + b_j)",
        "1910.09217",
    ),
}
