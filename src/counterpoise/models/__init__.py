"""Small nets that take a norm, and parts of nets."""

from counterpoise.models._deeper_cnn import DeeperCNN
from counterpoise.models._normed_linear import NormedLinear

__all__ = ["DeeperCNN", "NormedLinear"]
