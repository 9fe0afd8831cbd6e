"""Building blocks of the programs' nets, and losses that tell what was meant."""

import torch
from torch import nn
from torch.nn import functional as F

CE, MSE, BCE = nn.CrossEntropyLoss(), nn.MSELoss(), nn.BCEWithLogitsLoss()


def mlp(*sizes, act=nn.ReLU, last=(), between=()):
    """Linear layers, an activation after each but the last; `between` makes further modules."""
    layers = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if i < len(sizes) - 2:
            layers += [act(), *(make() for make in between)]
    return nn.Sequential(*layers, *last)


def weights(net, init, biases=nn.init.zeros_):
    """Initialize every matrix and every vector of a net in place."""
    for p in net.parameters():
        init(p) if p.dim() > 1 else biases(p)
    return net


class Call(nn.Module):
    """A function as a module, with modules of its own by name."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs):
        return self.function(self, *inputs)


class Residual(nn.Module):
    def __init__(self, block, shortcut=None):
        super().__init__()
        self.block, self.shortcut = block, shortcut or nn.Identity()

    def forward(self, x):
        return self.shortcut(x) + self.block(x)


def basic_block(inputs, outputs, stride=1, norm=nn.BatchNorm2d):
    """The block of He et al. 2015, figure 2, with the shortcut of option B."""
    block = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        norm(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        norm(outputs),
    )
    same = inputs == outputs and stride == 1
    shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(Residual(block, shortcut), nn.ReLU())


def resnet(blocks=(1, 1, 1), width=8, classes=10, norm=nn.BatchNorm2d):
    """The residual net for small images of He et al. 2015, section 4.2."""
    layers = [nn.Conv2d(1, width, 3, padding=1, bias=False), norm(width), nn.ReLU()]
    inputs = width
    for stage, count in enumerate(blocks):
        for i in range(count):
            outputs = width * 2**stage
            layers.append(basic_block(inputs, outputs, 2 if stage and not i else 1, norm))
            inputs = outputs
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
    return nn.Sequential(*layers, *head)


class Attention(nn.Module):
    def __init__(self, width, heads=2, causal=False, scale=1.0):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.causal, self.scale = heads, causal, scale

    def forward(self, x):
        n, t, w = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = self.scale * q @ k.mT / (w / self.heads) ** 0.5
        if self.causal:
            mask = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(mask, -torch.inf)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, w))


def transformer_block(width, causal=False, dropout=0.0, before=True, scale=1.0):
    """A block with the norm before (Xiong et al. 2020) or after its parts (Vaswani et al. 2017)."""
    parts = Attention(width, causal=causal, scale=scale), mlp(width, 2 * width, width, act=nn.GELU)
    layers = []
    for part in parts:
        inner = nn.Sequential(part, nn.Dropout(dropout))
        norm = nn.LayerNorm(width)
        layers += [Residual(nn.Sequential(norm, inner))] if before else [Residual(inner), norm]
    return nn.Sequential(*layers)


class Tokens(nn.Module):
    """Embeddings with learned positions."""

    def __init__(self, words, width, length):
        super().__init__()
        self.words, self.positions = nn.Embedding(words, width), nn.Embedding(length, width)

    def forward(self, x):
        return self.words(x) + self.positions.weight[: x.shape[1]]


class Patches(nn.Module):
    """Patch embeddings, a class token and positions (Dosovitskiy et al. 2021)."""

    def __init__(self, width, patch=2, size=8, std=0.02):
        super().__init__()
        self.embed = nn.Conv2d(1, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(std * torch.randn(1, 1 + (size // patch) ** 2, width))

    def forward(self, x):
        x = self.embed(x).flatten(2).mT
        return torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions


def vit(width=24, depth=2, patch=2, **kwargs):
    blocks = [transformer_block(width, **kwargs) for _ in range(depth)]
    first = Call(lambda self, x: x[:, 0])
    norm = nn.LayerNorm(width)
    return nn.Sequential(Patches(width, patch), *blocks, norm, first, nn.Linear(width, 10))


class Recurrent(nn.Module):
    """An LSTM, GRU or RNN; a linear layer on its last or on every output."""

    def __init__(self, rnn, outputs, embed=None, every=False):
        super().__init__()
        self.embed, self.rnn, self.every = embed or nn.Identity(), rnn, every
        self.head = nn.Linear(rnn.hidden_size, outputs)

    def forward(self, x):
        out, _ = self.rnn(self.embed(x))
        if self.every:
            return self.head(out)
        return self.head(out[:, -1] if self.rnn.batch_first else out[-1])


def token_loss(output, targets):
    """Cross entropy of (N, T, V) and (N, T)."""
    return F.cross_entropy(output.flatten(0, 1), targets.flatten())


def of_probabilities(output, targets):
    """Cross entropy of probabilities (N, C)."""
    return F.cross_entropy(output.clamp_min(1e-9).log(), targets)


def of_probability(output, targets):
    """Binary cross entropy of a probability (N, 1), class numbers (N)."""
    p = output.clamp(1e-6, 1 - 1e-6)
    return F.binary_cross_entropy(p, targets.view_as(p).to(p.dtype))


def binary(output, targets):
    """Binary cross entropy of one logit (N, 1), class numbers (N)."""
    return BCE(output, targets.view_as(output).to(output.dtype))


def one_hot_mse(output, targets):
    return MSE(output, F.one_hot(targets, output.shape[1]).to(output.dtype))
