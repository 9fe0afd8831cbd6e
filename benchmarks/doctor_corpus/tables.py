"""Nets on tables: columns of very different scale, categories, binary and multi-label targets."""

from functools import partial

import torch
from torch import nn

from doctor_corpus import samples
from doctor_corpus.nets import BCE, CE, MSE, Call, Residual, binary, mlp, of_probability
from doctor_corpus.registry import Program, program


class Embedded(nn.Module):
    """Embeddings of categories beside numbers, and a net on both."""

    def __init__(self, sizes, net, width=4):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        self.net = net

    def forward(self, categories, numbers):
        found = [e(c) for e, c in zip(self.embeddings, categories.T, strict=True)]
        return self.net(torch.cat([*found, numbers], 1))


def mixed(count=1024):
    """Two categories and three numbers; the class depends on both."""
    categories = torch.stack([torch.randint(12, (count,)), torch.randint(5, (count,))], 1)
    numbers, effect = torch.randn(count, 3), torch.randn(12)
    score = effect[categories[:, 0]] + (categories[:, 1] - 2) * numbers[:, 0] * 0.5 + numbers[:, 1]
    return (categories, numbers), (score > 0).long()


def labels(count=512):
    """Five labels that depend on 20 columns."""
    x = torch.randn(count, 20)
    return x, (x @ torch.randn(20, 5) > 1.0).float()


@program("keras.io examples: structured data classification from scratch", "table")
def keras_structured_data():
    net = Embedded((12, 5), mlp(11, 32, 1, between=[lambda: nn.Dropout(0.5)]))
    return Program(net, binary, *mixed(), 0.001, "adam")


@program("fast.ai: tabular learner", "table")
def fastai_tabular():
    def layer(i, o):
        return [nn.Linear(i, o, bias=False), nn.ReLU(), nn.BatchNorm1d(o)]

    net = nn.Sequential(*layer(11, 200), *layer(200, 100), nn.Linear(100, 2))
    return Program(Embedded((12, 5), net), CE, *mixed(), 1e-3, "adamw", 64)


@program("fast.ai: tabular learner", "table", "learning rate too high")
def fastai_tabular_high_rate():
    net = mlp(11, 100, 50, 2)
    return Program(Embedded((12, 5), net), CE, *mixed(), 1.0, "adamw", 64)


@program("Cheng et al. 2016: wide and deep", "table")
def wide_and_deep():
    deep = mlp(30, 32, 16, 1)
    net = Call(lambda m, x: m.wide(x) + m.deep(x), wide=nn.Linear(30, 1), deep=deep)
    return Program(net, binary, *samples.table("breast_cancer"), 0.01, "adam")


