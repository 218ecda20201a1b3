"""The latency histogram: a small sketch of many durations that can be merged and asked for any quantile.

A duration of `x` milliseconds falls into bucket `ceil(ln x / ln g)` with g = 1.01 / 0.99, the mapping of DDSketch,
so that a quantile is off by at most 1 % of the exact value. Buckets reach from 0.1 ms to 60 s; what lies
outside is counted in the first or the last one, where the error may be larger. The smallest and the largest
duration are kept exactly.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

RELATIVE_ERROR: Final = 0.01
SHORTEST_MS: Final = 0.1
LONGEST_MS: Final = 60_000.0

_GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA: Final = math.log(_GAMMA)
_FIRST: Final = math.ceil(math.log(SHORTEST_MS) / _LOG_GAMMA)
_BUCKETS: Final = math.ceil(math.log(LONGEST_MS) / _LOG_GAMMA) - _FIRST + 1

_VERSION: Final = 1
_CHECKSUM: Final = struct.Struct("<I")
_HEADER: Final = struct.Struct(
    "<IBBHdd"
)  # checksum of what follows, version, bytes a count, buckets, extremes
_COUNT_TYPES: Final = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LatencyHistogram:
    """How many durations fell into each bucket that is not empty. Durations are milliseconds.

    `indexes` ascend; `shortest` and `longest` are exact, and 0 while there is no duration at all.
    """

    indexes: Integers
    counts: Integers
    shortest: float
    longest: float

    @staticmethod
    def of(values: Iterable[float]) -> LatencyHistogram:
        """The histogram of some durations. Raises ValueError when one is negative or not finite."""
        array = np.asarray(values if isinstance(values, Sequence | np.ndarray) else list(values), np.float64)
        if not is_measured(array).all():
            raise ValueError("A duration is a finite number of milliseconds, not below zero.")
        return LatencyHistogram.of_groups(array, np.zeros(len(array), np.int64), 1)[0]

    @staticmethod
    def of_groups(values: Floats, groups: Integers, number: int) -> list[LatencyHistogram]:
        """One histogram for each group from 0 to `number` - 1; `groups` says which one a value belongs to.

        All values have to be measured (`is_measured`).
        """
        shortest, longest = np.full(number, np.inf), np.zeros(number)
        np.minimum.at(shortest, groups, values)
        np.maximum.at(longest, groups, values)
        shortest[np.isinf(shortest)] = 0.0
        cells, counts = np.unique(groups * _BUCKETS + _buckets(values), return_counts=True)
        edges = np.searchsorted(cells, np.arange(number + 1) * _BUCKETS)
        return [
            LatencyHistogram(
                cells[edges[group] : edges[group + 1]] - group * _BUCKETS,
                counts[edges[group] : edges[group + 1]],
                float(shortest[group]),
                float(longest[group]),
            )
            for group in range(number)
        ]

    @staticmethod
    def merge_packed(blobs: Iterable[bytes]) -> LatencyHistogram:
        """The histogram of all their durations together, in whatever order they come, at about a microsecond each.

        Raises ValueError as `unpack` does.
        """
        parts: dict[int, tuple[list[bytes], list[bytes]]] = {width: ([], []) for width in _COUNT_TYPES}
        shortest, longest = math.inf, 0.0
        for blob in blobs:
            width, size, low, high = _read_header(blob)
            middle = _HEADER.size + 2 * size
            parts[width][0].append(blob[_HEADER.size : middle])
            parts[width][1].append(blob[middle:])
            if size:
                shortest, longest = min(shortest, low), max(longest, high)
        if math.isinf(shortest):
            return _EMPTY
        indexes = [np.frombuffer(b"".join(names), "<u2") for names, _ in parts.values()]
        counts = [
            np.frombuffer(b"".join(counts), _COUNT_TYPES[width]) for width, (_, counts) in parts.items()
        ]
        return _added(
            np.concatenate(indexes).astype(np.int64),
            np.concatenate([part.astype(np.int64) for part in counts]),
            shortest,
            longest,
        )

    @staticmethod
    def unpack(blob: bytes) -> LatencyHistogram:
        """What `pack` made. Raises ValueError when the bytes are of another kind, or damaged."""
        return LatencyHistogram.merge_packed([blob])

    def pack(self) -> bytes:
        """The histogram in 24 bytes and 3 or more for each bucket that is not empty."""
        width = _count_width(int(self.counts.max(initial=0)))
        header = _HEADER.pack(0, _VERSION, width, len(self.indexes), self.shortest, self.longest)
        checked = b"".join(
            (
                header[_CHECKSUM.size :],
                self.indexes.astype("<u2").tobytes(),
                self.counts.astype(_COUNT_TYPES[width]).tobytes(),
            )
        )
        return _CHECKSUM.pack(zlib.crc32(checked)) + checked

    @property
    def count(self) -> int:
        """How many durations there are."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> float | None:
        """The duration that a share `q` of all does not exceed, within 1 %; None when there is no duration.

        It estimates the value at position ⌊q · (n - 1)⌋ of the sorted durations, and never leaves the range
        from the shortest to the longest. Raises ValueError when `q` is not between 0 and 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"A quantile is between 0 and 1, not {q}.")
        if not len(self.counts):
            return None
        position = int(np.searchsorted(np.cumsum(self.counts), math.floor(q * (self.count - 1)), "right"))
        middle = _GAMMA ** int(self.indexes[position] + _FIRST) * 2 / (1 + _GAMMA)
        return min(max(middle, self.shortest), self.longest)


def is_measured(values: Floats) -> npt.NDArray[np.bool_]:
    """Which of the values are durations at all: finite and not below zero."""
    return np.isfinite(values) & (values >= 0)


def _buckets(values: Floats) -> Integers:
    keys = np.ceil(np.log(np.clip(values, SHORTEST_MS, LONGEST_MS)) / _LOG_GAMMA)
    return np.clip(keys.astype(np.int64) - _FIRST, 0, _BUCKETS - 1)


def _added(indexes: Integers, counts: Integers, shortest: float, longest: float) -> LatencyHistogram:
    # Sums of counts as floats are exact below 2^53, and bincount is several times as fast as add.at.
    dense = np.bincount(indexes, counts, _BUCKETS).astype(np.int64)
    if len(dense) > _BUCKETS:
        raise ValueError("A packed histogram has a bucket that does not exist.")
    used = np.flatnonzero(dense)
    return LatencyHistogram(used, dense[used], shortest, longest)


def _count_width(largest: int) -> int:
    return next(width for width in _COUNT_TYPES if largest < 1 << 8 * width)


def _read_header(blob: bytes) -> tuple[int, int, float, float]:
    if len(blob) < _HEADER.size:
        raise ValueError(f"A packed histogram is longer than {len(blob)} bytes.")
    check, version, width, size, low, high = _HEADER.unpack_from(blob)
    if zlib.crc32(memoryview(blob)[_CHECKSUM.size :]) != check:
        raise ValueError("A packed histogram is damaged: its checksum does not fit.")
    if version != _VERSION:
        raise ValueError(f"Packed histograms of version {version} are not known.")
    if width not in _COUNT_TYPES or len(blob) != _HEADER.size + size * (2 + width):
        raise ValueError("A packed histogram has the wrong length.")
    return width, size, low, high


_EMPTY: Final = LatencyHistogram(np.empty(0, np.int64), np.empty(0, np.int64), 0.0, 0.0)
