"""The formula of every softmax loss for imbalance, as the papers write it: readable, not stable.

Sources: focal, Lin et al. 2017, arXiv 1708.02002, eq. 5; offsets, Menon et al. 2020, arXiv
2007.07314, eq. 10; scales, Ye et al. 2020, arXiv 2001.01385; margins, Cao et al. 2019, arXiv
1906.07413, eq. 13; poly, Leng et al. 2022, arXiv 2204.12511, eq. 4.
"""

import torch

from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters


def adjusted_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, parameters: Parameters
) -> torch.Tensor:
    """weight_t * ((1 - p_t)^gamma * -log(p_t) + poly * (1 - p_t)^(gamma + 1)) for each sample.

    p = softmax(scale * logits + offset - margin_t at the target); logits (N, C), target (N,).
    """
    a = logits
    if parameters.scale is not None:
        a = a * parameters.scale
    if parameters.offset is not None:
        a = a + parameters.offset
    if parameters.margin is not None:
        is_target = torch.nn.functional.one_hot(target, logits.shape[1])
        a = a - is_target * parameters.margin
    p_t = torch.softmax(a, dim=1).gather(1, target[:, None]).squeeze(1)
    loss = (1 - p_t) ** parameters.gamma * -torch.log(p_t)
    return weight[target] * (loss + parameters.poly * (1 - p_t) ** (parameters.gamma + 1))
