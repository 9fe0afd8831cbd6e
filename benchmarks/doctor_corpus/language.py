"""Language models, and transformers on tokens."""

import torch
from torch import nn
from torch.nn import functional as F

from doctor_corpus import samples
from doctor_corpus.nets import (
    CE,
    Call,
    Recurrent,
    Tokens,
    mlp,
    token_loss,
    transformer_block,
)
from doctor_corpus.registry import Program, program


def language_model(net, lr, optimizer="adam"):
    """Next characters; `net` is a function of their number."""
    x, y, size = samples.text()
    return Program(net(size), token_loss, x, y, lr, optimizer)


def gpt(size):
    blocks = [transformer_block(24, causal=True) for _ in range(2)]
    return nn.Sequential(Tokens(size, 24, 16), *blocks, nn.LayerNorm(24), nn.Linear(24, size))


def recurrent_model(size):
    rnn = nn.LSTM(24, 48, batch_first=True)
    return Recurrent(rnn, size, nn.Embedding(size, 24), every=True)


def classifier(words, width=16, dropout=0.0):
    """A transformer block, the mean over the positions, and a dense layer."""
    mean = Call(lambda _, x: x.mean(1))
    block = transformer_block(width, before=False, dropout=dropout)
    head = mlp(width, 20, 2, between=[lambda: nn.Dropout(dropout)])
    return nn.Sequential(Tokens(words, width, 24), block, mean, *head)


@program("pytorch/examples: word_language_model", "lm")
def word_language_model():
    """Two LSTM layers, time first, dropout 0.2, SGD at 20 with clipped gradients."""

    class Clipped(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                nn.utils.clip_grad_norm_(group["params"], 0.25)
            return super().step(closure)

    x, y, size = samples.text()
    rnn = nn.LSTM(32, 32, 2, dropout=0.2)
    embed = nn.Embedding(size, 32)
    nn.init.uniform_(embed.weight, -0.1, 0.1)
    net = Recurrent(rnn, size, embed, every=True)
    nn.init.uniform_(net.head.weight, -0.1, 0.1)
    return Program(net, token_loss, x.T.contiguous(), y.T.contiguous(), 20.0, Clipped, 20, 1)


@program("Karpathy 2015: char-rnn", "lm")
def char_rnn():
    return language_model(recurrent_model, 2e-3, torch.optim.RMSprop)


@program("Karpathy 2015: char-rnn", "lm", "learning rate too high")
def char_rnn_high_rate():
    return language_model(recurrent_model, 1.0, "adam")


@program("Karpathy: minGPT", "lm")
def min_gpt():
    return language_model(gpt, 3e-3, "adamw")


@program("Karpathy: minGPT", "lm", "learning rate too low")
def min_gpt_low_rate():
    return language_model(gpt, 1e-7, "adamw")


@program("Karpathy: minGPT", "lm", "learning rate too high")
def min_gpt_high_rate():
    return language_model(gpt, 0.5, "adamw")


@program("Karpathy: makemore, bigrams", "lm")
def bigrams():
    """A table of logits, a rate of 50."""
    return language_model(lambda size: nn.Embedding(size, size), 50.0, "sgd")


@program("Bengio et al. 2003: a neural probabilistic language model", "lm")
def bengio_2003():
    x, y, size = samples.text(8)
    net = nn.Sequential(nn.Embedding(size, 10), nn.Flatten(), *mlp(80, 64, size, act=nn.Tanh))
    return Program(net, CE, x, y[:, -1], 0.1)


@program("Mikolov et al. 2013: word2vec", "lm")
def skip_gram():
    x, y, size = samples.text(2)
    net = nn.Sequential(nn.Embedding(size, 16), nn.Linear(16, size))
    return Program(net, CE, x[:, 1], y[:, 1], 0.01, "adam")


@program("Mikolov et al. 2013: word2vec", "lm", "learning rate too low")
def skip_gram_sgd():
    x, y, size = samples.text(2)
    net = nn.Sequential(nn.Embedding(size, 16), nn.Linear(16, size))
    return Program(net, CE, x[:, 1], y[:, 1], 1e-5)


@program("d2l.ai: recurrent neural networks from scratch", "lm")
def d2l_rnn():
    """One-hot characters, a plain RNN, a rate of 1."""
    return language_model(lambda size: _one_hot_rnn(size, nn.RNN), 1.0, "sgd")


@program("d2l.ai: recurrent neural networks from scratch", "lm", "late start")
def d2l_lstm_low_rate():
    return language_model(lambda size: _one_hot_rnn(size, nn.LSTM), 0.1, "sgd")


@program("keras.io examples: text classification with transformer", "transformer")
def keras_text_classification():
    return Program(classifier(200, dropout=0.1), CE, *samples.reviews(), 1e-3, "adam")


@program("keras.io examples: text classification with transformer", "transformer", "late start")
def text_classification_sgd():
    return Program(classifier(200, dropout=0.1), CE, *samples.reviews(), 0.01)


@program("Joulin et al. 2017: fastText", "lm")
def fast_text():
    net = nn.Sequential(nn.EmbeddingBag(200, 16), nn.Linear(16, 2))
    return Program(net, CE, *samples.reviews(), 4.0)


@program("PyTorch issues: attention with every key masked", "transformer", "NaN")
def every_key_masked():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(200, 16), nn.Linear(16, 2)
            self.attend = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x):
            e = self.embed(x)
            mask = torch.ones_like(x, dtype=torch.bool)
            return self.head(self.attend(e, e, e, key_padding_mask=mask)[0].mean(1))

    return Program(Masked(), CE, *samples.reviews(256), 1e-3, "adam")


@program("PyTorch issues: attention with every key masked", "transformer")
def padding_masked():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(200, 16), nn.Linear(16, 2)
            self.attend = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x):
            e = self.embed(x)
            return self.head(self.attend(e, e, e, key_padding_mask=x == 0)[0].mean(1))

    x, y = samples.reviews(512)
    return Program(Masked(), CE, x.index_fill(1, torch.arange(20, 24), 0), y, 3e-3, "adam")


@program("Arjovsky et al. 2016: the copying problem", "transformer")
def copying_by_attention():
    net = nn.Sequential(
        Tokens(10, 24, 16), *(transformer_block(24) for _ in range(2)), nn.Linear(24, 10)
    )
    x, y = samples.copying()
    return Program(net, token_loss, x, y, 3e-3, "adam")


def _one_hot_rnn(size, make):
    one_hot = Call(lambda m, x: F.one_hot(x, size).to(m.like.dtype))
    one_hot.register_buffer("like", torch.zeros(1))
    return Recurrent(make(size, 32, batch_first=True), size, one_hot, every=True)
