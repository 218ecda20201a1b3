"""The latency histogram: its buckets, its merging, and its packed form."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import pytest
from ddsketch.mapping import LogarithmicMapping

from core.metrics.histogram import LatencyHistogram


def test_buckets_are_those_of_ddsketch() -> None:
    """Two durations share a bucket exactly when DDSketch gives them the same key."""
    values = np.exp(np.random.default_rng(7).uniform(math.log(0.1), math.log(60_000), 20_000))
    mapping = LogarithmicMapping(0.01)
    keys = np.array([mapping.key(value) for value in values])

    found = np.concatenate([LatencyHistogram.of([value]).indexes for value in values])

    assert (found - keys == found[0] - keys[0]).all()


def test_nothing_measured_has_no_quantile() -> None:
    """An empty histogram has no quantile, packs, and changes nothing that it is merged with."""
    empty = LatencyHistogram.of([])

    assert empty.quantile(0.5) is None
    assert empty.count == 0
    assert LatencyHistogram.unpack(empty.pack()).quantile(0.99) is None
    assert (
        LatencyHistogram.merge_packed([empty.pack(), LatencyHistogram.of([5.0]).pack()]).quantile(0.5) == 5.0
    )
    assert LatencyHistogram.merge_packed([]).count == 0


def test_one_duration_is_every_quantile_exactly() -> None:
    histogram = LatencyHistogram.of([41.7])

    assert [histogram.quantile(q) for q in (0, 0.5, 1)] == [41.7, 41.7, 41.7]


@pytest.mark.parametrize("duration", [0.0, 0.000_1, 0.1, 60_000.0, 60_001.0, 1e12])
def test_durations_at_and_beyond_the_ends_are_counted(duration: float) -> None:
    """What the buckets do not reach is counted in the outermost, and the extremes stay exact."""
    histogram = LatencyHistogram.of([duration, duration])

    assert histogram.count == 2
    assert (histogram.shortest, histogram.longest) == (duration, duration)
    assert histogram.quantile(0.5) == duration


@pytest.mark.parametrize("duration", [-0.1, math.nan, math.inf, -math.inf])
def test_what_is_no_duration_is_refused(duration: float) -> None:
    with pytest.raises(ValueError, match="finite number of milliseconds"):
        LatencyHistogram.of([1.0, duration])


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_a_quantile_outside_of_zero_to_one_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        LatencyHistogram.of([1.0]).quantile(q)


@pytest.mark.parametrize("count", [255, 256, 65_535, 65_536])
def test_counts_of_every_width_survive_packing(count: int) -> None:
    """A count takes one, two or four bytes, and comes back as it was."""
    histogram = LatencyHistogram.of(np.full(count, 12.0))

    assert LatencyHistogram.unpack(histogram.pack()).count == count


def test_a_window_of_289_calls_packs_into_less_than_800_bytes() -> None:
    values = np.exp(np.random.default_rng(3).normal(4, 1.2, 289))

    assert len(LatencyHistogram.of(values).pack()) < 800


def test_any_damaged_byte_is_found() -> None:
    """Whichever byte of a packed histogram is changed, unpacking says so."""
    packed = LatencyHistogram.of([1.0, 20.0, 300.0]).pack()

    for place in range(len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 0x40
        with pytest.raises(ValueError, match=r"damaged|version|length"):
            LatencyHistogram.unpack(bytes(damaged))


def test_bytes_of_another_length_are_refused() -> None:
    """A histogram that is cut short, or has more behind it, is not taken for a whole one."""
    packed = LatencyHistogram.of([1.0, 20.0, 300.0]).pack()

    for blob in (b"", packed[:10], packed[:-1], packed + b"\0"):
        with pytest.raises(ValueError, match="packed histogram"):
            LatencyHistogram.unpack(blob)


@pytest.mark.parametrize(
    ("version", "width", "index", "fault"),
    [
        (2, 1, 10, "version 2"),
        (1, 3, 10, "wrong length"),
        (1, 2, 10, "wrong length"),
        (1, 1, 60_000, "does not exist"),
    ],
)
def test_a_form_that_is_not_known_is_refused_although_the_checksum_fits(
    version: int, width: int, index: int, fault: str
) -> None:
    """Bytes that another version of the code wrote are told from ours, and never half understood."""
    checked = struct.pack("<BBHddHB", version, width, 1, 5.0, 5.0, index, 1)
    blob = struct.pack("<I", zlib.crc32(checked)) + checked

    with pytest.raises(ValueError, match=fault):
        LatencyHistogram.unpack(blob)
