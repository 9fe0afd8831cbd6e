"""What holds for every softmax loss of the family: one suite over the table `losses.ALL`."""

import copy
import itertools
import pickle
from pathlib import Path

import pytest
import torch
from tests.covering import in_turn
from torch import nn

from counterpoise import losses
from counterpoise.losses import AdjustedCrossEntropyLoss, SeesawLoss

COUNTS = torch.tensor([500.0, 100.0, 20.0, 4.0, 1.0])
C = len(COUNTS)
SHAPES = [(C,), (9, C), (3, C, 4), (2, C, 3, 2), (2, C, 3, 2, 2), (1, C), (200, C)]
DOCS = Path(__file__).parent.parent / "docs" / "which_loss.md"
REDUCTIONS = ["mean", "batchmean", "sum", "none"]
every_loss = pytest.mark.parametrize("word", losses.ALL)


def made(shape, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=g, dtype=torch.float64)
    samples = shape[1:] if len(shape) == 1 else (shape[0], *shape[2:])
    if len(shape) == 1:
        samples = ()
    return logits.to(dtype).requires_grad_(), torch.randint(C, samples, generator=g)


def with_reduction(loss, reduction):
    loss = copy.deepcopy(loss)
    loss.reduction = reduction
    return loss


def outcome(loss, logits, *arguments, **keywords):
    value = loss(logits, *arguments, **keywords)
    return value, torch.autograd.grad(value.sum(), logits)[0]


def assert_same(found, wanted, **tolerances):
    for f, w in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, w, **tolerances)


def textbook(loss, logits, target):
    """The family's formula with power, softmax and logarithm, in float64."""
    a = logits.double()
    if loss.scale is not None:
        a = a * loss.scale.double()
    if loss.offset is not None:
        a = a + loss.offset.double()
    if loss.margin is not None:
        a = a - nn.functional.one_hot(target, C) * loss.margin.double()
    if isinstance(loss, SeesawLoss):  # arXiv 2008.10032; the factors are constants
        n, sigma, rows = loss.counts.double(), a.detach().softmax(1), torch.arange(len(a))
        mitigation = (n / n[target, None]).clamp(max=1) ** loss.p
        compensation = (sigma / sigma[rows, target, None]).clamp(min=1) ** loss.q
        a = a + (mitigation * compensation).log()  # 0 at the target
    p = torch.softmax(a, 1).gather(1, target[:, None]).squeeze(1)
    weight = 1 if loss.weight is None else loss.weight.double()[target]
    return weight * (1 - p) ** loss.gamma * (-p.log() + loss.poly * (1 - p))


@every_loss
def test_is_its_formula(word):
    loss = with_reduction(losses.ALL[word](COUNTS), "none")
    logits, target = made((50, C))
    wide = logits.detach().double().requires_grad_()
    found, wanted = (
        outcome(loss, logits, target),
        outcome(lambda *a: textbook(loss, *a), wide, target),
    )
    assert_same([f.double() for f in found], wanted, rtol=2e-5, atol=1e-5)


@in_turn(given=itertools.product(SHAPES, REDUCTIONS), word=losses.ALL)
def test_dense_shapes_and_layouts_are_rows(given, word):
    shape, reduction = given
    loss = with_reduction(losses.ALL[word](COUNTS), reduction)
    logits, target = made(shape)
    value, grad = outcome(loss, logits, target)
    rows = logits.detach().movedim(min(1, len(shape) - 1), -1).reshape(-1, C).requires_grad_()
    wanted = outcome(loss, rows, target.reshape(-1))
    assert_same(
        (value.reshape(wanted[0].shape), grad.movedim(min(1, len(shape) - 1), -1).reshape(-1, C)),
        wanted,
    )
    if len(shape) == 4:
        other = logits.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        found = outcome(loss, other, target)
        assert_same(found, (value, grad))
        assert found[1].is_contiguous(memory_format=torch.channels_last)


@every_loss
def test_equal_counts_give_cross_entropy_up_to_what_counts_cannot_say(word):
    settings = {"q": 0.0} if word == "seesaw" else {}  # its compensation is not of the counts
    loss = losses.ALL[word](torch.full((C,), 70.0), **settings)
    logits, target = made((30, C))
    bare = AdjustedCrossEntropyLoss(gamma=loss.gamma, poly=loss.poly)
    if word == "ldam":  # a margin and a scale stay: those of equals
        bare = AdjustedCrossEntropyLoss(
            scale=loss.scale[:1].repeat(C), margin=loss.margin[:1].repeat(C)
        )
    assert_same(outcome(loss, logits, target), outcome(bare, logits, target))


