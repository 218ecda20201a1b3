"""A body comes out as it went in, however it was cut and packed, and a bomb is refused before it is inflated."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.verdict import Verdict
from core.transports.base import TransportFault
from core.transports.body import MAX_BODY_BYTES, Body

MEGABYTE = 1024 * 1024


def taken(chunks: Iterable[bytes], encoding: str = "gzip") -> bytes:
    """What comes of these chunks."""
    body = Body(encoding)
    for chunk in chunks:
        body.add(chunk)
    return body.whole()


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """The data in pieces of so many bytes."""
    return (data[start : start + size] for start in range(0, len(data), size))


@given(members=st.lists(st.binary(max_size=500), max_size=5), size=st.integers(1, 60))
def test_gzip_comes_out_whole_however_many_members_and_wherever_it_is_cut(
    members: list[bytes], size: int
) -> None:
    packed = b"".join(gzip.compress(member) for member in members)
    assert taken(cut(packed, size)) == b"".join(members)


@given(chunks=st.lists(st.binary(max_size=500), max_size=5))
def test_a_plain_body_is_what_it_is(chunks: list[bytes]) -> None:
    assert taken(chunks, "") == taken(chunks, " Identity ") == b"".join(chunks)


@pytest.mark.fault("CP-04")
@given(
    head=st.integers(0, MAX_BODY_BYTES),
    bomb=st.integers(1, 10 * MEGABYTE),
    size=st.sampled_from([1000, 2**16]),
)
def test_nothing_beyond_the_bound_is_taken_and_all_within_it_is(head: int, bomb: int, size: int) -> None:
    """The bound is on all members together."""
    packed = gzip.compress(bytes(head), 1) + gzip.compress(bytes(bomb), 1)
    if head + bomb <= MAX_BODY_BYTES:
        assert len(taken(cut(packed, size))) == head + bomb
        return
    with pytest.raises(TransportFault, match="larger than") as raised:
        taken(cut(packed, size))
    assert raised.value.verdict is Verdict.MALFORMED


@pytest.mark.fault("CP-04")
@pytest.mark.parametrize("size", [1, 7, 1000, 65536])
@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(bytes(10 * MEGABYTE)),
        gzip.compress(bytes(MEGABYTE)) * 10,
    ],
    ids=["one member", "ten members"],
)
def test_a_bomb_is_never_inflated_beyond_the_bound(packed: bytes, size: int) -> None:
    """Ten megabytes of nothing come in ten kilobytes; no more of them than the bound is ever made."""
    tracemalloc.start()
    try:
        with pytest.raises(TransportFault):
            taken(cut(packed, size))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_BODY_BYTES


@pytest.mark.fault("CP-04")
@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip",
        gzip.compress(b"whole")[:-1],
        gzip.compress(b"whole") + b"more",
        gzip.compress(b"whole")[:-8] + bytes(8),
        zlib.compress(b"deflate"),
    ],
    ids=["no gzip", "cut off", "something behind", "a wrong checksum", "deflate"],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_not_whole_gzip_is_malformed(packed: bytes, size: int) -> None:
    with pytest.raises(TransportFault) as raised:
        taken(cut(packed, size))
    assert raised.value.verdict is Verdict.MALFORMED


@pytest.mark.parametrize(
    "encoding", ["deflate", "br", "zstd", "gzip,gzip", "gzip, identity", "compress", "*"]
)
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(TransportFault, match="did not ask for"):
        Body(encoding)


def test_a_body_without_a_byte_needs_no_gzip() -> None:
    assert taken([]) == taken([b""]) == b""
