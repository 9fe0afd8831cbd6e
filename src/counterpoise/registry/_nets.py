"""Rows of norms and models."""

from counterpoise.registry._member import Member

BACKBONES = ("timm:", "torchvision:")  # before the name of a pretrained net

_NORMS = "counterpoise.norms"
PLAIN_NORMS: dict[str, Member] = {  # in addition to this package's own
    "none": Member("", "no normalization"),
    "batch": Member(f"{_NORMS}._batch:for_shape", "torch's BatchNorm", paper="1502.03167"),
}
NORMS: dict[str, Member] = {
    "layer": Member(
        f"{_NORMS}._layer:for_shape", "over (C, H, W) of each sample", "", "1607.06450"
    ),
    "group": Member(
        f"{_NORMS}._group:for_shape",
        "over each of two groups of channels",
        paper="1803.08494",
        settings=("num_groups",),
    ),
    "rms": Member(f"{_NORMS}._rms:for_shape", "as layer, without the mean", paper="1910.07467"),
    "layer2d": Member(
        f"{_NORMS}._layer_2d:for_shape", "over the channels of each pixel", "", "2201.03545"
    ),
    "instance": Member(
        f"{_NORMS}._instance:for_shape", "over each channel of a sample", "", "1607.08022"
    ),
}

_MODELS = "counterpoise.models"
MODELS: dict[str, Member] = {
    "deeper_cnn": Member(f"{_MODELS}._deeper_cnn:for_shape", "the exercise's plain deep CNN"),
    "resnet8": Member(f"{_MODELS}._resnet:resnet8", "CIFAR's small ResNet", paper="1512.03385"),
    "resnet20": Member(f"{_MODELS}._resnet:resnet20", "CIFAR's ResNet-20", paper="1512.03385"),
    "mlp": Member(f"{_MODELS}._mlp:for_shape", "for vectors, as those of a table"),
    "linear": Member(f"{_MODELS}._heads:linear", "for vectors that a net has made of samples"),
    "cosine": Member(f"{_MODELS}._heads:cosine", "the same, by directions alone", "", "1801.09414"),
}
