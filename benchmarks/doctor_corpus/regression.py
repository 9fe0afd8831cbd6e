"""Regression, autoencoders and contrastive losses."""

import math
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from doctor_corpus import samples
from doctor_corpus.nets import MSE, Call, mlp, weights
from doctor_corpus.registry import Program, program

STATS = "stats.stackexchange.com/questions/"
NAMED = "PyTorch tutorials: learning PyTorch with examples"


@program(NAMED, "regression")
def sine_by_a_polynomial():
    """The public one: a sum of squares, full batches of 2000, a rate of 1e-6."""
    x = torch.linspace(-math.pi, math.pi, 2000)[:, None]
    powers = torch.cat([x, x**2, x**3], 1)
    return Program(nn.Linear(3, 1), nn.MSELoss(reduction="sum"), powers, x.sin(), 1e-6, "sgd", 2000)


@program(NAMED, "regression")
def sine_by_a_polynomial_rmsprop():
    x = torch.linspace(-math.pi, math.pi, 2000)[:, None]
    powers = torch.cat([x, x**2, x**3], 1)
    sum_of_squares = nn.MSELoss(reduction="sum")
    return Program(
        nn.Linear(3, 1), sum_of_squares, powers, x.sin(), 1e-3, torch.optim.RMSprop, 2000
    )


@program("d2l.ai: linear regression", "regression")
def d2l_linear_regression():
    x = torch.randn(1000, 2)
    y = x @ torch.tensor([[2.0], [-3.4]]) + 4.2 + 0.01 * torch.randn(1000, 1)
    return Program(nn.Linear(2, 1), MSE, x, y, 0.03)


@program("keras.io: Boston housing, Chollet 2017 chapter 3.6", "regression")
def chollet_housing():
    net = weights(mlp(10, 64, 64, 1), nn.init.xavier_uniform_)
    x, y = samples.friedman()
    return Program(net, MSE, x, 22 + 9 * y, 0.001, torch.optim.RMSprop)


@program("scikit-learn: MLPRegressor's defaults", "regression")
def sklearn_regressor():
    net = weights(mlp(10, 100, 1), nn.init.xavier_uniform_)
    return Program(net, MSE, *samples.table("diabetes"), 0.001, "adam", 200)


@program("TensorFlow tutorials: basic regression", "regression")
def tensorflow_regression():
    x, y = samples.friedman()
    net = nn.Sequential(nn.BatchNorm1d(10, affine=False), *mlp(10, 64, 64, 1))
    return Program(net, nn.L1Loss(), x, 23 + 8 * y, 0.001, "adam")


@program("Huber 1964: robust estimation", "regression")
def huber():
    x, y = samples.friedman()
    y = torch.where(torch.rand_like(y) < 0.02, 50 * y, y)
    return Program(mlp(10, 64, 1), nn.HuberLoss(), x, y, 0.05)


@program(STATS + "284189", "regression", "learning rate too high")
def one_raw_column():
    """A line through a column of some hundreds: SGD at 0.01 gives NaN."""
    x = 300 * torch.rand(200, 1)
    y = 0.05 * x + 7 + torch.randn(200, 1)
    return Program(nn.Linear(1, 1), MSE, x, y, 0.01, batch_size=1)


@program(STATS + "284189", "regression")
def one_raw_column_tiny_rate():
    x = 300 * torch.rand(200, 1)
    y = 0.05 * x + 7 + torch.randn(200, 1)
    return Program(nn.Linear(1, 1), MSE, x, y, 1e-7, batch_size=1)


@program(STATS + "418955", "regression", "targets: scale")
def unscaled_square():
    """Two linear layers of one unit on y = x² + 3 with x to 100."""
    x = torch.arange(100.0)[:, None]
    normed = (x - x.mean()) / x.std()
    return Program(mlp(1, 1, 1, act=nn.Identity), MSE, normed, x**2 + 3, 0.01)


@program(STATS + "418955", "regression")
def scaled_square():
    x = torch.arange(100.0)[:, None]
    y = x**2 + 3
    normed = (x - x.mean()) / x.std()
    return Program(mlp(1, 1, 1, act=nn.Identity), MSE, normed, (y - y.mean()) / y.std(), 0.01)


@program("stackoverflow.com/questions/52800582", "regression", "targets: scale")
def fourth_power():
    """Inputs to 100, targets to 1e8, a sigmoid and an ELU; Adam."""
    x = 200 * torch.rand(512, 1) - 100
    net = nn.Sequential(
        nn.Linear(1, 50), nn.Sigmoid(), nn.Linear(50, 50), nn.ELU(), nn.Linear(50, 1)
    )
    return Program(weights(net, nn.init.xavier_uniform_), MSE, x, x**4, 0.001, "adam")


