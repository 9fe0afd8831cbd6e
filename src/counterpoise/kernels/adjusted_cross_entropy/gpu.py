"""The family on a GPU, in Triton: one kernel, for the losses and once more for the gradient.

The forward pass reads the logits once, the backward pass reads them and writes the gradient.
Nothing of the logits' size, or of the samples', is kept between the two. Formulas as in `cpu.c`;
what belongs to a sample is in float64, since gamma multiplies the rounding error of d.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from counterpoise.kernels.adjusted_cross_entropy import eager
from counterpoise.kernels.adjusted_cross_entropy.reference import Arguments
from counterpoise.kernels.dispatch import has_memory

WIDEST = 2048  # classes that a program holds at a time
# Numbers of a program's tile where several samples fit: four a thread, so that no thread has the
# float64 of more than one sample (of four, sm_90 spills).
TILE = 512
REDUCTIONS = {"none": 0, "sum": 1, "mean": 2, "batchmean": 3}
POWERS = {0.0: 0, 1.0: 1, 2.0: 2}  # exponents that need no exp and log


@triton.jit
def _tile(z, start, stride, first, classes, t, counts, scale, offset, COLUMNS: tl.constexpr):
    """The logits that the softmax is of, from class `first` on, and -inf at the target."""
    c = first + tl.arange(0, COLUMNS)
    inside = (c < classes)[None, :]
    a = tl.load(z + start[:, None] + c[None, :] * stride, mask=inside & counts[:, None], other=0.0)
    a = a.to(tl.float32)
    if (scale is not None) or (offset is not None):
        by = 1.0 if scale is None else tl.load(scale + c, mask=c < classes, other=1.0)[None, :]
        plus = 0.0 if offset is None else tl.load(offset + c, mask=c < classes, other=0.0)[None, :]
        a = tl.where(counts[:, None], a * by + plus, 0.0)
    return tl.where(inside & (c[None, :] != t[:, None]), a, float("-inf"))


@triton.jit
def _exp(x):
    """exp(x) by the device's exp2, without the error that rounding x / log(2) would leave in it."""
    y = x * 1.4426950408889634
    lost = tl.fma(x, 1.4426950408889634, -y) + x * 1.925963033500e-08
    return tl.exp2(y) * (1 + tl.where(x > -150, lost * 0.6931471805599453, 0.0))


