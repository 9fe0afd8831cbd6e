"""Exponential moving average of a net's weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel

from counterpoise.train._shard import load_net


class Average(AveragedModel):
    r"""Exponential moving average of a net's weights, updated after each step.

    .. math::
        \bar w_1 = w_1, \qquad \bar w_{k+1} = d_k \bar w_k + (1 - d_k) w_{k+1}, \qquad
        d_k = \min\left(d, \frac{1 + k}{10 + k}\right)

    where w_k are the weights after step k. Without the warm-up of d_k the first weights would count
    for as long as :math:`1 / (1 - d)` steps. The running statistics of batch norms are averaged as
    the weights are: those of the net belong to its last weights. Counts, which are integers, are
    the net's.

    Source: Polyak and Juditsky 1992; the warm-up is that of TensorFlow's
    `ExponentialMovingAverage(num_updates=...)`; averaged buffers as timm's `ModelEmaV3` has them.

    Args:
        net: the net that is trained, without a wrapper; a copy of it holds the average.
        decay: d, above 0 and below 1.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        def average(averaged: PARAM_LIST, current: PARAM_LIST, steps: Tensor | int) -> None:
            if averaged[0].is_floating_point():  # all are of one dtype
                k = int(self.n_averaged)  # `steps`, but on the CPU
                torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + k) / (10 + k)))
            else:
                torch._foreach_copy_(averaged, current)

        super().__init__(net, multi_avg_fn=average, use_buffers=True)

    def restore(self, net: nn.Module) -> None:
        """Give a net the averaged weights."""
        load_net(net, self.module.state_dict())
