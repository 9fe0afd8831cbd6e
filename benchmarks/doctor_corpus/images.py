"""Convolutional nets, residual nets and vision transformers on small digits."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from doctor_corpus import samples
from doctor_corpus.nets import CE, Call, Recurrent, Residual, of_probabilities, resnet, vit, weights
from doctor_corpus.registry import Program, program

momentum = partial(torch.optim.SGD, momentum=0.9)


def lenet(act=nn.Sigmoid, pool=nn.AvgPool2d, width=1):
    return nn.Sequential(
        nn.Conv2d(1, 6 * width, 3, padding=1),
        act(),
        pool(2),
        nn.Conv2d(6 * width, 16 * width, 3, padding=1),
        act(),
        pool(2),
        nn.Flatten(),
        nn.Linear(64 * width, 60),
        act(),
        nn.Linear(60, 42),
        act(),
        nn.Linear(42, 10),
    )


def plain(depth, width=8, act=nn.ReLU, classes=10):
    layers = []
    for i in range(depth):
        layers += [nn.Conv2d(width if i else 1, width, 3, padding=1), act()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, classes)
    )


@program("pytorch/examples: mnist", "cnn")
def pytorch_mnist():
    """Log-softmax and its NLLLoss, dropout, Adadelta at 1.0."""
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 10),
        nn.LogSoftmax(1),
    )
    return Program(net, nn.NLLLoss(), *samples.digits(), 1.0, torch.optim.Adadelta, 64, meant=CE)


@program("pytorch/examples: mnist (2017)", "cnn")
def pytorch_mnist_of_2017():
    """SGD at 0.01 with momentum 0.5."""
    net = nn.Sequential(*lenet(nn.ReLU, nn.MaxPool2d), nn.LogSoftmax(1))
    sgd = partial(torch.optim.SGD, momentum=0.5)
    return Program(net, nn.NLLLoss(), *samples.digits(), 0.01, sgd, 64, meant=CE)


@program("PyTorch tutorials: training a classifier", "cnn")
def pytorch_cifar10():
    """Batches of 4, SGD at 0.001 with momentum 0.9."""
    return Program(lenet(nn.ReLU, nn.MaxPool2d), CE, *samples.digits(), 0.001, momentum, 4)


@program("d2l.ai: LeNet", "cnn", "late start")
def d2l_lenet():
    """Sigmoids, average pooling, Glorot's initialization, SGD at 0.1, batches of 128."""
    net = weights(lenet(), nn.init.xavier_uniform_)
    return Program(net, CE, *samples.digits(), 0.1, batch_size=128)


@program("d2l.ai: LeNet", "cnn")
def d2l_lenet_high_rate():
    """The rate of 0.9 of the book's first edition."""
    net = weights(lenet(), nn.init.xavier_uniform_)
    return Program(net, CE, *samples.digits(), 0.9, batch_size=128)


@program("d2l.ai: AlexNet", "cnn")
def d2l_alexnet():
    net = lenet(nn.ReLU, nn.MaxPool2d, 2)
    net.insert(9, nn.Dropout(0.5))
    return Program(net, CE, *samples.digits(), 0.01, batch_size=128)


@program("d2l.ai: batch normalization", "cnn")
def d2l_batch_norm_lenet():
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.Sigmoid(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 3),
        nn.BatchNorm2d(16),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(16, 32),
        nn.BatchNorm1d(32),
        nn.Sigmoid(),
        nn.Linear(32, 10),
    )
    return Program(net, CE, *samples.digits(), 0.1, batch_size=128)


@program("keras.io examples: simple MNIST convnet", "cnn")
def keras_convnet():
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(32, 10),
    )
    net = weights(net, nn.init.xavier_uniform_)
    return Program(net, CE, *samples.digits(), 0.001, "adam", 128)


@program("He et al. 2015: deep residual learning", "resnet")
def resnet_8():
    sgd = partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4)
    return Program(resnet(), CE, *samples.digits(512), 0.1, sgd)


@program("He et al. 2015: deep residual learning", "resnet")
def resnet_20():
    sgd = partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-4)
    return Program(resnet((3, 3, 3), 4), CE, *samples.digits(256), 0.1, sgd, 16)


