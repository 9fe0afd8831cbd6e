"""A loss for imbalanced classes in a plain loop, with correct gradient accumulation."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from counterpoise.losses import ClassBalancedLoss, count_classes

images, labels = load_digits(return_X_y=True)
inputs = torch.tensor(images, dtype=torch.float32) / 16
targets = torch.tensor(labels)

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
criterion = ClassBalancedLoss(count_classes(targets), gamma=2.0)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)

for _ in range(20):
    for batch in torch.randperm(len(inputs)).split(256):
        optimizer.zero_grad()
        # A weighted mean of the whole batch is not the mean of its micro-batches' weighted means:
        whole = criterion.normalizer(targets[batch])
        for micro in batch.split(64):
            criterion(net(inputs[micro]), targets[micro], normalizer=whole).backward()
        optimizer.step()

accuracy = (net(inputs).argmax(1) == targets).float().mean().item()
print(f"accuracy {accuracy:.3f}")
