"""How exact the norms are, in C above all, beside float64 and torch's kernels."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from tests.covering import every_pair

from counterpoise import norms
from counterpoise.kernels import compiled
from counterpoise.kernels.backend import forced_backend
from counterpoise.kernels.group_norm import group_norm
from counterpoise.kernels.layer_norm import layer_norm

LAST = torch.channels_last
in_c = pytest.mark.skipif(compiled.LIBRARY is None, reason="no compiler when it was built")
both = pytest.mark.usefixtures("with_and_without_c")
WITH_AND_WITHOUT_C = {"with_and_without_c": ["cpu", "eager"], "indirect": ["with_and_without_c"]}

SHAPES = [
    (2, 3, 50, 40), (4, 5, 9, 9), (3, 6, 5, 7), (2, 7, 13, 11), (1, 12, 7, 3), (2, 20, 33, 31),
    (2, 320, 7, 7), (1, 130, 6, 6), (2, 300, 3, 1), (5, 12, 2, 1), (1, 4, 224, 224), (40, 8, 1, 2),
    (300, 8, 1, 2), (20, 40, 15, 14),  # more rows, short and long, than are added in float
]  # fmt: skip


def random(*shape, seed=0, offset=0.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + offset


def case(shape, groups, dtype, offset=0.0, of_own=None):
    """Ours and torch's as functions of (x, weight, bias), and such arguments, with a gradient."""
    sizes = shape[1:] if groups == "layer" else shape[1:2]
    own = [random(*sizes, seed=seed).to(of_own or dtype) for seed in (1, 2)]
    x, slope = random(*shape, offset=offset).to(dtype), random(*shape, seed=3).to(dtype)
    if groups == "layer":
        norm = norms.LayerNorm(sizes)
        both = (lambda f: lambda x, *own: f(x, sizes, *own)), (layer_norm, F.layer_norm)
    else:
        norm = norms.GroupNorm(groups, shape[1])
        both = (lambda f: lambda x, *own: f(x, groups, *own)), (group_norm, F.group_norm)
    by = "eager: asked" if forced_backend() == "eager" else "cpu: "
    assert norms.explain(norm, x.contiguous(memory_format=LAST)).startswith(by)
    return *map(*both), [x, *own], slope


def outcome(norm, tensors, slope, layout=torch.contiguous_format):
    x, *own = (t.detach() for t in tensors)
    x, *own = (t.requires_grad_() for t in (x.contiguous(memory_format=layout), *own))
    y = norm(x, *own)
    return [y.detach(), *torch.autograd.grad(y, [x, *own], slope.to(y.dtype))]


def exact(norm, tensors, slope):
    return outcome(norm, [t.double() for t in tensors], slope)


@in_c
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_odd_sizes_at_any_mean_are_at_most_twice_as_far_off_as_torchs(shape, dtype):
    divisors = {g for g in (1, 2, 4, shape[1]) if shape[1] % g == 0}
    for groups, offset in itertools.product([*divisors, "layer"], (0.0, 1e2, 1e3, 1e4)):
        ours, theirs, tensors, slope = case(shape, groups, dtype, offset)
        wanted = exact(theirs, tensors, slope)
        found, others = outcome(ours, tensors, slope, LAST), outcome(theirs, tensors, slope)
        for f, o, w in zip(found, others, wanted, strict=True):
            assert f.dtype == dtype
            room = 4 * torch.finfo(torch.float32).eps * (1 + w.abs().max())
            assert (f - w).abs().max() <= 2 * (o - w).abs().max() + room
        assert found[0].is_contiguous(memory_format=LAST)
        assert found[1].is_contiguous(memory_format=LAST)


@in_c
@pytest.mark.parametrize("groups", [1, 2, 16, "layer"])
@pytest.mark.parametrize("offset", [0.0, 0.9, 1e4])
def test_images_of_224_pixels_lose_no_digit(groups, offset):
    ours, theirs, tensors, slope = case((2, 16, 224, 224), groups, torch.float32, offset)
    wanted = exact(theirs, tensors, slope)
    found = outcome(ours, tensors, slope, LAST)
    for f, w in zip(found, wanted, strict=True):
        assert (f - w).abs().max() <= 1.5e-6 * w.abs().max()


