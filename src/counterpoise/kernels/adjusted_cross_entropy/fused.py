"""The family on a GPU: a kernel in Triton for the losses, and once more for the gradient.

Bytes: the forward pass reads the logits once, the backward pass reads them and writes the gradient.
Nothing of the logits' size, or of the samples', is kept between the two. Formula as in
`_piece.py`; what belongs to a sample is in float64, since gamma multiplies what rounding does to d.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from counterpoise.kernels._eager import batched
from counterpoise.kernels.adjusted_cross_entropy._parameters import Parameters
from counterpoise.kernels.adjusted_cross_entropy._samples import Samples
from counterpoise.kernels.adjusted_cross_entropy._twice import twice

WIDEST = 2048  # classes that a program holds at a time
# Numbers of a program's tile where several samples fit: four a thread, so that no thread has the
# float64 of more than one sample (of four, sm_90 spills).
TILE = 512
REDUCTIONS = {"none": 0, "sum": 1, "mean": 2, "batchmean": 3}

Normalizer = torch.Tensor | float | None


@triton.jit
def _tile(z, start, stride, first, classes, t, plain, scale, offset, COLUMNS: tl.constexpr):
    """The logits that the softmax is of, from class `first` on, and -inf at the target."""
    c = first + tl.arange(0, COLUMNS)
    inside = (c < classes)[None, :]
    a = tl.load(z + start[:, None] + c[None, :] * stride, mask=inside & plain[:, None], other=0.0)
    a = a.to(tl.float32)
    if (scale is not None) or (offset is not None):
        by = 1.0 if scale is None else tl.load(scale + c, mask=c < classes, other=1.0)[None, :]
        plus = 0.0 if offset is None else tl.load(offset + c, mask=c < classes, other=0.0)[None, :]
        a = tl.where(plain[:, None], a * by + plus, 0.0)
    return tl.where(inside & (c[None, :] != t[:, None]), a, float("-inf"))


@triton.jit
def _exp(x):
    """exp(x) by the device's exp2, without the error that rounding x / log(2) would leave in it."""
    y = x * 1.4426950408889634
    lost = tl.fma(x, 1.4426950408889634, -y) + x * 1.925963033500e-08
    return tl.exp2(y) * (1 + tl.where(x > -150, lost * 0.6931471805599453, 0.0))


