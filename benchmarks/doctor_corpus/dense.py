"""Dense nets on digits and on points in the plane, as they are published."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from doctor_corpus import samples
from doctor_corpus.nets import (
    BCE,
    CE,
    Call,
    Residual,
    binary,
    mlp,
    of_probabilities,
    one_hot_mse,
    weights,
)
from doctor_corpus.registry import Program, program

momentum = partial(torch.optim.SGD, momentum=0.9)
glorot = nn.init.xavier_uniform_


@program("keras.io examples: mnist_mlp", "mlp")
def keras_mnist_mlp():
    net = weights(mlp(64, 128, 128, 10, between=[lambda: nn.Dropout(0.2)]), glorot)
    return Program(net, CE, *samples.flat_digits(), 0.001, torch.optim.RMSprop, 128)


@program("keras.io: Dense(10, softmax) and categorical cross entropy", "mlp")
def keras_softmax_and_log():
    """The loss is that of probabilities, as in Keras, so the softmax belongs there."""
    net = weights(mlp(64, 64, 10, last=[nn.Softmax(1)]), glorot)
    x, y = samples.flat_digits()
    return Program(net, of_probabilities, x, y, 0.001, "adam")


@program("scikit-learn: MLPClassifier's defaults", "mlp")
def sklearn_mlp_classifier():
    net = weights(mlp(64, 100, 10), glorot)
    adam = partial(torch.optim.Adam, weight_decay=1e-4)
    return Program(net, CE, *samples.flat_digits(), 0.001, adam, 200)


@program("scikit-learn: MLPClassifier's defaults", "mlp")
def sklearn_mlp_classifier_sgd():
    net = weights(mlp(64, 100, 10), glorot)
    sgd = partial(torch.optim.SGD, momentum=0.9, nesterov=True)
    return Program(net, CE, *samples.flat_digits(), 0.001, sgd, 200)


@program("scikit-learn: MLPClassifier(hidden_layer_sizes=(5, 2)), user guide", "mlp")
def sklearn_user_guide():
    net = weights(mlp(4, 5, 2, 3), glorot)
    return Program(net, CE, *samples.table("iris"), 0.001, "adam", 150)


@program("d2l.ai: softmax regression", "mlp")
def d2l_softmax_regression():
    return Program(nn.Linear(64, 10), CE, *samples.flat_digits(), 0.1, batch_size=256)


@program("d2l.ai: multilayer perceptrons", "mlp")
def d2l_mlp():
    net = weights(mlp(64, 256, 10), partial(nn.init.normal_, std=0.01))
    return Program(net, CE, *samples.flat_digits(), 0.1, batch_size=256)


@program("d2l.ai: dropout", "mlp")
def d2l_dropout():
    net = mlp(64, 256, 256, 10, between=[lambda: nn.Dropout(0.5)])
    return Program(net, CE, *samples.flat_digits(), 0.1, batch_size=256)


@program("PyTorch tutorials: Quickstart", "mlp")
def pytorch_quickstart():
    return Program(mlp(64, 128, 128, 10), CE, *samples.flat_digits(), 1e-3, batch_size=64)


@program("PyTorch tutorials: torch.nn really", "mlp")
def pytorch_nn_tutorial():
    return Program(nn.Linear(64, 10), CE, *samples.flat_digits(), 0.5, batch_size=64)


@program("Nielsen 2015: Neural Networks and Deep Learning, chapter 1", "mlp")
def nielsen_quadratic_cost():
    net = weights(
        mlp(64, 30, 10, act=nn.Sigmoid, last=[nn.Sigmoid()]), nn.init.normal_, nn.init.normal_
    )

    def loss(output, y):
        return 5 * one_hot_mse(output, y)

    return Program(net, loss, *samples.flat_digits(), 3.0, batch_size=10)


@program("Nielsen 2015: Neural Networks and Deep Learning, chapter 3", "mlp")
def nielsen_cross_entropy():
    net = weights(mlp(64, 30, 10, act=nn.Sigmoid), nn.init.normal_, nn.init.normal_)

    def loss(out, y):
        return 10 * BCE(out, F.one_hot(y, 10).to(out.dtype))

    return Program(net, loss, *samples.flat_digits(), 0.5, batch_size=10)


@program("TensorFlow Playground: circle", "mlp")
def playground_circle():
    return Program(mlp(2, 4, 2, 1, act=nn.Tanh), binary, *samples.rings(), 0.03, batch_size=10)


@program("TensorFlow Playground: spiral", "mlp")
def playground_spiral():
    x, y = samples.spirals()
    features = torch.cat([x, x**2, x[:, :1] * x[:, 1:], x.sin()], 1)
    return Program(mlp(7, 8, 8, 1, act=nn.Tanh), binary, features, y, 0.03, batch_size=10)


@program("CS231n: a minimal neural network case study", "mlp")
def cs231n_spiral():
    """Full batches of 300 points."""
    net = weights(mlp(2, 100, 3), partial(nn.init.normal_, std=0.01))
    return Program(net, CE, *samples.spirals(300, 0.6, 3), 1.0, batch_size=300)


@program("Klambauer et al. 2017: self-normalizing neural networks", "mlp")
def selu():
    init = partial(nn.init.kaiming_normal_, nonlinearity="linear")
    net = weights(mlp(64, *[64] * 12, 10, act=nn.SELU), init)
    return Program(net, CE, *samples.flat_digits(), 0.01)


@program("Glorot & Bengio 2010: understanding the difficulty", "mlp")
def glorot_tanh():
    net = weights(mlp(64, *[64] * 5, 10, act=nn.Tanh), glorot)
    return Program(net, CE, *samples.flat_digits(), 0.05, batch_size=10)


@program("Glorot & Bengio 2010: understanding the difficulty", "mlp", "the gradient vanishes")
def glorot_sigmoid():
    """Standard initialization, uniform within 1 / sqrt(fan in), and the sigmoid."""

    def init(w):
        return nn.init.uniform_(w, -(w.shape[1] ** -0.5), w.shape[1] ** -0.5)

    net = weights(mlp(64, *[64] * 5, 10, act=nn.Sigmoid), init)
    return Program(net, CE, *samples.flat_digits(), 0.05, batch_size=10)


@program("Saxe et al. 2014: exact solutions for deep linear networks", "mlp")
def orthogonal_linear():
    net = weights(mlp(64, *[64] * 10, 10, act=nn.Identity), nn.init.orthogonal_)
    return Program(net, CE, *samples.flat_digits(), 0.01)


@program("Srivastava et al. 2015: highway networks", "mlp")
def highway():
    def layer():
        gate = nn.Linear(48, 48)
        nn.init.constant_(gate.bias, -2.0)

        def forward(m, x):
            return x + m.gate(x).sigmoid() * (m.plain(x).relu() - x)

        return Call(forward, plain=nn.Linear(48, 48), gate=gate)

    net = nn.Sequential(nn.Linear(64, 48), *(layer() for _ in range(12)), nn.Linear(48, 10))
    return Program(net, CE, *samples.flat_digits(), 0.05, momentum)


@program("He et al. 2016: identity mappings", "mlp")
def residual_mlp():
    blocks = [
        Residual(nn.Sequential(nn.LayerNorm(48), *mlp(48, 96, 48, act=nn.GELU))) for _ in range(6)
    ]
    net = nn.Sequential(nn.Linear(64, 48), *blocks, nn.LayerNorm(48), nn.Linear(48, 10))
    return Program(net, CE, *samples.flat_digits(), 1e-3, "adamw")


@program("Tolstikhin et al. 2021: MLP-Mixer", "mlp")
def mixer():
    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Sequential(nn.LayerNorm(16), *mlp(16, 32, 16, act=nn.GELU))
            self.channels = nn.Sequential(nn.LayerNorm(24), *mlp(24, 48, 24, act=nn.GELU))

        def forward(self, x):
            x = x + self.tokens(x.mT).mT
            return x + self.channels(x)

    mean = Call(lambda _, x: x.mean(1))
    patches = nn.Sequential(nn.Unfold(2, stride=2), Call(lambda _, x: x.mT), nn.Linear(4, 24))
    net = nn.Sequential(patches, Mixer(), Mixer(), nn.LayerNorm(24), mean, nn.Linear(24, 10))
    return Program(net, CE, *samples.digits(512), 1e-3, "adam")


@program("Ioffe & Szegedy 2015: batch normalization", "mlp")
def batch_norm_sigmoid():
    layers = []
    for i in range(3):
        layers += [nn.Linear(64 if not i else 100, 100), nn.BatchNorm1d(100), nn.Sigmoid()]
    return Program(
        nn.Sequential(*layers, nn.Linear(100, 10)), CE, *samples.flat_digits(), 0.1, batch_size=60
    )


@program("scikit-learn: classifier comparison, two moons", "mlp")
def moons_mlp():
    return Program(mlp(2, 100, 2), CE, *samples.moons(), 0.001, "adam", 100)


@program("DeepLearning.AI: planar data classification", "mlp")
def planar_flower():
    """One hidden layer of tanh, weights of 0.01, a high learning rate, full batches."""
    net = weights(mlp(2, 4, 1, act=nn.Tanh), lambda w: nn.init.normal_(w, std=0.01))
    return Program(net, binary, *samples.rings(400), 1.2, batch_size=400)


@program("DeepLearning.AI: initialization", "mlp", "symmetric weights")
def initialized_with_zeros():
    net = weights(mlp(2, 10, 5, 1), nn.init.zeros_)
    return Program(net, binary, *samples.rings(300), 0.01, batch_size=300)


@program("DeepLearning.AI: initialization", "mlp", "the signal explodes")
def initialized_ten_times_too_large():
    net = weights(mlp(2, 10, 5, 1), partial(nn.init.normal_, std=10.0))
    return Program(net, binary, *samples.rings(300), 0.01, batch_size=300)


@program("DeepLearning.AI: initialization", "mlp")
def initialized_by_he():
    net = weights(mlp(2, 10, 5, 1), nn.init.kaiming_normal_)
    return Program(net, binary, *samples.rings(300), 0.01, batch_size=300)


@program("Barak et al. 2022: hidden progress, parity", "mlp", "late start")
def parity_of_five():
    return Program(mlp(20, 100, 2), CE, *_parity_among(20, 5), 0.1)


@program("Barak et al. 2022: hidden progress, parity", "mlp")
def parity_of_two():
    return Program(mlp(20, 100, 2), CE, *_parity_among(20, 2), 0.1)


@program("Minsky & Papert 1969: parity of all bits", "mlp", "late start")
def parity_of_all_bits():
    return Program(mlp(5, 32, 2, act=nn.Tanh), CE, *samples.parity(5), 0.05)


@program("Minsky & Papert 1969: parity of all bits", "mlp", "too small a net")
def parity_without_hidden_layer():
    return Program(nn.Linear(2, 2), CE, *samples.parity(2), 0.1)


@program("CS231n: weight initialization, deep tanh nets", "mlp", "the signal vanishes")
def deep_tanh_small_weights():
    net = weights(mlp(64, *[64] * 8, 10, act=nn.Tanh), partial(nn.init.normal_, std=0.02))
    return Program(net, CE, *samples.flat_digits(), 0.1)


@program("Zhang et al. 2017: rethinking generalization", "mlp", "targets: random")
def random_labels():
    x, y = samples.flat_digits(1797)
    return Program(mlp(64, 16, 10), CE, x, y[torch.randperm(len(y))], 0.05)


@program("Zhang et al. 2017: rethinking generalization", "mlp", "targets: random")
def random_inputs():
    x, y = samples.flat_digits(1797)
    return Program(mlp(64, 24, 10), CE, torch.randn_like(x), y, 1e-3, "adam")


def _parity_among(bits, relevant):
    x, _ = samples.parity(bits, 1024)
    return x, (x[:, :relevant].prod(1) > 0).long()