@in_c
def test_a_border_and_a_ramp_lose_no_digit():
    """Where the first pixels, or the first chunks, are far from the mean of the whole."""
    bordered = 1 + 1e-2 * random(1, 8, 96, 96)
    bordered[:, :, :1] = 0
    ramp = torch.linspace(-1e3, 1e3, 96)[:, None].expand(1, 8, 96, 96) + random(1, 8, 96, 96)
    for x, groups in itertools.product((bordered, ramp), (1, 8)):
        wanted = F.group_norm(x.double(), groups)
        found = group_norm(x.contiguous(memory_format=LAST), groups)
        assert (found - wanted).abs().max() <= 2e-6


@in_c
@every_pair(
    dtype=[torch.float32, torch.bfloat16],
    shape=[(70, 8, 14, 14), (1, 16, 97, 99), (3, 320, 24, 23)],
    groups=[1, 8, "layer"],
)
def test_any_number_of_threads_gives_the_same_bits(shape, groups, dtype):
    ours, _, tensors, slope = case(shape, groups, dtype)
    threads, results = torch.get_num_threads(), []
    try:
        for many in (1, 2, 3, 5):
            torch.set_num_threads(many)
            results.append(outcome(ours, tensors, slope, LAST))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@in_c
@pytest.mark.parametrize("groups", [2, "layer"])
@pytest.mark.parametrize("of_own", [torch.float32, torch.bfloat16])
def test_parameters_in_float32_beside_bfloat16(groups, of_own):
    ours, theirs, tensors, slope = case((3, 8, 9, 5), groups, torch.bfloat16, 3.0, of_own)
    wanted = exact(theirs, tensors, slope)
    found = outcome(ours, tensors, slope, LAST)
    assert [f.dtype for f in found] == [torch.bfloat16] * 2 + [of_own] * 2
    for f, w in zip(found, wanted, strict=True):
        room = max(torch.finfo(f.dtype).eps, 2e-6)
        assert (f - w).abs().max() <= room * w.abs().max()


@both
@pytest.mark.parametrize("groups", [2, "layer"])
def test_weight_in_float32_and_bias_in_bfloat16(groups):
    ours, theirs, tensors, slope = case((3, 8, 9, 5), groups, torch.bfloat16, 3.0, torch.float32)
    tensors[2] = tensors[2].bfloat16()
    wanted = exact(theirs, tensors, slope)
    for f, w in zip(outcome(ours, tensors, slope, LAST), wanted, strict=True):
        room = max(torch.finfo(f.dtype).eps, 2e-6)
        assert (f - w).abs().max() <= room * w.abs().max()


@both
@every_pair(
    groups=[1, 2, 8, "layer"],
    dtype=[torch.float32, torch.bfloat16],
    **WITH_AND_WITHOUT_C,
)
def test_only_what_is_asked_for_and_only_what_there_is(groups, dtype):
    ours, theirs, tensors, slope = case((3, 8, 9, 5), groups, dtype)
    room = 4 * torch.finfo(dtype).eps
    for learned in itertools.product((True, False), (True, False, None), (True, False, None)):
        if True not in learned:
            continue
        biased = learned[1] is None and learned[2] is not None
        if biased and forced_backend() == "eager":
            continue  # torch's backward fails for a bias without a weight
        given = [
            None if learns is None else t.detach().requires_grad_(learns)
            for t, learns in zip(tensors, learned, strict=True)
        ]
        asked = [t for t in given if t is not None and t.requires_grad]
        x, weight, bias = given
        y = ours(x.contiguous(memory_format=LAST), weight, bias)
        ones = torch.ones_like(tensors[1]) if weight is None else weight
        plain = theirs(x, ones, bias)
        torch.testing.assert_close(y, plain, rtol=room, atol=room)
        wanted = torch.autograd.grad(plain, asked, slope)
        last = torch.autograd.grad(y, asked[-1:], slope, retain_graph=True)
        found = torch.autograd.grad(y, asked, slope)
        torch.testing.assert_close(last, wanted[-1:], rtol=4 * room, atol=4 * room)
        torch.testing.assert_close(found, wanted, rtol=4 * room, atol=4 * room)
    with torch.no_grad():
        y = ours(tensors[0].contiguous(memory_format=LAST), *tensors[1:])
    torch.testing.assert_close(y, theirs(*tensors), rtol=room, atol=room)


