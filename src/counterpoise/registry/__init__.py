"""The registry of losses, norms, samplers, models, metrics and more: one row per member.

The command line's help, the checks of a plan, the findings, the tables in the docs and the test
suites read these rows, none of which imports torch. A new member is one file in its family's folder
and one row here. Whatever has no row can be named as `package.module:name`.
"""

from counterpoise.registry._classical import CLASSICAL, REFERENCES
from counterpoise.registry._losses import (
    DEFAULT_LOSSES,
    LOSSES,
    MULTI_LABEL_LOSSES,
    table_of_losses,
)
from counterpoise.registry._member import Member, name_of, nearest, resolve, unknown
from counterpoise.registry._metrics import (
    BESIDE,
    METRICS,
    PRIMARY,
    Metric,
    metric,
    parameter_of,
    table_of_metrics,
)
from counterpoise.registry._nets import BACKBONES, MODELS, NORMS, PLAIN_NORMS
from counterpoise.registry._training import (
    AUGMENT_PARTS,
    AUGMENTS,
    MIXES,
    OPTIMIZERS,
    RETRAINS,
    SAMPLERS,
    SCHEDULES,
)

__all__ = [
    "AUGMENTS",
    "AUGMENT_PARTS",
    "BACKBONES",
    "BESIDE",
    "CLASSICAL",
    "DEFAULT_LOSSES",
    "LOSSES",
    "METRICS",
    "MIXES",
    "MODELS",
    "MULTI_LABEL_LOSSES",
    "NORMS",
    "OPTIMIZERS",
    "PLAIN_NORMS",
    "PRIMARY",
    "REFERENCES",
    "RETRAINS",
    "SAMPLERS",
    "SCHEDULES",
    "Member",
    "Metric",
    "metric",
    "name_of",
    "nearest",
    "parameter_of",
    "resolve",
    "table_of_losses",
    "table_of_metrics",
    "unknown",
]
