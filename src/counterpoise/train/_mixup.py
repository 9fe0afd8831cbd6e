"""Mixup and Remix: each sample of a batch becomes a mean of itself and the one before it."""

import numpy as np
import torch
from torch import Tensor

_KAPPA, _TAU = 3.0, 0.5  # of Remix, as its authors have them


def draw_share(alpha: float, generator: torch.Generator) -> float:
    """Draw from Beta(alpha, alpha), by a CPU generator, which torch's own Beta does not take."""
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def mix_rows(x: Tensor, share: float | Tensor) -> Tensor:
    """Return share * x + (1 - share) * the rows before them; of the first row, the last one."""
    return x.roll(1, 0) * (1.0 - share) + x * share


def mixup(
    inputs: Tensor,
    probabilities: Tensor,
    generator: torch.Generator,
    alpha: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Mix inputs and class probabilities by one $\lambda \sim \text{Beta}(\alpha, \alpha)$.

    Source: Zhang et al. 2017, arXiv 1710.09412, eq. 1 and algorithm 1.
    """
    share = draw_share(alpha, generator)
    return mix_rows(inputs, share), mix_rows(probabilities, share)


def remix(
    inputs: Tensor,
    probabilities: Tensor,
    generator: torch.Generator,
    alpha: float,
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Mix as `mixup`, but give the label to the rarer class where it is much rarer.

    $\lambda_y = 0$ if $n_i \ge 3 n_j, \lambda < 0.5$; 1 if $n_j \ge 3 n_i, 1 - \lambda < 0.5$;
    else $\lambda$. Source: Chou et al. 2020, arXiv 2007.03943, eq. 5 to 7.
    """
    share = draw_share(alpha, generator)
    n = counts.to(probabilities)[probabilities.argmax(1), None]
    before, own = n.roll(1, 0), torch.full_like(n, share)
    own[(n >= _KAPPA * before) & (share < _TAU)] = 0
    own[(before >= _KAPPA * n) & (1 - share < _TAU)] = 1
    return mix_rows(inputs, share), mix_rows(probabilities, own)