@both
@pytest.mark.parametrize("groups", [2, "layer"])
def test_gradients_of_another_layout_and_expanded_ones(groups):
    ours, theirs, tensors, slope = case((3, 8, 9, 5), groups, torch.float32)
    wide = random(3, 8, 9, 10)
    for grad in (slope, slope.contiguous(memory_format=LAST), wide[..., ::2], slope[:1, :, :1, :1]):
        grad = grad.expand(3, 8, 9, 5)
        found, wanted = outcome(ours, tensors, grad, LAST), outcome(theirs, tensors, grad)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@both
@pytest.mark.parametrize("groups", [4, "layer"])
def test_nan_and_infinity_stay_in_their_sample(groups):
    ours, theirs, (x, *own), _ = case((3, 8, 9, 5), groups, torch.bfloat16)
    x[1, 3, 4, 2] = float("nan")
    x[2, 3, 4, 2] = float("inf")
    found = ours(x.contiguous(memory_format=LAST), *own)
    assert torch.equal(found.isnan(), theirs(x, *own).isnan())


@in_c
@pytest.mark.parametrize("groups", [4, "layer"])
def test_nan_of_any_bits_in_a_float32_parameter_stays_nan_in_bfloat16(groups):
    ours, theirs, (x, *own), _ = case((3, 8, 9, 5), groups, torch.bfloat16, 0.0, torch.float32)
    for p in own:
        p.view(torch.int32).view(-1)[1] = 0x7FFFFFFF
    found = ours(x.contiguous(memory_format=LAST), *own)
    assert torch.equal(found.isnan(), theirs(x, *own).isnan())


@in_c
def test_what_torch_refuses_is_refused_with_its_message():
    x = random(3, 8, 9, 5).contiguous(memory_format=LAST)
    for groups, size in ((3, 8), (2, 7)):
        with pytest.raises(RuntimeError) as ours:
            group_norm(x, groups, torch.ones(size))
        with pytest.raises(RuntimeError) as theirs:
            F.group_norm(x.contiguous(), groups, torch.ones(size))
        assert str(ours.value) == str(theirs.value)
    for wrong in ((8, 9, 4), (9, 8, 5)):
        with pytest.raises(RuntimeError, match="normalized_shape"):
            layer_norm(x, (8, 9, 5), torch.ones(wrong))


@in_c
@pytest.mark.parametrize("groups", [2, "layer"])
def test_parameters_with_gaps_and_a_saved_input_that_was_changed(groups):
    ours, theirs, (x, *own), slope = case((3, 8, 9, 5), groups, torch.float32)
    gaps = [torch.stack([p, p], -1)[..., 0] for p in own]
    wanted = outcome(theirs, [x, *own], slope)
    torch.testing.assert_close(outcome(ours, [x, *gaps], slope, LAST), wanted, rtol=1e-4, atol=1e-4)
    with norms.backend("eager"):
        found = outcome(ours, [x, *gaps], slope, LAST)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    x = x.contiguous(memory_format=LAST)
    y = ours(x, *(p.requires_grad_() for p in own))
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@in_c
@pytest.mark.parametrize("layer", [norms.GroupNorm(2, 4), norms.LayerNorm((4, 3, 5))])
@pytest.mark.parametrize("learns", [True, False])
def test_what_was_kept_from_a_transform_is_normalized_as_ever(layer, learns):
    """Such a tensor has no memory of its own to take the address of."""
    x, kept = random(2, 4, 3, 5).contiguous(memory_format=LAST), []
    torch.func.grad(lambda x: (kept.append(x), x.sum())[1])(x)
    with torch.set_grad_enabled(learns):
        torch.testing.assert_close(layer(kept[0]), layer(x))


