"""Recurrent nets and one-dimensional convolutions."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from doctor_corpus import samples
from doctor_corpus.nets import (
    CE,
    MSE,
    Recurrent,
    token_loss,
)
from doctor_corpus.registry import Program, program

lstm = partial(nn.LSTM, batch_first=True)
gru = partial(nn.GRU, batch_first=True)


@program("PyTorch tutorials: classifying names with a character-level RNN", "rnn")
def names_rnn():
    """One-hot characters, a plain RNN of 128 units, log-softmax, SGD at 0.15."""
    x, y = samples.names()
    rnn = nn.RNN(27, 128, batch_first=True)
    net = nn.Sequential(Recurrent(rnn, 4), nn.LogSoftmax(1))
    return Program(net, nn.NLLLoss(), F.one_hot(x, 27).float(), y, 0.15, batch_size=64, meant=CE)


@program("PyTorch tutorials: classifying names with a character-level RNN", "rnn")
def names_rnn_first_edition():
    """The tutorial's first edition: a rate of 0.005, one name a step."""
    x, y = samples.names()
    rnn = nn.RNN(27, 128, batch_first=True)
    net = nn.Sequential(Recurrent(rnn, 4), nn.LogSoftmax(1))
    return Program(net, nn.NLLLoss(), F.one_hot(x, 27).float(), y, 0.005, batch_size=1, meant=CE)


@program("keras.io examples: bidirectional LSTM on IMDB", "rnn")
def keras_bidirectional_lstm():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(200, 32)
            self.rnn = lstm(32, 16, 2, bidirectional=True)
            self.head = nn.Linear(32, 1)

        def forward(self, x):
            _, (h, _) = self.rnn(self.embed(x))
            return self.head(torch.cat([h[-2], h[-1]], 1))

    x, y = samples.reviews()
    return Program(Both(), nn.BCEWithLogitsLoss(), x, y[:, None].float(), 1e-3, "adam")


@program("PyTorch forums: all inputs are padding", "rnn", "inputs: constant")
def only_padding():
    x, y = samples.reviews(512)
    net = Recurrent(gru(16, 32), 2, nn.Embedding(200, 16, padding_idx=0))
    return Program(net, CE, torch.zeros_like(x), y, 1e-2, "adam")


@program("PyTorch forums: the batch as the time", "rnn", "samples mixed")
def batch_and_time_swapped():
    """Sequences (N, T, 1) are read as (T, N, 1), then viewed as (N, ...)."""
    x, y = samples.waves()

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(1, 16), nn.Linear(16, 3)

        def forward(self, x):
            out, _ = self.rnn(x.transpose(0, 1))
            return self.head(out.reshape(len(x), -1, 16)[:, -1])

    return Program(Mixed(), CE, x, y, 1e-2, "adam")


@program("Hochreiter & Schmidhuber 1997: the adding problem", "rnn", "late start")
def adding_problem_sgd():
    return Program(Recurrent(lstm(2, 32), 1), MSE, *samples.adding(), 0.1)


@program("Hochreiter & Schmidhuber 1997: the adding problem", "rnn")
def adding_problem_adam():
    return Program(Recurrent(gru(2, 32), 1), MSE, *samples.adding(512, 8), 1e-2, "adam")


@program("Arjovsky et al. 2016: the copying problem", "rnn", "late start")
def copying_problem():
    net = Recurrent(lstm(8, 32), 10, nn.Embedding(10, 8), every=True)
    x, y = samples.copying()
    return Program(net, token_loss, x, y, 1e-3, "adam")


@program("Pascanu et al. 2013: training recurrent nets", "rnn", "the gradient vanishes")
def long_sequence_rnn():
    """The class stands in the first of 60 steps."""
    x, y = _first_step(60)
    return Program(Recurrent(nn.RNN(2, 16, batch_first=True), 2), CE, x, y, 0.01)


@program("Pascanu et al. 2013: training recurrent nets", "rnn", "the signal explodes")
def exploding_rnn():
    x, y = _first_step(60)
    rnn = nn.RNN(2, 32, nonlinearity="relu", batch_first=True)
    nn.init.normal_(rnn.weight_hh_l0, std=0.5)
    return Program(Recurrent(rnn, 2), CE, x, y, 0.01)