@triton.jit(do_not_specialize=["line", "ignore_index"])  # no new compilation for a last batch
def _losses_or_gradient(
    z, target, weight, own, scale, offset, margin,  # own: the samples' weights
    losses, sums, grad_z, grad, divisor,
    classes, line, image_stride, class_stride, sample_stride, ignore_index, gamma, poly, poly_slope,
    POWER: tl.constexpr, GRADIENT: tl.constexpr, EACH: tl.constexpr, ONCE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """ROWS samples of a line. EACH: a loss a sample; ONCE: all classes fit in COLUMNS."""
    block = tl.program_id(0).to(tl.int64)
    cuts = tl.cdiv(line, ROWS)
    image = block // cuts
    sample = block % cuts * ROWS + tl.arange(0, ROWS)
    inside = sample < line
    at = image * line + sample
    t = tl.load(target + at, mask=inside, other=0)
    counted = inside & (t != ignore_index)
    wrong = counted & ((t < 0) | (t >= classes))
    t = tl.where(counted & (wrong == 0), t, 0)
    mass = counted.to(tl.float64)
    if weight is not None:
        mass *= tl.load(weight + t).to(tl.float64)
    if own is not None:
        mass *= tl.load(own + at, mask=inside, other=0.0).to(tl.float64)
    plain = mass != 0  # the others' logits may be anything
    start = image * image_stride + sample * sample_stride

    a_t = tl.load(z + start + t * class_stride, mask=plain, other=0.0).to(tl.float32)
    if scale is not None:
        a_t *= tl.load(scale + t)
    if offset is not None:
        a_t += tl.load(offset + t)
    top = tl.full([ROWS], -3.4028234663852886e38, tl.float32)  # there may be no other class
    total = tl.zeros([ROWS], tl.float32)
    if ONCE:
        a = _tile(z, start, class_stride, 0, classes, t, plain, scale, offset, COLUMNS)
        top = tl.maximum(top, tl.max(a, 1))
        e = _exp(a - top[:, None])
        total = tl.sum(e, 1)
    else:
        for first in range(0, classes, COLUMNS):
            a = _tile(z, start, class_stride, first, classes, t, plain, scale, offset, COLUMNS)
            top = tl.maximum(top, tl.max(a, 1))
        for first in range(0, classes, COLUMNS):
            a = _tile(z, start, class_stride, first, classes, t, plain, scale, offset, COLUMNS)
            total += tl.sum(_exp(a - top[:, None]), 1)

    nothing = float("nan")
    wide = a_t.to(tl.float64)
    d = (top.to(tl.float64) - wide) + tl.log(total.to(tl.float64))
    d = tl.where((a_t == float("inf")) | ((a_t == float("-inf")) & (total == 0)), nothing, d)
    is_inf_loss = d == float("inf")
    d = tl.where(is_inf_loss, 1.7976931348623157e308, d)
    if margin is not None:
        d += tl.load(margin + t).to(tl.float64)
    x = tl.exp(-tl.abs(d))
    both = 1 + x
    off = both - 1
    log1p = tl.where(off == 0, x, tl.log(both) * (x / tl.where(off == 0, 1.0, off)))
    softplus = tl.where(d > 0, d, 0.0) + log1p
    softplus = tl.where(d != d, d, softplus)
    miss = tl.where(d > 0, 1.0, x) / both
    hit = tl.where(d > 0, x, 1.0) / both
    power = mass
    if POWER == 1:
        power *= miss
    elif POWER == 2:
        power *= miss * miss
    elif POWER == 3:
        power *= tl.exp(gamma * tl.log(miss))

    if GRADIENT:
        g = tl.load(grad + at, mask=inside, other=0.0) if EACH else tl.load(grad)
        by = tl.load(divisor)
        factor = g.to(tl.float64) * power / tl.where(by == 0, 1.0, by)
        slope = factor * (miss + hit * (gamma * softplus + poly_slope * miss))
        slope = tl.where(plain, slope, 0.0)
        ratio = (slope / tl.maximum(total, 1.1754943508222875e-38).to(tl.float64)).to(tl.float32)
        own_slope = -slope.to(tl.float32)
        for first in range(0, classes, COLUMNS):
            if not ONCE:
                a = _tile(z, start, class_stride, first, classes, t, plain, scale, offset, COLUMNS)
                e = _exp(a - top[:, None])
            c = first + tl.arange(0, COLUMNS)
            others = e * ratio[:, None]  # pyrefly: ignore[unbound-name]
            slopes = tl.where(c[None, :] == t[:, None], own_slope[:, None], others)
            if scale is not None:
                slopes *= tl.load(scale + c, mask=c < classes, other=0.0)[None, :]
            slopes = tl.where(plain[:, None], slopes, 0.0)
            to = grad_z + start[:, None] + c[None, :] * class_stride
            tl.store(to, slopes, mask=(c < classes)[None, :] & inside[:, None])
    else:
        loss = tl.where(is_inf_loss, float("inf"), softplus + poly * miss) * power
        loss = tl.where(plain, loss, 0.0)
        if EACH:
            tl.store(losses + at, loss.to(tl.float32), mask=inside)
        tl.store(sums + 4 * block, tl.sum(loss, 0))
        tl.store(sums + 4 * block + 1, tl.sum(mass, 0))
        tl.store(sums + 4 * block + 2, tl.sum(counted.to(tl.float64), 0))
        tl.store(sums + 4 * block + 3, tl.sum(wrong.to(tl.float64), 0))


@triton.jit(do_not_specialize=["blocks"])
def _finish(sums, blocks, given, loss, divisor, fine, REDUCTION: tl.constexpr, STEP: tl.constexpr):
    """The sum of the losses over what the reduction divides by; and whether no class is wrong."""
    parts = tl.zeros([STEP, 4], tl.float64)
    for first in range(0, blocks, STEP):
        row = first + tl.arange(0, STEP)
        at = 4 * row[:, None] + tl.arange(0, 4)[None, :]
        parts += tl.load(sums + at, mask=(row < blocks)[:, None], other=0.0)
    whole, k = tl.sum(parts, 0), tl.arange(0, 4)
    tl.store(fine, tl.sum(tl.where(k == 3, whole, 0.0), 0) == 0)
    by = tl.sum(tl.where(k == 1, whole, 0.0), 0) * 0 + 1.0
    if given is not None:
        by = tl.load(given).to(tl.float64)
    elif REDUCTION >= 2:
        by = tl.sum(tl.where(k == REDUCTION - 1, whole, 0.0), 0)
    tl.store(divisor, by)
    if REDUCTION:
        total = tl.sum(tl.where(k == 0, whole, 0.0), 0)
        mean = tl.where(by == 0, float("nan"), total / tl.where(by == 0, 1.0, by))
        tl.store(loss, mean.to(tl.float32))


def adjusted_cross_entropy(
    logits: torch.Tensor,
    samples: Samples,
    parameters: Parameters,
    reduction: str = "none",
    normalizer: Normalizer = None,
) -> torch.Tensor:
    """As the dispatcher's; see there. A class number out of range stops the device, as torch's."""
    return _Fused.apply(logits, (samples, parameters, reduction, normalizer))  # type: ignore[no-any-return]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, arguments: Any) -> torch.Tensor:
        samples, parameters, reduction, normalizer = arguments
        given = normalizer
        if given is not None:
            given = torch.as_tensor(given, dtype=torch.float64, device=logits.device)
        each = reduction == "none"
        launch = _Launch(logits.detach(), samples, parameters)
        losses = logits.new_empty(samples.target.shape if each else ())
        sums = torch.empty((launch.blocks, 4), dtype=torch.float64, device=logits.device)
        divisor = torch.empty((), dtype=torch.float64, device=logits.device)
        fine = torch.empty((), dtype=torch.bool, device=logits.device)
        with launch.device():
            launch(losses, sums, None, None, None, each)
            finish: Any = _finish
            how = {"REDUCTION": REDUCTIONS[reduction], "STEP": 1024}
            finish[(1,)](sums, launch.blocks, given, losses, divisor, fine, **how, num_warps=8)
        torch._assert_async(fine, "a class number of the target is out of range")
        own = normalizer if isinstance(normalizer, torch.Tensor) else None
        ctx.save_for_backward(
            logits, samples.target, samples.weight, samples.sample_weight, *parameters[:3], own
        )
        ctx.arguments, ctx.divisor = arguments, divisor
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads
        logits = ctx.saved_tensors[0]
        if torch.is_grad_enabled() or batched(grad):
            return twice(logits, grad, *ctx.arguments), None
        samples, parameters, reduction, _ = ctx.arguments
        launch = _Launch(logits.detach(), samples, parameters)
        slopes = torch.empty_like(launch.z)
        with launch.device():
            launch(None, None, slopes, grad.contiguous(), ctx.divisor, reduction == "none")
        return slopes, None


class _Launch:
    """How the logits are cut into programs: lines of samples, beside each other or not."""

    def __init__(self, z: torch.Tensor, samples: Samples, parameters: Parameters) -> None:
        class_last = z.dim() > 2 and z.movedim(1, -1).is_contiguous()
        self.z = z = z if class_last else z.contiguous()
        self.classes = z.shape[1]
        pixels = 1 if class_last else z[0, 0].numel()
        many = z.numel() // self.classes
        images, self.line = (z.shape[0], pixels) if pixels > 1 else (1, many)
        self.strides = (self.classes * pixels, pixels, 1 if pixels > 1 else self.classes)
        self.columns = min(1 << (self.classes - 1).bit_length(), WIDEST)
        self.rows = max(1, TILE // self.columns)
        if pixels > 1:  # neighbours in memory are samples: 32 at least, a line of the cache
            self.columns = self.columns if self.columns <= 64 else 16
            self.rows = max(32, TILE // self.columns)
        self.blocks = -(-self.line // self.rows) * images
        vectors = (samples.weight, samples.sample_weight, *parameters[:3])
        vectors = (samples.target.long(), *vectors)
        self.given = [None if v is None else v.contiguous() for v in vectors]
        self.ignore_index, self.gamma, self.poly = (
            samples.ignore_index,
            parameters.gamma,
            parameters.poly,
        )

    def device(self) -> Any:
        return torch.cuda.device_of(self.z)

    def __call__(
        self,
        losses: torch.Tensor | None,
        sums: torch.Tensor | None,
        slopes: torch.Tensor | None,
        grad: torch.Tensor | None,
        divisor: torch.Tensor | None,
        each: bool,
    ) -> None:
        kernel: Any = _losses_or_gradient
        power = {0.0: 0, 1.0: 1, 2.0: 2}.get(self.gamma, 3)
        kernel[(self.blocks,)](
            self.z, *self.given, losses, sums, slopes, grad, divisor,
            self.classes, self.line, *self.strides, self.ignore_index,
            self.gamma, self.poly, self.poly * (self.gamma + 1),
            POWER=power, GRADIENT=slopes is not None, EACH=each,
            ONCE=self.columns >= self.classes, ROWS=self.rows, COLUMNS=self.columns,
        )  # fmt: skip
