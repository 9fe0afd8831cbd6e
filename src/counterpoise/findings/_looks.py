"""Images that look nearly the same: a difference hash, and the pairs whose hashes are near.

The hash is dHash: the image averaged to 8 rows of 9 cells, and a bit for each cell that is darker
than the next one. imagehash computes it from a file by Pillow; here the images are arrays, of which
there may be 20,000, so it is a few lines of NumPy on a block at a time, and its other
dependencies (PyWavelets) are not needed.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

SMALLEST = 16  # pixels a side of images that are compared; smaller ones show too little
_CELL = 32  # pixels a side of the small images on which likeness is measured
_ROWS, _CELLS = 8, 9
_BANDS = 4  # of bits; hashes that differ in fewer bits are equal in one of them
_NEAREST = _BANDS - 1  # bits that the hashes of a pair may differ in
_LONGEST = 500  # hashes of equal bands, each of which is compared with so many next ones
_ALIKE, _ROUGHLY = 0.99, 0.98  # correlation of the pixels of a pair, and of 8 by 8 cells
_BLOCK = 4096  # pairs that are compared at a time
_FLAT = 2.0  # grey levels of 255: the standard deviation of an image that shows nothing

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Pairs = npt.NDArray[np.int64]


def small(images: np.ndarray) -> Bytes:
    """Return images (N, channels, height, width) as grey ones of 32 pixels a side at most."""
    grey = images.mean(1, dtype=np.float32)
    if images.dtype != np.uint8:
        low = grey.min((1, 2), keepdims=True)
        grey = (grey - low) / np.maximum(grey.max((1, 2), keepdims=True) - low, 1e-12) * 255
    return _averaged(grey, min(_CELL, grey.shape[1]), min(_CELL, grey.shape[2])).astype(np.uint8)


def hashes(images: Bytes) -> Hashes:
    """Return the difference hash of each of some small grey images (N, height, width).

    Source: Krawetz 2013, "Kind of like that", hackerfactor.com.

    Example:
        >>> import numpy as np
        >>> rising = np.tile(np.arange(16, dtype=np.uint8), (1, 16, 1))
        >>> [f"{h:x}" for h in hashes(np.concatenate([rising, rising[..., ::-1]]))]
        ['ffffffffffffffff', '0']
    """
    cells = _averaged(images.astype(np.float32), _ROWS, _CELLS)
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(images), -1)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def _averaged(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return images averaged down to so many rows and columns of nearly equal size."""
    for axis, cells in ((1, rows), (2, columns)):
        edges = np.arange(cells + 1) * images.shape[axis] // cells
        sums = np.add.reduceat(images, edges[:-1], axis=axis)
        shape = [1, 1, 1]
        shape[axis] = cells
        images = sums / np.diff(edges).reshape(shape)
    return images


def near_pairs(images: Bytes, side: npt.NDArray[np.int64] | None = None) -> Pairs:
    """Return the pairs of small grey images that look nearly the same, (M, 2), in order.

    Their hashes differ in 5 bits at most, and their pixels correlate by 0.99 or more. Images that
    show nothing are left out. Hashes are compared where a sixth of their bits is equal, so that
    time grows little faster than the number of images.

    Args:
        images: (N, height, width), of `small`.
        side: a number of each image, (N); pairs of equal numbers are left out. None: all pairs.

    Example:
        >>> import numpy as np
        >>> some = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
        >>> near_pairs(np.concatenate([some, some[1:2] // 2])).tolist()
        [[1, 3]]
    """
    looked_at = np.flatnonzero(images.std((1, 2)) > _FLAT)
    keys = hashes(images[looked_at]) if len(looked_at) else np.empty(0, np.uint64)
    found = [np.empty((0, 2), np.int64)]
    rough = _standardized(_averaged(images.astype(np.float32), _ROWS, _ROWS))
    for first, second in _candidates(keys):
        pairs = np.stack([looked_at[first], looked_at[second]], 1)
        if side is not None:
            pairs = pairs[side[pairs[:, 0]] != side[pairs[:, 1]]]
        pairs = pairs[_correlation(rough, pairs) >= _ROUGHLY]
        fine, index = np.unique(pairs, return_inverse=True)
        likeness = _correlation(_standardized(images[fine]), index.reshape(pairs.shape))
        found.append(pairs[likeness >= _ALIKE])
    return np.unique(np.sort(np.concatenate(found), 1), axis=0)


def _candidates(keys: Hashes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of positions whose hashes are near, some of them more than once."""
    edges = np.arange(_BANDS + 1) * 64 // _BANDS
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        band = (keys >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.lexsort((keys, band))
        band, sorted_keys = band[order], keys[order]
        for step in range(1, min(_LONGEST, len(order) - 1) + 1):
            near = np.flatnonzero(band[step:] == band[:-step])
            if not len(near):
                break
            near = near[_differing(sorted_keys[near], sorted_keys[near + step]) <= _NEAREST]
            yield order[near], order[near + step]


_ONES = np.array([bin(k).count("1") for k in range(2**16)], np.uint8)


def _differing(one: Hashes, other: Hashes) -> npt.NDArray[np.int64]:
    """Return in how many bits hashes differ."""
    return _ONES[(one ^ other).view(np.uint16).reshape(-1, 4)].sum(1, dtype=np.int64)


def _standardized(images: np.ndarray) -> npt.NDArray[np.float32]:
    """Return images as rows of mean 0 and length 1, or 0 where all pixels are equal."""
    rows = images.reshape(len(images), int(np.prod(images.shape[1:]))).astype(np.float32)
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.sqrt((rows**2).sum(1, keepdims=True)), 1e-6)


def _correlation(rows: npt.NDArray[np.float32], pairs: Pairs) -> npt.NDArray[np.float32]:
    """Return the correlation of each pair of rows of `_standardized`."""
    found = [np.empty(0, np.float32)]
    for some in np.array_split(pairs, range(_BLOCK, len(pairs), _BLOCK)):
        found.append(np.einsum("nk,nk->n", rows[some[:, 0]], rows[some[:, 1]]))
    return np.concatenate(found)