@program("Pascanu et al. 2013: training recurrent nets", "rnn")
def first_of_six_steps():
    return Program(Recurrent(gru(2, 16), 2), CE, *_first_step(6), 1e-2, "adam")


@program("Machine Learning Mastery: LSTM for time series", "rnn")
def time_series_lstm():
    return Program(Recurrent(lstm(1, 32), 1), MSE, *samples.series(), 1e-3, "adam")


@program("Machine Learning Mastery: LSTM for time series", "rnn", "late start")
def time_series_lstm_sgd():
    return Program(Recurrent(lstm(1, 32), 1), MSE, *samples.series(), 0.001)


@program("discuss.pytorch.org/t/159152", "rnn", "parameters no optimizer holds")
def layers_in_a_list():
    """The dense layers stand in a list, which the optimizer does not see; a trained LSTM helps."""

    class InList(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = lstm(1, 32)
            self.layers = [nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)]

        def forward(self, x):
            x = self.rnn(x)[0][:, -1]
            for layer in self.layers:
                x = layer.to(x.dtype)(x)  # .double() of the net does not reach them either
            return x

    return Program(InList(), MSE, *samples.series(), 1e-3, "adam")


@program("stats.stackexchange.com/questions/376851", "rnn")
def a_ramp():
    """Ramps with a step of 0.05 and the values two steps on."""
    x = (torch.arange(21) * 0.05 + torch.rand(128, 1))[..., None]
    net = Recurrent(lstm(1, 32), 1, every=True)
    return Program(net, MSE, x, x + 0.1, 1e-3, "adam")


@program("Fawaz et al. 2019: time series classification", "conv1d")
def conv1d():
    x, y = samples.waves()
    net = nn.Sequential(
        nn.Conv1d(1, 16, 7, padding=3),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, padding=2),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 3),
    )
    return Program(net, CE, x.mT, y, 1e-3, "adam")


@program("Fawaz et al. 2019: time series classification", "conv1d", "learning rate too high")
def conv1d_high_rate():
    x, y = samples.waves()
    return Program(_plain_conv1d(), CE, x.mT, y, 5.0)


@program("Bai et al. 2018: temporal convolutional networks", "conv1d")
def dilated():
    x, y = samples.waves()
    layers = [
        m
        for i in range(3)
        for m in (nn.Conv1d(16 if i else 1, 16, 3, dilation=2**i), nn.LeakyReLU())
    ]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3))
    return Program(net, CE, x.mT, y, 0.01, "adam")


@program("PyTorch documentation: Conv1d, channels", "conv1d", "inputs: transposed")
def time_as_channels():
    """(N, T, 1) is taken as T channels of length 1; phases are random, so shapes are hidden."""
    x, y = samples.waves()
    net = nn.Sequential(
        nn.Conv1d(32, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    return Program(net, CE, x, y, 0.01)


@program("Jozefowicz et al. 2015: forget gates", "rnn", "late start")
def lstm_waves_sgd():
    return Program(Recurrent(lstm(1, 32), 3), CE, *samples.waves(), 0.1)


@program("Jozefowicz et al. 2015: forget gates", "rnn")
def gru_waves():
    return Program(Recurrent(gru(1, 32), 3), CE, *samples.waves(), 1e-2, "adam")


@program("Jozefowicz et al. 2015: forget gates", "rnn", "saturated units")
def forget_gates_closed():
    rnn = lstm(1, 32)
    nn.init.constant_(rnn.bias_ih_l0[:64], -12.0)
    return Program(Recurrent(rnn, 3), CE, *samples.waves(), 0.05)


def _first_step(length, count=512):
    x, y = 0.3 * torch.randn(count, length, 2), torch.arange(count) % 2
    x[:, 0, 0] = 2.0 * y - 1
    return x, y


def _plain_conv1d():
    layers = nn.Conv1d(1, 16, 7), nn.ReLU(), nn.Conv1d(16, 16, 5), nn.ReLU()
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3))