@program("Gorishniy et al. 2021: revisiting deep learning for tables", "table")
def tabular_resnet():
    blocks = [
        Residual(nn.Sequential(nn.BatchNorm1d(32), *mlp(32, 64, 32), nn.Dropout(0.1)))
        for _ in range(2)
    ]
    net = nn.Sequential(nn.Linear(13, 32), *blocks, nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    return Program(net, CE, *samples.table("wine"), 1e-3, "adamw")


@program("Machine Learning Mastery: Keras, iris", "table")
def iris_softmax():
    return Program(mlp(4, 8, 3), CE, *samples.table("iris", raw=True), 0.001, "adam", 5)


@program("Machine Learning Mastery: Keras, binary classification", "table")
def pima_like():
    """12 and 8 hidden units, a sigmoid and its cross entropy, columns as they are."""
    net = mlp(30, 12, 8, 1, last=[nn.Sigmoid()])
    x, y = samples.table("breast_cancer", raw=True)
    return Program(net, of_probability, x, y, 0.001, "adam", 10)


@program("scikit-learn: importance of feature scaling, wine", "table", "inputs: scale")
def wine_raw_sgd():
    return Program(mlp(13, 32, 3), CE, *samples.table("wine", raw=True), 0.1)


@program("scikit-learn: importance of feature scaling, wine", "table", "inputs: scale")
def wine_raw_sigmoid():
    x, y = samples.table("wine", raw=True)
    return Program(mlp(13, 32, 3, act=nn.Sigmoid), CE, x, y, 0.01)


@program("scikit-learn: importance of feature scaling, wine", "table")
def wine_scaled():
    return Program(mlp(13, 32, 3), CE, *samples.table("wine"), 0.1)


@program("Google ML crash course: numerical data", "table", "inputs: scale")
def columns_of_a_million():
    x, y = samples.table("breast_cancer")
    return Program(mlp(30, 32, 1), binary, x * 10 ** torch.linspace(-2, 6, 30), y, 0.01)


@program("Google ML crash course: numerical data", "table", "inputs: scale")
def informative_columns_tiny():
    """One irrelevant column of 1e4 beside useful ones of 1e-2."""
    x, y = samples.table("breast_cancer")
    x = torch.cat([x * 1e-2, 1e4 * torch.randn(len(x), 1)], 1)
    return Program(mlp(31, 32, 1), binary, x, y, 1e-3)


@program("Google ML crash course: numerical data", "table")
def columns_standardized():
    return Program(mlp(30, 32, 1), binary, *samples.table("breast_cancer"), 0.01)


@program("pandas documentation: missing data", "table", "inputs: NaN")
def missing_values():
    x, y = samples.table("breast_cancer")
    return Program(mlp(30, 16, 2), CE, x.masked_fill(torch.rand_like(x) < 0.01, torch.nan), y, 0.05)


@program("pandas documentation: missing data", "table")
def missing_values_filled():
    x, y = samples.table("breast_cancer")
    return Program(mlp(30, 16, 2), CE, x.masked_fill(torch.rand_like(x) < 0.01, 0.0), y, 0.05)


@program("scikit-learn: multilabel classification", "multi-label")
def multi_label():
    return Program(mlp(20, 64, 5), BCE, *labels(), 0.01, "adam")


@program("scikit-learn: multilabel classification", "multi-label")
def multi_label_sgd():
    return Program(mlp(20, 64, 5), BCE, *labels(), 0.5)


@program("PyTorch documentation: BCEWithLogitsLoss", "multi-label", "learning rate too high")
def multi_label_high_rate():
    return Program(mlp(20, 64, 64, 5), BCE, *labels(), 500.0)


@program("PyTorch documentation: BCEWithLogitsLoss", "multi-label", "targets: one class")
def multi_label_all_zero():
    x, y = labels()
    return Program(mlp(20, 64, 5), BCE, x, torch.zeros_like(y), 0.1)


@program("PyTorch documentation: Embedding.padding_idx", "table", "inputs: constant")
def only_the_unknown_category():
    (categories, numbers), y = mixed()
    inputs = torch.zeros_like(categories), torch.zeros_like(numbers)
    return Program(Embedded((12, 5), mlp(11, 32, 2)), CE, inputs, y, 0.01, "adam")


@program("Zaheer et al. 2017: deep sets", "set")
def deep_sets():
    net = nn.Sequential(mlp(2, 32, 32), nn.ReLU(), Call(lambda _, x: x.sum(1)), *mlp(32, 32, 2))
    return Program(net, CE, *samples.sets(), 1e-3, "adam")


@program("Zaheer et al. 2017: deep sets", "set")
def deep_sets_sum():
    """The sum of the numbers of a set."""
    x = torch.randint(1, 10, (512, 8, 1)).float()
    net = nn.Sequential(mlp(1, 32, 32), nn.ReLU(), Call(lambda _, x: x.sum(1)), nn.Linear(32, 1))
    return Program(net, MSE, x, x.sum(1), 1e-3, "adam")


@program("Zaheer et al. 2017: deep sets", "set", "learning rate too high")
def deep_sets_sum_high_rate():
    x = torch.randint(1, 10, (512, 8, 1)).float()
    net = nn.Sequential(mlp(1, 32, 32), nn.ReLU(), Call(lambda _, x: x.sum(1)), nn.Linear(32, 1))
    return Program(net, MSE, x, x.sum(1), 0.1)


@program("Qi et al. 2017: PointNet", "set")
def point_net():
    net = nn.Sequential(mlp(2, 32, 64), nn.ReLU(), Call(lambda _, x: x.amax(1)), *mlp(64, 32, 2))
    return Program(net, CE, *samples.sets(), 1e-3, "adam")


@program("Qi et al. 2017: PointNet", "set", "samples mixed")
def pooled_over_the_batch():
    """The maximum over samples instead of points, so that all samples get the same output."""
    pool = Call(lambda _, x: x.amax(0).amax(0).expand(len(x), -1))
    net = nn.Sequential(mlp(2, 32, 64), nn.ReLU(), pool, *mlp(64, 32, 2))
    return Program(net, CE, *samples.sets(), 1e-3, "adam")


@program("Kendall et al. 2018: multi-task learning", "table")
def two_heads():
    """One output of classes and one of numbers."""
    x, y = samples.table("wine")
    net = Call(
        lambda m, x: (m.classes(m.trunk(x)), m.numbers(m.trunk(x))),
        trunk=nn.Sequential(*mlp(13, 32), nn.ReLU()),
        classes=nn.Linear(32, 3),
        numbers=nn.Linear(32, 1),
    )

    def loss(out, y):
        return CE(out[0], y[0]) + MSE(out[1], y[1])

    return Program(net, loss, x, (y, x[:, :1] * x[:, 1:2]), 0.01, partial(torch.optim.Adam))
