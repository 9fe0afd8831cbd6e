"""A loss for imbalanced classes as the criterion of skorch, in a scikit-learn grid search."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from torch import nn

from counterpoise.losses import LogitAdjustedLoss, count_classes

images, labels = load_digits(return_X_y=True)
images = (torch.tensor(images, dtype=torch.float32) / 16).numpy()

torch.manual_seed(0)
net = NeuralNetClassifier(
    nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)),
    criterion=LogitAdjustedLoss,
    criterion__counts=count_classes(labels),
    predict_nonlinearity=nn.Softmax(dim=-1),  # skorch adds it by itself for CrossEntropyLoss only
    optimizer=torch.optim.AdamW,
    lr=1e-2,
    max_epochs=10,
    verbose=0,
    train_split=None,
)
search = GridSearchCV(net, {"criterion__tau": [0.5, 1.0]}, cv=3, scoring="balanced_accuracy")
search.fit(images, labels)
print(f"accuracy {search.best_score_:.3f} at tau = {search.best_params_['criterion__tau']}")