@every_loss
def test_relabelling_the_classes_changes_nothing(word):
    order = torch.tensor([3, 0, 4, 1, 2])
    logits, target = made((30, C))
    found = outcome(losses.ALL[word](COUNTS[order]), logits[:, order], order.argsort()[target])[0]
    assert_same([found], [losses.ALL[word](COUNTS)(logits, target)])


# The effective number of class_balanced depends on the counts themselves.
@pytest.mark.parametrize("word", sorted(losses.ALL.keys() - {"class_balanced"}))
def test_the_counts_matter_only_by_their_ratios(word):
    logits, target = made((30, C))
    assert_same(
        [losses.ALL[word](COUNTS)(logits, target)], [losses.ALL[word](7 * COUNTS)(logits, target)]
    )


@in_turn(word=losses.ALL, settings=itertools.product(REDUCTIONS, [0.0, 0.1]))
def test_ignoring_is_leaving_out(word, settings):
    reduction, smoothing = settings
    loss = with_reduction(losses.ALL[word](COUNTS), reduction)
    loss.label_smoothing = smoothing
    logits, target = made((12, C))
    with torch.no_grad():
        logits[3] = torch.tensor([float("-inf"), 1, 2, 3, 4]) if not smoothing else 0.0
    kept = torch.arange(12) % 4 != 3
    ignoring = outcome(loss, logits, target.masked_fill(~kept, -100))
    some = logits.detach()[kept].requires_grad_()
    value, grad = outcome(loss, some, target[kept])
    assert_same(
        (ignoring[0][kept] if reduction == "none" else ignoring[0], ignoring[1][kept]),
        (value, grad),
    )
    assert (ignoring[1][~kept] == 0).all()


@every_loss
def test_where_nothing_counts_the_sum_is_0_with_a_gradient_and_the_mean_is_torchs(word):
    loss, nothing = losses.ALL[word](COUNTS), torch.full((6,), -100)
    logits, _ = made((6, C))
    value, grad = outcome(with_reduction(loss, "sum"), logits, nothing)
    assert value == 0
    assert (grad == 0).all()
    assert nn.CrossEntropyLoss()(logits, nothing).isnan()
    for reduction in ("mean", "batchmean"):
        value, grad = outcome(with_reduction(loss, reduction), logits, nothing)
        assert value.isnan()
        assert (grad == 0).all()
    empty = torch.zeros(0, C, requires_grad=True)
    value, grad = outcome(with_reduction(loss, "sum"), empty, torch.zeros(0, dtype=torch.long))
    assert value == 0
    assert grad.shape == (0, C)


@in_turn(word=losses.ALL, reduction=["mean", "batchmean"])
def test_micro_batches_with_the_whole_normalizer_are_the_batch(word, reduction):
    loss = with_reduction(losses.ALL[word](COUNTS), reduction)
    logits, target = made((10, C))
    target[4] = -100
    sample_weight = torch.linspace(0.5, 2, 10)
    whole = outcome(loss, logits, target, sample_weight=sample_weight)
    parts = [slice(0, 3), slice(3, 8), slice(8, 10)]
    total = sum(loss.normalizer(target[p], sample_weight[p]) for p in parts)
    value = sum(
        loss(logits[p], target[p], sample_weight=sample_weight[p], normalizer=total) for p in parts
    )
    assert_same((value, torch.autograd.grad(value, logits)[0]), whole)


@every_loss
def test_a_sample_weight_of_2_is_a_sample_twice(word):
    loss = losses.ALL[word](COUNTS)
    logits, target = made((6, C))
    times = torch.tensor([1, 2, 0, 3, 1, 1])
    found = loss(logits, target, sample_weight=times.float())
    wanted = loss(logits.repeat_interleave(times, 0), target.repeat_interleave(times))
    assert_same([found], [wanted])


