"""Published faults, in dense nets on digits unless they need others."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from doctor_corpus import samples
from doctor_corpus.nets import CE, Call, binary, mlp, of_probabilities, of_probability, weights
from doctor_corpus.registry import Program, program

FORUM, STATS = "discuss.pytorch.org/t/", "stats.stackexchange.com/questions/"
AUTOTRAINER = "Zhang et al. 2021: AUTOTRAINER"
DEEPLOCALIZE = "Wardat et al. 2021: DeepLocalize"
DEEPFD = "Cao et al. 2022: DeepFD"
UMLAUT = "Schoop et al. 2021: UMLAUT"
NEURALINT = "Nikanjam et al. 2021: NeuraLint"
TAXONOMY = "Humbatova et al. 2020: taxonomy of real faults"
RECIPE = "Karpathy 2019: a recipe for training neural networks"


def small(net=None, loss=CE, lr=0.1, optimizer="sgd", change=lambda x, y: (x, y), meant=None):
    net = net or mlp(64, 64, 10)
    return Program(net, loss, *change(*samples.flat_digits()), lr, optimizer, meant=meant)


def of_others(make, net):
    """An optimizer of another net's weights."""
    return lambda _, lr: make(net.parameters(), lr=lr)


@program(FORUM + "43814", "mlp", "softmax before the loss")
def softmax_before_loss_low_rate():
    return small(mlp(64, 64, 10, last=[nn.Softmax(1)]), lr=0.01, meant=of_probabilities)


@program(FORUM + "43814", "mlp", "softmax before the loss")
def softmax_before_loss():
    return small(mlp(64, 64, 10, last=[nn.Softmax(1)]), lr=0.1, meant=of_probabilities)


@program(FORUM + "43814", "mlp", "dead units")
def weights_almost_all_negative():
    net = weights(mlp(64, 64, 64, 10), lambda w: nn.init.uniform_(w, -0.2, 0.0))
    return small(net, lr=0.01)


@program(UMLAUT, "mlp", "learning rate too high")
def rate_too_high_adam():
    return small(mlp(64, 64, 64, 10), lr=10.0, optimizer="adam")


@program(UMLAUT, "mlp", "learning rate too low")
def rate_too_low_adam():
    return small(lr=1e-7, optimizer="adam")


@program(UMLAUT, "mlp", "inputs: scale")
def images_up_to_255():
    return small(mlp(64, 64, 64, 10), change=lambda x, y: (255 * x, y), lr=0.1)


@program(UMLAUT, "mlp", "inputs: scale")
def images_up_to_255_adam():
    return small(change=lambda x, y: (255 * x, y), lr=1e-3, optimizer="adam")


@program(UMLAUT, "mlp", "dropout")
def dropout_of_95_percent():
    net = mlp(64, 64, 64, 10, between=[lambda: nn.Dropout(0.95)])
    return small(net, lr=0.01)


@program(UMLAUT, "mlp", "inputs: NaN")
def one_sample_is_nan():
    return small(change=lambda x, y: (x.index_fill(0, torch.tensor([7]), torch.nan), y))


@program(UMLAUT, "mlp")
def no_activations():
    """A linear net; digits need no more."""
    return small(mlp(64, 64, 64, 10, act=nn.Identity))


@program(AUTOTRAINER, "mlp", "the gradient vanishes")
def autotrainer_vanishing():
    net = weights(mlp(64, *[32] * 8, 10, act=nn.Sigmoid), nn.init.xavier_uniform_)
    return small(net, lr=0.01)


@program(AUTOTRAINER, "mlp", "the signal explodes")
def autotrainer_exploding():
    return small(weights(mlp(64, *[64] * 8, 10), partial(nn.init.normal_, std=1.0)), lr=0.01)


@program(AUTOTRAINER, "mlp", "dead units")
def autotrainer_dying_relu():
    """Adam at 0.2 on many layers."""
    return small(mlp(64, *[64] * 4, 10), lr=0.2, optimizer="adam")


@program(AUTOTRAINER, "mlp", "learning rate too high")
def autotrainer_oscillating():
    return small(mlp(64, 64, 64, 10), lr=3.0)


@program(AUTOTRAINER, "mlp", "learning rate too low")
def autotrainer_slow():
    return small(mlp(64, 64, 64, 10), lr=1e-5)


@program(DEEPLOCALIZE, "mlp", "NaN")
def log_of_zero():
    """p log p of a softmax that saturates, at a high rate."""
    net = mlp(64, 128, 10, last=[nn.Softmax(1)])

    def loss(p, y):
        return -p[torch.arange(len(y)), y].log().mean()

    return small(net, loss, 2.0, change=lambda x, y: (16 * x, y), meant=of_probabilities)


@program(DEEPLOCALIZE, "mlp", "dead units")
def relu_on_logits():
    net = mlp(64, 64, 10, last=[nn.ReLU()])
    nn.init.constant_(net[2].bias, -4.0)
    return small(net, lr=0.01)


@program(DEEPLOCALIZE, "mlp", "wrong loss")
def squared_error_of_class_numbers():
    def loss(output, y):
        return F.mse_loss(output[:, 0], y.to(output.dtype))

    return small(mlp(64, 64, 1, last=[nn.ReLU()]), loss, 0.05)


@program(DEEPLOCALIZE, "mlp", "constant output")
def softmax_of_one_unit():
    """Dense(1, softmax) with binary cross entropy: the output is always 1."""
    net = mlp(2, 16, 1, last=[nn.Softmax(1)])
    return Program(net, of_probability, *samples.moons(), 0.01, "adam")