@program("He et al. 2015: deep residual learning", "cnn", "the signal vanishes")
def plain_20_without_norms():
    return Program(plain(20, 4), CE, *samples.digits(256), 0.1)


@program("Zhang et al. 2019: fixup initialization", "resnet")
def resnet_without_norms_zero_last():
    net = resnet((2, 2), norm=lambda _: nn.Identity())
    for block in net.modules():
        if isinstance(block, Residual):
            nn.init.zeros_(block.block[3].weight)
    return Program(net, CE, *samples.digits(256), 0.05)


@program("Zhang et al. 2019: fixup initialization", "resnet", "the signal explodes")
def resnet_without_norms_large():
    net = resnet((4, 4), norm=lambda _: nn.Identity())
    net = weights(net, partial(nn.init.normal_, std=0.5))
    return Program(net, CE, *samples.digits(256), 0.1)


@program("timm: resnet, zero_init_last", "resnet")
def resnet_zero_gamma():
    net = resnet((1, 1))
    for block in net.modules():
        if isinstance(block, Residual):
            nn.init.zeros_(block.block[4].weight)
    return Program(net, CE, *samples.digits(256), 0.05, momentum)


@program("timm: resnet, zero_init_last", "resnet", "learning rate too low")
def resnet_low_rate():
    return Program(resnet((1, 1)), CE, *samples.digits(256), 1e-5)


@program("PyTorch tutorials: transfer learning", "resnet")
def frozen_features():
    """All layers but the last are frozen, which suffices."""
    net = resnet((1, 1), 16).requires_grad_(False)
    net[-1].requires_grad_(True)
    return Program(net, CE, *samples.digits(256), 0.05, momentum, 4)


@program("PyTorch tutorials: transfer learning", "resnet", "no gradient")
def frozen_last_layer_too():
    return Program(resnet((1, 1)).requires_grad_(False), CE, *samples.digits(256), 0.01, momentum)


@program("Howard et al. 2017: MobileNets", "cnn")
def depthwise():
    def layer(i, o):
        return [
            nn.Conv2d(i, i, 3, padding=1, groups=i, bias=False),
            nn.BatchNorm2d(i),
            nn.ReLU(),
            nn.Conv2d(i, o, 1, bias=False),
            nn.BatchNorm2d(o),
            nn.ReLU(),
        ]

    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), *layer(16, 16), *layer(16, 32), *head)
    return Program(net, CE, *samples.digits(256), 0.05, momentum)


@program("Ronneberger et al. 2015: U-Net", "segmentation")
def u_net():
    """Each pixel is a digit's or the background's."""
    x, _ = samples.digits(256)

    def forward(m, x):
        deep = F.interpolate(m.deep(m.first(x)), scale_factor=2.0)
        return m.up(torch.cat([m.first(x), deep], 1))

    net = Call(
        forward,
        first=nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
        deep=nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()),
        up=nn.Sequential(nn.Conv2d(24, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)),
    )
    return Program(net, CE, x + 0.3 * torch.randn_like(x), (x[:, 0] > 0.4).long(), 1e-3, "adam")


@program("Simonyan & Zisserman 2015: VGG, without norms", "cnn")
def vgg_kaiming():
    net = weights(plain(8), nn.init.kaiming_normal_)
    return Program(net, CE, *samples.digits(256), 0.01, momentum)


@program("Simonyan & Zisserman 2015: VGG, without norms", "cnn", "the signal vanishes")
def vgg_gaussian_of_0_01():
    """The initialization with which the authors could not train 11 layers and more."""
    net = weights(plain(8), partial(nn.init.normal_, std=0.01))
    return Program(net, CE, *samples.digits(256), 0.01, momentum)


@program("Sutskever et al. 2013: momentum", "cnn", "learning rate too high")
def momentum_of_099():
    sgd = partial(torch.optim.SGD, momentum=0.99)
    return Program(plain(3, 16), CE, *samples.digits(256), 0.5, sgd)


