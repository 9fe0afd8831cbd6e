"""Small nets that take a norm."""

from counterpoise.models._deeper_cnn import DeeperCNN

__all__ = ["DeeperCNN"]
