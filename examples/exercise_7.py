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
# # Exercise 7: normalization and imbalanced classes
#
# Two questions, one path from formula to answer:
#
# 1. Why does a deep CNN not learn, and what do layer and group normalization change?
# 2. What does the focal loss do for rare classes, and what does it only seem to do?
#
# Set `COUNTERPOISE_SMALL=1` to run everything in seconds, on fewer images.

# %%
# %matplotlib inline
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

from counterpoise import data, exercise, losses, metrics, models, norms, plots, probe, train

SMALL = "COUNTERPOISE_SMALL" in os.environ
fashion = data.fashion_mnist()
print(fashion.source)

# %% [markdown]
# ## 1. Normalization
#
# Both norms do the same to a different set of numbers: take away the mean $\mu$, divide by the
# standard deviation, then scale by $\gamma$ and shift by $\beta$, which are learned.
#
# $$ y = \gamma \cdot \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta $$
#
# `LayerNorm` takes $\mu$ and $\sigma^2$ over all features of a sample, `GroupNorm` over a group of
# its channels and all their pixels. Neither looks at the other samples of the batch. The readable
# formulas are in `counterpoise/kernels/*/reference.py`; here they are against torch's.

# %%
x = torch.randn(4, 32, 16, 16)
ours, torchs = norms.GroupNorm(4, 32), nn.GroupNorm(4, 32)
print("GroupNorm, largest difference:", (ours(x) - torchs(x)).abs().max().item())
ours, torchs = norms.LayerNorm([32, 16, 16]), nn.LayerNorm([32, 16, 16])
print("LayerNorm, largest difference:", (ours(x) - torchs(x)).abs().max().item())

# %% [markdown]
# ### Signal and gradient by layer
#
# Before any training, send a batch through a net of 16 convolutions and measure two quantities.
# The *visible share* of a layer's output is its variance over the images divided by its mean
# square: how much of the signal still depends on the image. The *gradient norm* is that of the
# layer's weights.

# %%
images = fashion.train.inputs[:64].float() / 255
targets = fashion.train.targets[:64]
kinds = {"plain": None, "LayerNorm": norms.ALL["layer"], "GroupNorm": norms.ALL["group"]}
flows = {}
for name, norm in kinds.items():
    torch.manual_seed(0)
    net = models.DeeperCNN(norm, convs_per_block=8)
    flows[name] = probe.first_step(net, nn.CrossEntropyLoss(), images, targets)
    print(f"{name:10} visible share at the logits {flows[name][-1]['visible_share']:.1e}")
plots.layer_flow(flows)

# %% [markdown]
# In the plain net the signal vanishes before the first step: its logits are the same for every
# image up to rounding, and the first layers receive next to no gradient. The consequence:

# %%
n = 2_000 if SMALL else 60_000
first = data.Split(fashion.train.inputs[:n], fashion.train.targets[:n])
test = data.Split(fashion.test.inputs[: n // 4], fashion.test.targets[: n // 4])
histories = {}
for name, norm in kinds.items():
    torch.manual_seed(0)
    net = models.DeeperCNN(norm, convs_per_block=8)
    histories[name] = train.fit(net, nn.CrossEntropyLoss(), first, test, epochs=1 if SMALL else 3)
    print(name, [f"{row['test_accuracy']:.3f}" for row in histories[name]])
plots.accuracy_curves(histories)

# %%
for finding in exercise.explain_norms(histories, flows, test_size=len(test)):
    print(finding.code, finding.text)

# %% [markdown]
# ## 2. Imbalanced classes
#
# Class $k$ gets $(k+1) \cdot 600$ training images: the rarest has a tenth of the most frequent.

# %%
largest = 300 if SMALL else 6_000
counts = data.imbalance_counts("linear", 10, largest)
rare = data.make_imbalanced(fashion.train, counts)
rare_test = data.make_imbalanced(fashion.test, [c // 6 for c in counts])
print(dict(zip(fashion.class_names, data.count_classes(rare.targets).tolist(), strict=True)))

# %% [markdown]
# The focal loss weighs every sample twice: by its class, $\alpha_t$, and by how wrong the net is,
# $(1 - p_t)^\gamma$.
#
# $$ \mathcal{L} = -\alpha_t \, (1 - p_t)^\gamma \, \log p_t $$
#
# There is a trap before training. The exercise divides $\alpha$ by its sum, so its entries are a
# tenth on average, and with them the loss and its gradient: at the same learning rate the focal net
# takes steps about ten times smaller than the cross-entropy net. That compares two losses *and*
# two step sizes. With $\alpha$ scaled to mean 1 only the losses differ.

# %%
alpha = sum(counts) / torch.tensor(counts, dtype=torch.float32)
criteria = {
    "cross entropy": nn.CrossEntropyLoss(),
    "focal, α sums to 1": losses.FocalLoss(2.0, alpha / alpha.sum(), reduction="batchmean"),
    "focal, α mean 1": losses.FocalLoss(2.0, alpha / alpha.mean(), reduction="batchmean"),
}
spread = torch.arange(64) * (len(rare) // 64)
gradients, scores = {}, {}
for name, criterion in criteria.items():
    torch.manual_seed(0)
    net = models.DeeperCNN()
    flow = probe.first_step(net, criterion, rare.inputs[spread].float() / 255, rare.targets[spread])
    gradients[name] = sum((layer["grad_norm"] or 0.0) ** 2 for layer in flow) ** 0.5
    train.fit(net, criterion, rare, rare_test, epochs=2 if SMALL else 10)
    scores[name] = metrics.score(rare_test.targets, train.predict(net, rare_test.inputs), 10)
    print(f"{name:20} first gradient {gradients[name]:.3f}, {scores[name].accuracy:.3f} right")

# %% [markdown]
# ### Comparison
#
# Rows are the true classes; the shade and the percentage are the share of that class.

# %%
baseline, summed, mean = criteria
pair = (baseline, mean)
plots.confusion_pair(scores[baseline], scores[mean], fashion.class_names, pair)

# %%
plots.recall_bars(scores, fashion.class_names)

# %% [markdown]
# The findings, computed from the numbers:

# %%
for name in (summed, mean):
    found = exercise.compare_losses(
        baseline, scores[baseline], name, scores[name], fashion.class_names
    )
    for finding in found:
        print(finding.code, finding.text)

# %%
small = (alpha / alpha.sum()).tolist()
for finding in exercise.explain_alpha(
    small, counts, list(gradients.values()), list(scores.values())
):
    print(finding.code, finding.text)
plt.close("all")
