"""Features of images: what a frozen net makes of them, computed once and kept in the cache."""

from counterpoise.features._embed import embed

__all__ = ["embed"]