@in_turn(word=losses.ALL, smoothing=[0.0, 0.1])
def test_certain_probabilities_are_class_numbers(word, smoothing):
    loss = with_reduction(losses.ALL[word](COUNTS), "sum")
    loss.label_smoothing = smoothing
    for shape in ((C,), (7, C), (2, C, 3, 2)):
        logits, target = made(shape)
        sure = nn.functional.one_hot(target, C).movedim(-1, min(1, len(shape) - 1)).float()
        if word == "seesaw":  # its factors are those of one target
            with pytest.raises(TypeError, match=r"must be class numbers .* target.argmax\(1\)"):
                loss(logits, sure)
            continue
        assert_same(
            outcome(loss, logits, sure), outcome(loss, logits, target), rtol=1e-5, atol=1e-5
        )


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
@every_loss
def test_derivatives(word):
    settings = {"q": 0.0} if word == "seesaw" else {}  # its gradient takes the factor as constant
    loss = losses.ALL[word](COUNTS, **settings).double()
    loss.scale = None if loss.scale is None else loss.scale / loss.scale.max()  # LDAM's 30 is steep
    logits, target = made((4, C), torch.float64)
    soft = torch.softmax(made((4, C), torch.float64, seed=1)[0].detach(), 1)
    for t in (target,) if word == "seesaw" else (target, soft):

        def call(z, t=t):
            return loss(z, t)

        assert torch.autograd.gradcheck(call, logits, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(call, logits)


@every_loss
def test_gradients_are_finite_at_every_logit(word):
    loss = with_reduction(losses.ALL[word](COUNTS), "none")
    logits = torch.cat([size * torch.eye(C) for size in (1, -1, 100, -100, 1e4, -1e4)])
    target = torch.arange(len(logits)) % C
    for t in (target, target.roll(1)):
        value, grad = outcome(loss, logits.requires_grad_(), t)
        assert value.isfinite().all()
        assert grad.isfinite().all()


@every_loss
def test_fits_into_training_scripts(word):
    loss = losses.ALL[word](COUNTS)
    logits, target = made((20, C))
    value = loss(logits, target)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert_same([other(logits, target)], [value], rtol=0, atol=0)
    fresh = losses.ALL[word](COUNTS.flip(0))
    fresh.load_state_dict(loss.state_dict())
    assert_same([fresh(logits, target)], [value], rtol=0, atol=0)
    assert all(b.device.type == "meta" for b in loss.to("meta").buffers())
    assert type(loss).__name__ in repr(loss)
    assert list(loss.parameters()) == []


@every_loss
def test_compiles_in_one_graph(word):
    torch.compiler.reset()
    loss = losses.ALL[word](COUNTS)
    logits, target = made((20, C))
    whole = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert_same(outcome(whole, logits, target), outcome(loss, logits, target))


@every_loss
def test_vmap_and_grad(word):
    loss = losses.ALL[word](COUNTS)
    logits, target = made((6, C))
    mapped = torch.vmap(loss)(logits[:, None], target[:, None])
    assert_same(
        [mapped],
        [torch.stack([loss(z[None], t[None]) for z, t in zip(logits, target, strict=True)])],
    )
    grad = torch.func.grad(loss)(logits, target)
    assert_same([grad], [outcome(loss, logits, target)[1]])


@in_turn(word=losses.ALL, smoothing=[0.1, 0.0])
def test_vmap_over_targets(word, smoothing):
    loss = losses.ALL[word](COUNTS, label_smoothing=smoothing)
    logits, target = made((3, 4, C))[0].detach(), made((3, C, 4))[1]
    for call in (loss, torch.func.grad(loss), lambda z, t: loss.normalizer(t)):
        wanted = [call(z, t) for z, t in zip(logits, target, strict=True)]
        assert_same([torch.vmap(call)(logits, target)], [torch.stack(wanted)])


def test_an_error_within_vmap_is_not_hidden(monkeypatch):
    def fails(*_):
        raise RuntimeError("the real one")

    monkeypatch.setattr("counterpoise.losses._adjusted.choose", lambda *_: (fails, "a test"))
    with pytest.raises(RuntimeError, match="the real one"):
        torch.vmap(losses.FocalLoss())(torch.randn(2, 3, 4), torch.zeros(2, 3).long())


@in_turn(word=losses.ALL, dtype=[torch.float16, torch.bfloat16])
def test_half_precision_is_float32_rounded_and_autocast_returns_what_torch_returns(word, dtype):
    loss = losses.ALL[word](COUNTS)
    logits, target = made((20, C), dtype)
    value, grad = outcome(loss, logits, target)
    wide = logits.detach().float().requires_grad_()
    wanted = outcome(loss, wide, target)
    assert value.dtype == nn.functional.cross_entropy(logits, target).dtype
    assert_same((value, grad), [w.to(dtype) for w in wanted])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(logits, target).dtype == nn.functional.cross_entropy(logits, target).dtype
        assert_same([loss(logits, target)], [wanted[0]])


@every_loss
def test_nothing_of_the_caller_is_changed_and_backward_may_come_twice(word):
    counts = COUNTS.clone()
    loss = losses.ALL[word](counts)
    logits, target = made((20, C))
    before = logits.detach().clone()
    value = loss(logits, target)
    first, second = (torch.autograd.grad(value, logits, retain_graph=True)[0] for _ in range(2))
    assert_same([first, logits, counts], [second, before, COUNTS])
    twice = torch.autograd.grad(2 * loss(logits, target), logits)[0]
    assert_same([twice], [2 * first])


def test_the_table_in_the_docs_shows_the_class_behind_each_word():
    lines = DOCS.read_text().splitlines()
    for word, make in {**losses.ALL, **losses.MULTI_LABEL}.items():
        (row,) = (line for line in lines if line.startswith(f"| `{word}`"))
        assert f"losses.{type(make(COUNTS)).__name__}(" in row
