"""What a run was asked for is written as it always was: folders of studies before are found again.

The texts were printed by the version that first wrote format 1.
"""

import json

from counterpoise.study import Plan, Training, Variant, record
from counterpoise.study._runs import choose, final_runs
from counterpoise.study.spec import run_id

PLAN = Plan(
    "digits",
    norms=("group",),
    losses=("focal+drw",),
    variant=(
        Variant("none", "focal", settings={"gamma": 1, "alpha": (0.25, 2), "reduction": "mean"}),
    ),
    seeds=(3,),
    training=Training(
        "mlp", 32, epochs=2, lr=1, batch_size=64, augment="none", watch=("train", "validation")
    ),
)
IDS = ["group-focal+drw-shuffle-final-3-d8027863943e", "none-focal-shuffle-final-3-9850fbddf151"]
SPEC = """{
"data": "abababababababababababababababababababababababababababababababab",
"metric": "balanced_accuracy",
"seed": 3,
"sources": {},
"stage": "final",
"training": {"augment": "none", "batch_size": 64, "clip_norm": 0.0, "deferred": 0.8, "epochs": 2, \
"image_size": 32, "lr": 1.0, "model": "mlp", "momentum": 0.9, "optimizer": "sgd", \
"schedule": "cosine", "validation": 0.1, "warmup": 0.05, "watch": ["train", "validation"], \
"weight_decay": 0.0005},
"variant": {"loss": "focal", "norm": "none", "sampler": "shuffle", \
"settings": {"alpha": [0.25, 2], "gamma": 1, "reduction": "mean"}}
}
"""


def test_the_text_of_a_spec_and_the_names_of_runs_stay():
    specs = [run.spec.to_json() for run in final_runs(PLAN, "ab" * 32, choose(PLAN, {}))]
    assert [run_id(spec) for spec in specs] == IDS
    assert record.to_json(specs[1]) == SPEC
    assert run_id(json.loads(SPEC)) == IDS[1]
