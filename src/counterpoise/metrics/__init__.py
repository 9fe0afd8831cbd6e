"""Metrics of one set of predictions: numbers in, numbers out, without torch.

`score` judges predicted classes; `evaluate` judges logits, which say how sure the net was as well.
"""

from counterpoise.metrics._adjust import adjust
from counterpoise.metrics._confusion import dense_confusion
from counterpoise.metrics._evaluation import Evaluation, evaluate
from counterpoise.metrics._scores import Scores, score

__all__ = ["Evaluation", "Scores", "adjust", "dense_confusion", "evaluate", "score"]
