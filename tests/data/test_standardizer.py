"""Scaling against scikit-learn."""

import pytest
import torch
from sklearn.preprocessing import StandardScaler

from counterpoise.data import Standardizer

DTYPES = [torch.float16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_vectors_as_scikit_learn(dtype, offset):
    x = (torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 5 + offset).to(dtype)
    train, test = x[:40], x[40:]
    scaler = StandardScaler().fit(train.double())
    for split in (train, test):
        found = Standardizer.fit(train)(split)
        assert found.dtype == dtype
        wanted = torch.from_numpy(scaler.transform(split.double())).to(dtype)
        torch.testing.assert_close(found, wanted)


def test_images_channel_by_channel():
    x = torch.randn(20, 3, 5, 4) * torch.tensor([1.0, 10, 100]).view(3, 1, 1) + 7
    found = Standardizer.fit(x)(x)
    flat = x.permute(0, 2, 3, 1).reshape(-1, 3)
    wanted = torch.from_numpy(StandardScaler().fit_transform(flat.double())).float()
    torch.testing.assert_close(found.permute(0, 2, 3, 1).reshape(-1, 3), wanted)


def test_constants_become_zero_even_where_they_are_none():
    train = torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]], dtype=torch.float64)
    found = Standardizer.fit(train)(torch.tensor([[0.1, 2.0], [5.0, 2.0]], dtype=torch.float64))
    assert found.tolist() == [[0, 0], [0, 0]]
    assert Standardizer.fit(torch.full((1000, 1), 0.1))(torch.tensor([[0.1]])).item() == 0


def test_a_thousandth_beside_a_million_is_seen():
    train = torch.tensor([[1e6], [1e6 + 0.125]])
    assert Standardizer.fit(train)(train).tolist() == [[-1.0], [1.0]]


def test_uint8_images_are_left_alone():
    x = torch.randint(0, 255, (4, 1, 3, 3), dtype=torch.uint8)
    assert Standardizer.fit(x)(x) is x
