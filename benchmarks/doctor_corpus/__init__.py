"""Training programs, sound and faulty ones, on which `counterpoise.doctor` is judged."""

from doctor_corpus import dense, faults, images, language, regression, sequences, tables  # noqa: F401
from doctor_corpus.registry import PROGRAMS

__all__ = ["PROGRAMS"]