@program(STATS + "433365", "regression")
def xor_by_relu():
    """The XOR of Goodfellow et al. 2016 with a ReLU on the output and the squared error."""
    x = torch.randint(2, (1024, 2)).float()
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1), nn.ReLU())
    y = (x[:, :1] != x[:, 1:]).float()
    return Program(weights(net, nn.init.xavier_uniform_), MSE, x, y, 0.01)


@program("ai.stackexchange.com/questions/28864", "regression", "dead units")
def sum_by_two_relus():
    """Five positive inputs, two hidden units with negative weights: both dead."""
    x = 10 * torch.rand(512, 5)
    net = weights(mlp(5, 2, 1), lambda w: nn.init.uniform_(w, -1, 0))
    return Program(net, MSE, x, x.sum(1, keepdim=True), 0.001)


@program("Lu et al. 2020: dying ReLU, deep and narrow", "regression", "dead units")
def narrow_and_deep():
    """Ten layers of two units, symmetric weights without biases: dead from the start."""
    x = 3.5 * (2 * torch.rand(512, 1) - 1)
    layers = [m for i in range(10) for m in (nn.Linear(2 if i else 1, 2), nn.ReLU())]
    net = weights(nn.Sequential(*layers, nn.Linear(2, 1)), nn.init.kaiming_normal_)
    return Program(net, MSE, x, x.abs(), 1e-3, "adam", 64)


@program("PyTorch documentation: MSELoss, broadcasting", "regression", "wrong loss")
def broadcast_targets():
    """(N, 1) less (N) is (N, N): every output is drawn to the mean of all targets."""
    x, y = samples.friedman()

    def loss(output, y):
        return (output - y).square().mean()

    def meant(output, y):
        return F.mse_loss(output[:, 0], y)

    return Program(mlp(10, 64, 1), loss, x, y[:, 0], 0.05, meant=meant)


@program("PyTorch documentation: Tanh", "regression", "targets: outside")
def tanh_on_targets_to_ten():
    x, y = samples.friedman()
    return Program(mlp(10, 64, 1, last=[nn.Tanh()]), MSE, x, 10 + 2 * y, 0.1)


@program("PyTorch documentation: Tanh", "regression")
def tanh_on_targets_to_one():
    x, y = samples.friedman()
    return Program(mlp(10, 64, 1, last=[nn.Tanh()]), MSE, x, 0.3 * y, 0.1)


@program("PyTorch documentation: sqrt", "regression", "NaN")
def root_of_zero():
    """The gradient of a root at 0 is infinite, that of the square 0: together NaN."""
    x, y = samples.friedman()
    x[:16] = 0.0
    root = Call(lambda _, x: x.square().sqrt())
    net = nn.Sequential(nn.Linear(10, 64, bias=False), root, nn.Linear(64, 1))
    return Program(net, MSE, x, y, 0.01)


@program(
    "Goodfellow et al. 2016: deep learning, chapter 8.2", "regression", "learning rate too high"
)
def exploding_regression():
    return Program(mlp(10, 64, 64, 1), MSE, *samples.friedman(), 2.0)


@program(
    "Goodfellow et al. 2016: deep learning, chapter 8.2", "regression", "learning rate too low"
)
def creeping_regression():
    return Program(mlp(10, 64, 64, 1), MSE, *samples.friedman(), 1e-6)


@program("Goodfellow et al. 2016: deep learning, chapter 8.2", "regression", "weight decay")
def decayed_regression():
    adam = partial(torch.optim.Adam, weight_decay=100.0)
    return Program(mlp(10, 64, 64, 1), MSE, *samples.friedman(), 1e-3, adam)


@program("Sitzmann et al. 2020: implicit representations", "regression")
def siren():
    class Sine(nn.Module):
        def forward(self, x):
            return (30 * x).sin()

    net = mlp(1, 64, 64, 1, act=Sine)
    nn.init.uniform_(net[0].weight, -1, 1)
    for layer in (net[2], net[4]):
        nn.init.uniform_(layer.weight, -((6 / 64) ** 0.5) / 30, (6 / 64) ** 0.5 / 30)
    x = torch.linspace(-1, 1, 512)[:, None]
    return Program(net, MSE, x, (20 * x).sin() * x.exp(), 1e-4, "adam", 256)


@program("Sitzmann et al. 2020: implicit representations", "regression", "late start")
def fast_wave_by_relu():
    x = torch.linspace(-1, 1, 512)[:, None]
    return Program(mlp(1, 64, 64, 1), MSE, x, (60 * x).sin(), 1e-3, "adam")


@program("Bishop 1994: mixture density, Gaussian likelihood", "regression")
def gaussian_likelihood():
    x, y = samples.friedman()

    def loss(out, y):
        return F.gaussian_nll_loss(out[:, :1], y, out[:, 1:].exp())

    return Program(mlp(10, 64, 2), loss, x, y, 1e-3, "adam")


