# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a folder of images to predictions
#
# A folder with a folder a class is compared, the best model is exported, and it answers for new
# images. Put your own folder in the place of `photos`; the rest stays as it is.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import counterpoise
from counterpoise import data
from counterpoise.export import Wanted, export
from counterpoise.study import Training

SMALL = "COUNTERPOISE_SMALL" in os.environ
home = Path(tempfile.mkdtemp())

# %% [markdown]
# The folder: scikit-learn's digits as files, from 100 nines down to 8 zeros. Others are kept aside
# as the new ones, about as many of each.

# %%
digits = data.digits()
every = data.joined(digits.train, digits.test)
order = torch.randperm(len(every), generator=torch.Generator().manual_seed(0))
sizes = data.imbalance_counts("exponential", 10, largest=100, factor=12)
rare = data.make_imbalanced(every.take(order[:1200]), sizes)
for split, folder in ((rare, "photos"), (every.take(order[1200:]), "new")):
    for k, (image, target) in enumerate(zip(split.inputs, split.targets, strict=True)):
        place = home / folder / digits.class_names[target]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place / f"{k}.png")

# %% [markdown]
# ## Compare
#
# Cross entropy with two losses for imbalanced classes, over some seeds; settings that are left out
# are decided by the data.

# %%
study = counterpoise.compare(
    home / "photos",
    losses=["cross_entropy", "logit_adjusted", "weighted"],
    seeds=2 if SMALL else 5,
    training=Training("mlp", epochs=3, lr=0.1) if SMALL else None,
    out=home / "study",
    progress=False,
)
print(*study.verdicts(), sep="\n")

# %% [markdown]
# `study.report()` writes the whole comparison as a page. Here is what there is to know first:

# %%
for finding in counterpoise.findings.collect_findings(study)[:4]:
    print(f"{finding.code}  {finding.text}\n")

# %% [markdown]
# ## Export
#
# The model is taken by the verdicts. It may leave one image in fifty without an answer: the least
# certain ones.

# %%
done = export(study, home / "model", wanted=Wanted(abstain=0.02))
print(*done.lines, sep="\n")

# %% [markdown]
# ## Predict
#
# On any machine with counterpoise: the folder `model` is all that is needed.

# %%
model = counterpoise.load(home / "model")
answers = model.answers(home / "new")
classes = np.array([*model.classes, "no class"])
given = classes[model.decide(answers)]
truth = np.array(answers.labels)
recall = {name: (given[truth == name] == name).mean() for name in model.classes}
print(f"{len(given)} new images, balanced accuracy {np.mean(list(recall.values())):.1%}")
print(f"without an answer: {(given == 'no class').mean():.1%}")

# %% [markdown]
# The probabilities are those of the training data, in which zeros are rare. The new images have as
# many zeros as nines. Nobody has told the model, but it can find out, as long as each digit looks
# as in training:

# %%
print("in training:", (np.array(model.train_counts) / sum(model.train_counts)).round(3))
print("estimated:  ", np.round(model.estimate_prior(answers).shares, 3))
print("in truth:   ", np.round([(truth == name).mean() for name in model.classes], 3))

# %%
as_trained = np.exp(answers.log_p)
moved = np.exp(model.moved(answers, model.estimate_prior(answers).shares))
own = np.array([model.classes.index(name) for name in truth])
for words, p in (("as in training", as_trained), ("as estimated", moved)):
    loss = -np.log(p[np.arange(len(own)), own]).mean()
    print(f"class shares {words}: log-loss {loss:.3f}")