@triton.jit(do_not_specialize=["inner_size", "ignore_index"])  # no new compilation for a last batch
def _losses_or_gradient(
    z, target, weight, sample_weight, scale, offset, margin, gammas,
    losses, sums, grad_z, grad_loss, denominator,
    classes, inner_size, outer_stride, class_stride, sample_stride, ignore_index, gamma, poly,
    POWER: tl.constexpr, GRADIENT: tl.constexpr, EACH: tl.constexpr, ONCE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """ROWS samples side by side. EACH: a loss a sample; ONCE: all classes fit in COLUMNS."""
    block = tl.program_id(0).to(tl.int64)
    blocks_per_line = tl.cdiv(inner_size, ROWS)
    outer = block // blocks_per_line
    sample = block % blocks_per_line * ROWS + tl.arange(0, ROWS)
    inside = sample < inner_size
    at = outer * inner_size + sample
    t = tl.load(target + at, mask=inside, other=0)
    valid = inside & (t != ignore_index)
    wrong = valid & ((t < 0) | (t >= classes))
    t = tl.where(valid & (wrong == 0), t, 0)
    w = valid.to(tl.float64)
    if weight is not None:
        w *= tl.load(weight + t).to(tl.float64)
    if sample_weight is not None:
        w *= tl.load(sample_weight + at, mask=inside, other=0.0).to(tl.float64)
    counts = w != 0  # the others' logits may be anything
    start = outer * outer_stride + sample * sample_stride

    a_t = tl.load(z + start + t * class_stride, mask=counts, other=0.0).to(tl.float32)
    if scale is not None:
        a_t *= tl.load(scale + t)
    if offset is not None:
        a_t += tl.load(offset + t)
    row_max = tl.full([ROWS], -3.4028234663852886e38, tl.float32)  # there may be no other class
    sum_exp = tl.zeros([ROWS], tl.float32)
    if ONCE:
        a = _tile(z, start, class_stride, 0, classes, t, counts, scale, offset, COLUMNS)
        row_max = tl.maximum(row_max, tl.max(a, 1))
        e = _exp(a - row_max[:, None])
        sum_exp = tl.sum(e, 1)
    else:
        for first in range(0, classes, COLUMNS):
            a = _tile(z, start, class_stride, first, classes, t, counts, scale, offset, COLUMNS)
            row_max = tl.maximum(row_max, tl.max(a, 1))
        for first in range(0, classes, COLUMNS):
            a = _tile(z, start, class_stride, first, classes, t, counts, scale, offset, COLUMNS)
            sum_exp += tl.sum(_exp(a - row_max[:, None]), 1)

    nothing = float("nan")
    wide = a_t.to(tl.float64)
    d = (row_max.to(tl.float64) - wide) + tl.log(sum_exp.to(tl.float64))
    d = tl.where((a_t == float("inf")) | ((a_t == float("-inf")) & (sum_exp == 0)), nothing, d)
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
    not_p_t = tl.where(d > 0, 1.0, x) / both
    p_t = tl.where(d > 0, x, 1.0) / both
    gamma_t = tl.zeros([ROWS], tl.float64) + gamma
    if gammas is not None:
        gamma_t = tl.load(gammas + t).to(tl.float64)
    power = w
    if POWER == 1:
        power *= not_p_t
    elif POWER == 2:
        power *= not_p_t * not_p_t
    elif POWER == 3:
        power *= tl.exp(gamma_t * tl.log(not_p_t))

    if GRADIENT:
        g = tl.load(grad_loss + at, mask=inside, other=0.0) if EACH else tl.load(grad_loss)
        by = tl.load(denominator)
        factor = g.to(tl.float64) * power / tl.where(by == 0, 1.0, by)
        grad_d = factor * (not_p_t + p_t * (gamma_t * softplus + poly * (gamma_t + 1) * not_p_t))
        grad_d = tl.where(counts, grad_d, 0.0)
        ratio = (grad_d / tl.maximum(sum_exp, 1.1754943508222875e-38).to(tl.float64)).to(tl.float32)
        grad_t = -grad_d.to(tl.float32)
        for first in range(0, classes, COLUMNS):
            if not ONCE:
                a = _tile(z, start, class_stride, first, classes, t, counts, scale, offset, COLUMNS)
                e = _exp(a - row_max[:, None])
            c = first + tl.arange(0, COLUMNS)
            others = e * ratio[:, None]  # pyrefly: ignore[unbound-name]
            gradient = tl.where(c[None, :] == t[:, None], grad_t[:, None], others)
            if scale is not None:
                gradient *= tl.load(scale + c, mask=c < classes, other=0.0)[None, :]
            gradient = tl.where(counts[:, None], gradient, 0.0)
            to = grad_z + start[:, None] + c[None, :] * class_stride
            tl.store(to, gradient, mask=(c < classes)[None, :] & inside[:, None])
    else:
        loss = tl.where(is_inf_loss, float("inf"), softplus + poly * not_p_t) * power
        loss = tl.where(counts, loss, 0.0)
        if EACH:
            tl.store(losses + at, loss.to(tl.float32), mask=inside)
        tl.store(sums + 4 * block, tl.sum(loss, 0))
        tl.store(sums + 4 * block + 1, tl.sum(w, 0))
        tl.store(sums + 4 * block + 2, tl.sum(valid.to(tl.float64), 0))
        tl.store(sums + 4 * block + 3, tl.sum(wrong.to(tl.float64), 0))


@triton.jit(do_not_specialize=["blocks"])
def _finish(
    sums, blocks, given, loss, denominator, fine, REDUCTION: tl.constexpr, STEP: tl.constexpr
):
    """Divide the sum of the losses by the denominator; and store whether no class is wrong."""
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
    tl.store(denominator, by)
    if REDUCTION:
        total = tl.sum(tl.where(k == 0, whole, 0.0), 0)
        mean = tl.where(by == 0, float("nan"), total / tl.where(by == 0, 1.0, by))
        tl.store(loss, mean.to(tl.float32))


def adjusted_cross_entropy(logits: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Return the reduced loss in the logits' dtype; arguments as in `reference.py`.

    A class number out of range stops the device, as it does in torch.
    """
    return _AdjustedCrossEntropy.apply(logits, arguments)  # type: ignore[no-any-return]


class _AdjustedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        given = arguments.normalizer
        if given is not None:
            given = torch.as_tensor(given, dtype=torch.float64, device=logits.device)
        each = arguments.reduction == "none"
        launch = _Launch(logits.detach(), arguments)
        losses = logits.new_empty(arguments.target.shape if each else ())
        sums = torch.empty((launch.blocks, 4), dtype=torch.float64, device=logits.device)
        denominator = torch.empty((), dtype=torch.float64, device=logits.device)
        fine = torch.empty((), dtype=torch.bool, device=logits.device)
        with launch.device():
            launch(losses, sums, None, None, None, each)
            finish: Any = _finish
            how = {"REDUCTION": REDUCTIONS[arguments.reduction], "STEP": 1024}
            finish[(1,)](sums, launch.blocks, given, losses, denominator, fine, **how, num_warps=8)
        torch._assert_async(fine, "a class number of the target is out of range")
        ctx.save_for_backward(logits, *arguments.tensors)
        ctx.arguments, ctx.denominator = arguments, denominator
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad_loss,) = grads
        logits = ctx.saved_tensors[0]
        if torch.is_grad_enabled() or not has_memory(grad_loss):
            return eager.gradient(logits, grad_loss, ctx.arguments), None
        launch = _Launch(logits.detach(), ctx.arguments)
        grad = torch.empty_like(launch.z)
        each = ctx.arguments.reduction == "none"
        with launch.device():
            launch(None, None, grad, grad_loss.contiguous(), ctx.denominator, each)
        return grad, None


class _Launch:
    """The launch of the kernel: the cut of the logits into programs."""

    def __init__(self, z: torch.Tensor, arguments: Arguments) -> None:
        class_last = z.dim() > 2 and z.movedim(1, -1).is_contiguous()
        self.z = z = z if class_last else z.contiguous()
        self.classes = z.shape[1]
        pixels = 1 if class_last else z[0, 0].numel()
        num_samples = z.numel() // self.classes
        outer_size, self.inner_size = (z.shape[0], pixels) if pixels > 1 else (1, num_samples)
        self.strides = (self.classes * pixels, pixels, 1 if pixels > 1 else self.classes)
        self.columns = min(1 << (self.classes - 1).bit_length(), WIDEST)
        self.rows = max(1, TILE // self.columns)
        if pixels > 1:  # neighbours in memory are samples: 32 at least, a line of the cache
            self.columns = self.columns if self.columns <= 64 else 16
            self.rows = max(32, TILE // self.columns)
        self.blocks = -(-self.inner_size // self.rows) * outer_size
        gamma = arguments.gamma
        self.gamma = 0.0 if isinstance(gamma, torch.Tensor) else gamma
        vectors = (*arguments.vectors, gamma if isinstance(gamma, torch.Tensor) else None)
        self.given = [None if v is None else v.contiguous() for v in vectors]
        self.given.insert(0, arguments.target.long().contiguous())
        self.power = 3 if self.given[-1] is not None else POWERS.get(self.gamma, 3)
        self.ignore_index, self.poly = arguments.ignore_index, arguments.poly

    def device(self) -> Any:
        return torch.cuda.device_of(self.z)

    def __call__(
        self,
        losses: torch.Tensor | None,
        sums: torch.Tensor | None,
        grad: torch.Tensor | None,
        grad_loss: torch.Tensor | None,
        denominator: torch.Tensor | None,
        each: bool,
    ) -> None:
        kernel: Any = _losses_or_gradient
        kernel[(self.blocks,)](
            self.z, *self.given, losses, sums, grad, grad_loss, denominator,
            self.classes, self.inner_size, *self.strides, self.ignore_index,
            self.gamma, self.poly, POWER=self.power, GRADIENT=grad is not None, EACH=each,
            ONCE=self.columns >= self.classes, ROWS=self.rows, COLUMNS=self.columns,
        )  # fmt: skip