@both
@every_pair(
    dtype=[torch.float32, torch.bfloat16, torch.float16, torch.float64],
    given=[(1, (4, 64, 9, 9)), (4, (4, 64, 9, 9)), (16, (2, 16, 33, 32))],  # groups, shape
    **WITH_AND_WITHOUT_C,
)
def test_group_norm_is_as_exact_as_torchs(dtype, given):
    groups, shape = given
    tensors, slope = [random(*shape), *(random(shape[1], seed=s) for s in (1, 2))], random(*shape)
    for offset in (0.0, 0.5, 3.0, 1e2, 1e4):
        given = [t.to(dtype) for t in (tensors[0] + offset, *tensors[1:])]
        wanted = exact(lambda x, *own: F.group_norm(x, groups, *own), given, slope)
        others = outcome(lambda x, *own: F.group_norm(x, groups, *own), given, slope)
        found = outcome(lambda x, *own: group_norm(x, groups, *own), given, slope, LAST)
        rounded = offset if dtype == torch.float64 else 0.0  # what float64 rounds the mean to
        for f, o, w in zip(found, others, wanted, strict=True):
            room = 8 * torch.finfo(dtype).eps * (1 + rounded) * (1 + w.abs().max())
            assert (f - w).abs().max() <= 2 * (o - w).abs().max() + room


@both
@every_pair(
    dtype=[torch.bfloat16, torch.float16],
    given=[(64, 1), (64, 4), (4, 1), (4, 2)],  # channels, groups
    **WITH_AND_WITHOUT_C,
)
def test_float32_parameters_beside_half_precision_get_torchs_gradients(dtype, given):
    channels, groups = given
    shape, own = (4, channels, 9, 9), [random(channels, seed=seed) for seed in (2, 3)]
    slope = random(*shape, seed=1)
    for offset in (0.0, 1.5, 3.0, 9.0, 1e2):
        given = [random(*shape, offset=offset).to(dtype), *own]
        wanted = exact(lambda x, *own: F.group_norm(x, groups, *own), given, slope)
        others = outcome(lambda x, *own: F.group_norm(x, groups, *own), given, slope)
        found = outcome(lambda x, *own: group_norm(x, groups, *own), given, slope, LAST)
        for f, o, w in list(zip(found, others, wanted, strict=True))[2:]:
            assert (f - w).abs().max() <= 4 * (o - w).abs().max() + 1e-5


TINY = [(2, 4, 28, 28), (3, 8, 14, 14), (1, 6, 5, 7), (5, 12, 1, 1), (4, 2, 3, 1), (2, 260, 2, 2)]


@both
@every_pair(shape=TINY, layout=[torch.contiguous_format, LAST], **WITH_AND_WITHOUT_C)
def test_small_images_in_both_layouts(shape, layout):
    x, slope = random(*shape), random(*shape, seed=3)
    for sizes, given, ours, theirs in (
        (shape[1:2], 2, group_norm, F.group_norm),
        (shape[1:], shape[1:], layer_norm, F.layer_norm),
    ):
        tensors = [x, *(random(*sizes, seed=seed) for seed in (1, 2))]
        found = outcome(lambda x, *own, f=ours, g=given: f(x, g, *own), tensors, slope, layout)
        wanted = exact(lambda x, *own, f=theirs, g=given: f(x, g, *own), tensors, slope)
        for f, w in zip(found, wanted, strict=True):
            torch.testing.assert_close(f.double(), w, rtol=1e-4, atol=2e-4)
        assert found[0].is_contiguous(memory_format=layout)