@program(DEEPFD, "mlp", "learning rate too high")
def deepfd_rate():
    return small(mlp(64, *[64] * 3, 10), lr=1.0, optimizer="adam")


@program(DEEPFD, "mlp", "learning rate too low")
def deepfd_low_rate():
    x, y = samples.table("wine")
    return Program(mlp(13, 32, 3), CE, x, y, 1e-6, "adamw")


@program(DEEPFD, "mlp", "saturated units")
def deepfd_tanh_saturated():
    net = weights(mlp(64, 64, 64, 10, act=nn.Tanh), partial(nn.init.normal_, std=3.0))
    return small(net, lr=0.01)


@program(DEEPFD, "mlp")
def deepfd_sigmoid_on_hidden():
    return small(mlp(64, 64, 10, act=nn.Sigmoid), lr=0.01, optimizer="adam")


@program(NEURALINT, "mlp", "softmax before the loss")
def sigmoid_before_bce_with_logits():
    net = mlp(30, 16, 1, last=[nn.Sigmoid()])
    return Program(net, binary, *samples.table("breast_cancer"), 0.01, meant=of_probability)


@program(NEURALINT, "mlp", "constant output")
def last_relu_dead():
    net = mlp(13, 32, 3, last=[nn.ReLU()])
    nn.init.constant_(net[2].weight, -0.2)
    return Program(net, CE, *samples.table("wine"), 0.01)


@program(NEURALINT, "mlp", "symmetric weights")
def weights_constant():
    net = weights(mlp(64, 64, 64, 10), partial(nn.init.constant_, val=0.1))
    return small(net, lr=0.01)


@program(TAXONOMY, "mlp", "targets: random")
def labels_shuffled():
    return small(mlp(64, 32, 10), lr=0.02, change=lambda x, y: (x, y[torch.randperm(len(y))]))


@program(TAXONOMY, "mlp", "targets: one class")
def one_class():
    return small(change=lambda x, y: (x, torch.zeros_like(y)))


@program(TAXONOMY, "mlp", "wrong sign")
def loss_with_wrong_sign():
    return small(loss=lambda output, y: -F.cross_entropy(output, y), lr=0.01, meant=CE)


@program(TAXONOMY, "mlp", "no gradient")
def all_frozen():
    return small(mlp(64, 64, 10).requires_grad_(False))


@program(TAXONOMY, "mlp", "parameters no optimizer holds")
def optimizer_of_another_net():
    return small(optimizer=of_others(torch.optim.SGD, mlp(64, 64, 10)))


@program(TAXONOMY, "mlp", "weight decay")
def weight_decay_of_ten():
    return small(optimizer=partial(torch.optim.SGD, weight_decay=10.0), lr=0.05)


@program(TAXONOMY, "mlp", "inputs: constant")
def inputs_all_zero():
    return small(change=lambda x, y: (torch.zeros_like(x), y))


@program(RECIPE, "mlp", "samples mixed")
def reshaped_instead_of_transposed():
    """(N, 64) is read as (64, N) and back, which mixes the samples."""
    mix = Call(lambda _, x: x.reshape(64, -1).t())
    return small(nn.Sequential(mix, *mlp(64, 64, 10)), lr=0.1)


@program(RECIPE, "mlp", "softmax before the loss")
def softmax_over_the_batch():
    return small(mlp(64, 64, 10, last=[nn.Softmax(0)]), lr=0.1)


@program(RECIPE, "mlp", "dropout")
def dropout_of_everything():
    return small(mlp(64, 64, 10, between=[lambda: nn.Dropout(1.0)]))


@program(RECIPE, "mlp", "constant loss")
def loss_clamped():
    """The clamp is above all losses of an untrained net's samples, so no gradient is left."""

    def loss(output, y):
        return F.cross_entropy(output, y).clamp(max=0.5)

    return small(loss=loss, meant=CE)


@program(RECIPE, "mlp")
def one_small_batch():
    """The advice to overfit one batch."""
    x, y = samples.flat_digits(16)
    return Program(mlp(64, 64, 10), CE, x, y, 0.1, batch_size=16)


@program("Stack Overflow: input divided by 255 twice", "mlp", "inputs: scale")
def divided_by_255_twice():
    return small(change=lambda x, y: (x / 255, y), lr=0.01)


@program("PyTorch documentation: Tensor.detach", "mlp", "no gradient")
def detached_output():
    return small(nn.Sequential(mlp(64, 64, 10), Call(lambda _, x: x.detach())))


@program("PyTorch documentation: Tensor.detach", "mlp")
def detached_hidden():
    """The last layer still trains on random features, and that suffices."""
    net = nn.Sequential(*mlp(64, 64, 64), nn.ReLU(), Call(lambda _, x: x.detach()))
    return small(nn.Sequential(net, nn.Linear(64, 10)))


@program("PyTorch documentation: torch.argmax", "mlp", "no gradient")
def argmax_in_forward():
    net = nn.Sequential(mlp(64, 64, 10), Call(lambda _, x: x.argmax(1).to(x.dtype)))
    return small(net, lambda output, y: F.mse_loss(output, y.to(output.dtype)))


@program("PyTorch documentation: BatchNorm1d.eval", "mlp", "batch norm in eval")
def batch_norm_with_foreign_statistics():
    class Frozen(nn.BatchNorm1d):
        def train(self, mode=True):
            return super().train(False)

    norm = Frozen(64)
    norm.running_mean.fill_(40.0)
    norm.eval()
    return small(nn.Sequential(nn.Linear(64, 64), norm, nn.ReLU(), nn.Linear(64, 10)), lr=0.01)