@program("McCullagh & Nelder 1989: Poisson regression", "regression")
def poisson():
    x, y = samples.friedman()
    return Program(mlp(10, 32, 1), nn.PoissonNLLLoss(), x, torch.poisson((0.5 + y).exp()), 0.01)


@program("Koren et al. 2009: matrix factorization", "regression")
def matrix_factorization():
    users, items = torch.randint(40, (1024,)), torch.randint(30, (1024,))
    ratings = (torch.randn(40, 3)[users] * torch.randn(30, 3)[items]).sum(1)
    net = Call(
        lambda m, u, i: (m.users(u) * m.items(i)).sum(1),
        users=nn.Embedding(40, 8),
        items=nn.Embedding(30, 8),
    )
    return Program(net, MSE, (users, items), ratings, 0.01, "adam", 128)


@program("Koren et al. 2009: matrix factorization", "regression", "symmetric weights")
def matrix_factorization_from_zero():
    made = matrix_factorization()
    for p in made.net.parameters():
        nn.init.zeros_(p)
    return made


@program("Hinton & Salakhutdinov 2006: autoencoders", "autoencoder", "the gradient vanishes")
def deep_sigmoid_autoencoder():
    x, _ = samples.flat_digits()
    sizes = 64, 48, 32, 16, 8, 16, 32, 48, 64
    return Program(mlp(*sizes, act=nn.Sigmoid), MSE, x, x, 0.1)


@program("keras.io blog: building autoencoders", "autoencoder")
def keras_autoencoder():
    """One hidden layer, a sigmoid and the cross entropy of pixels."""
    x, _ = samples.flat_digits()
    return Program(mlp(64, 32, 64), nn.BCEWithLogitsLoss(), x, x, 0.001, "adam", 256)


@program("keras.io blog: building autoencoders", "autoencoder")
def convolutional_autoencoder():
    x, _ = samples.digits(512)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 4, 2, 1),
    )
    return Program(net, MSE, x, x, 1e-3, "adam")


@program("Kingma & Welling 2014; pytorch/examples: vae", "autoencoder")
def variational_autoencoder():
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = mlp(64, 64, 8), mlp(4, 64, 64)

        def forward(self, x):
            mean, log_variance = self.encode(x).chunk(2, 1)
            noise = torch.randn_like(mean) * (0.5 * log_variance).exp()
            return self.decode(mean + noise), mean, log_variance

    def loss(output, x):
        decoded, mean, log_variance = output
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        return F.binary_cross_entropy_with_logits(decoded, x, reduction="sum") + kl

    x, _ = samples.flat_digits()
    return Program(VAE(), loss, x, x, 1e-3, "adam", 128)


@program("Chen et al. 2020: SimCLR", "contrastive")
def simclr():
    """Two noisy views of each digit; the loss is that of NT-Xent between views."""
    x, _ = samples.flat_digits(256)
    views = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
    return Program(_two_towers(mlp(64, 64, 16)), _info_nce, views, x[:, 0], 1e-3, "adam", 64)


@program("Chen et al. 2020: SimCLR", "contrastive", "targets: random")
def simclr_views_of_others():
    """The second view is of another digit."""
    x, _ = samples.flat_digits(1024)
    views = x, x[torch.randperm(len(x))]
    return Program(_two_towers(mlp(64, 32, 8)), _info_nce, views, x[:, 0], 1e-3, "adam", 64)


@program("Schroff et al. 2015: FaceNet", "contrastive")
def triplets():
    return _triplets(mlp(64, 64, 16))


@program("Schroff et al. 2015: FaceNet", "contrastive", "constant output")
def triplets_collapsed():
    """An embedding whose last layer starts at zero has no gradient to leave it."""
    net = mlp(64, 64, 16)
    weights(net[2], nn.init.zeros_)
    return _triplets(net)


def _two_towers(net):
    return Call(
        lambda m, a, b: (F.normalize(m.net(a), dim=1), F.normalize(m.net(b), dim=1)), net=net
    )


def _info_nce(output, _):
    logits = output[0] @ output[1].t() / 0.2
    return F.cross_entropy(logits, torch.arange(len(logits)))


def _triplets(net):
    x, y = samples.flat_digits(512)
    order = y.argsort(stable=True)
    x, y = x[order], y[order]
    other = torch.tensor([torch.nonzero(y != c)[torch.randint(400, ())].item() for c in y])
    inputs = x[:-1], x[1:], x[other[:-1]]
    towers = Call(lambda m, *inputs: tuple(m.net(x) for x in inputs), net=net)

    def loss(output, _):
        return F.triplet_margin_loss(*output)

    def centered(output, _):
        """Without the three towers' means, which alone could satisfy the margin."""
        return F.triplet_margin_loss(*(t - t.mean(0) for t in output))

    return Program(towers, loss, inputs, y[:-1], 1e-3, "adam", meant=centered)