@program("Lu et al. 2020: dying ReLU, deep and narrow", "cnn", "dead units")
def large_negative_bias():
    net = plain(3, 16)
    for i in (0, 2, 4):
        nn.init.constant_(net[i].bias, -10.0)
    return Program(net, CE, *samples.digits(256), 0.01)


@program("PyTorch documentation: Tensor.view", "cnn", "samples mixed")
def channels_and_samples_mixed():
    """The images' pixels are spread over the batch before the last layer."""
    flat = Call(lambda _, x: x.transpose(0, 1).reshape(x.shape[0], -1))
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), flat, nn.Linear(144, 10))
    return Program(net, CE, *samples.digits(512), 0.05, momentum)


@program("PyTorch documentation: Tensor.view", "cnn")
def flattened_rightly():
    layers = nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 10)
    return Program(nn.Sequential(*layers), CE, *samples.digits(512), 0.05, momentum)


@program("PyTorch documentation: Softmax2d", "cnn", "softmax before the loss")
def softmax_and_sigmoids():
    """A softmax at the end of a net of sigmoids, SGD at 0.01."""
    net = nn.Sequential(*lenet(nn.Sigmoid), nn.Softmax(1))
    return Program(net, CE, *samples.digits(512), 0.01, meant=of_probabilities)


@program("Dosovitskiy et al. 2021: ViT", "vit")
def vit_tiny():
    return Program(vit(), CE, *samples.digits(512), 1e-3, "adamw")


@program("Dosovitskiy et al. 2021: ViT", "vit")
def vit_tiny_dropout():
    return Program(vit(dropout=0.1), CE, *samples.digits(512), 3e-3, "adam")


@program("Dosovitskiy et al. 2021: ViT", "vit", "learning rate too high")
def vit_high_rate():
    return Program(vit(), CE, *samples.digits(256), 0.3, "adam")


@program("Xiong et al. 2020: layer normalization in transformers", "vit")
def vit_norms_after():
    return Program(vit(before=False, depth=3), CE, *samples.digits(256), 1e-3, "adam")


@program("Xiong et al. 2020: layer normalization in transformers", "vit", "learning rate too high")
def vit_norms_after_high_rate():
    return Program(vit(before=False, depth=4), CE, *samples.digits(256), 0.03, "adam")


@program("Zhang et al. 2020: adaptive methods and attention", "vit", "late start")
def vit_sgd():
    return Program(vit(), CE, *samples.digits(256), 0.003)


@program("Zhang et al. 2020: adaptive methods and attention", "vit")
def vit_sgd_momentum():
    return Program(vit(), CE, *samples.digits(256), 0.05, momentum)


@program("Zhai et al. 2023: attention entropy collapse", "vit", "saturated units")
def vit_logits_times_1000():
    return Program(vit(scale=1000.0), CE, *samples.digits(256), 1e-3, "sgd")


@program("keras.io examples: image classification with ViT", "vit", "inputs: scale")
def vit_images_to_255():
    x, y = samples.digits(256)
    return Program(vit(), CE, 255 * x, y, 1e-3, "adamw")


@program("Yu et al. 2022: MetaFormer, pooling", "vit")
def pool_former():
    def block():
        mix = nn.AvgPool2d(3, 1, 1)
        part = nn.Sequential(nn.Conv2d(16, 32, 1), nn.GELU(), nn.Conv2d(32, 16, 1))
        norm = partial(nn.GroupNorm, 1, 16)
        return Residual(nn.Sequential(norm(), mix)), Residual(nn.Sequential(norm(), part))

    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    net = nn.Sequential(nn.Conv2d(1, 16, 2, 2), *block(), *block(), nn.GroupNorm(1, 16), *head)
    return Program(net, CE, *samples.digits(512), 3e-3, "adamw")


@program("Le et al. 2015: IRNN, images by rows", "rnn")
def rows_by_an_irnn():
    rnn = nn.RNN(8, 32, nonlinearity="relu", batch_first=True)
    nn.init.eye_(rnn.weight_hh_l0)
    nn.init.normal_(rnn.weight_ih_l0, std=0.1)
    x, y = samples.digits(512)
    return Program(Recurrent(rnn, 10), CE, x[:, 0], y, 0.01)
