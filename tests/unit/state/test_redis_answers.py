"""What Redis's answers mean, and that none is taken for what it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from redis.exceptions import ResponseError

from core.errors import StorageError
from core.policies.admission import (
    AdmissionPolicy,
    Granted,
    ProviderState,
    RefusedByCircuit,
    RefusedByLimiter,
)
from core.policies.override import Override, OverrideMode
from core.policies.rate_limit import Bookings
from core.state import redis_answers as answers
from core.state.base import FailedElsewhere, FetchedElsewhere, Opening, Snapshot
from core.state.encoding import encode
from core.state.redis_answers import Reply

CURE = r"cannot be understood.*BONGSU_REDIS_URL"
FORCED = encode(ProviderState(override=Override(OverrideMode.FORCED_OPEN, 9, "kim", "a \n b"))).encode()
ODD: list[Sequence[Reply]] = [
    [None],
    [7],
    [b"OK"],
    [[]],
    [[b"line"]],
    [[7, b"line"]],
    [ResponseError("no memory")],
]
ODD_OUTCOMES: list[Reply] = [
    [b"granted"],
    [b"granted", 0, 0, 0, 0, 0, 0, b"7", b""],
    [b"granted", 0, 0, 0, 0, 0, 0, 7, 8, b""],
    [b"granted", 0, 0, 0, 0, 0, 0, 7, b"1 2 3"],
    [b"granted", 0, 0, 0, 0, 0, 0, 7, b"1 2 3 4 5 six"],
    [b"granted", 0, 0, 0, 0, 0, 0, 7, None],
    [b"elsewhere", b"7"],
    [b"failed", 7],
    [b"limiter"],
    [b"circuit", 7],
    [b"circuit", 7, 0, b"no line"],
    [b"some other word", 7],
]


def meaning_of_settle(replies: Sequence[Reply]) -> object:
    return answers.settled(replies, AdmissionPolicy())


def meaning_of_peek(replies: Sequence[Reply]) -> object:
    return answers.peeked(replies, None)


def meaning_of_body(replies: Sequence[Reply]) -> object:
    return answers.body(replies[0])


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ([b"fresh"], None),
        ([b"elsewhere", 7], FetchedElsewhere(7)),
        ([b"failed", b"\x00"], FailedElsewhere(b"\x00")),
        ([b"limiter", 7, 5, b""], RefusedByLimiter(7, at=5)),
        ([b"limiter", 7, 5, b"1 2 3 4 5 6"], RefusedByLimiter(7, Bookings(1, 2, 3, 4, 5, 6), 5)),
        ([b"circuit", 7, 0], RefusedByCircuit(7)),
        ([b"circuit", 7, 1], RefusedByCircuit(7, wants_check=True)),
        ([b"circuit", 7, 0, FORCED], RefusedByCircuit(7, forced_by="kim: a \n b")),
        ([b"granted", -1, 0, 3, 0, 4, 0, 5, b""], Granted(-1, wait_us=3, failures=4, at=5)),
        (
            [b"granted", 2, 1, 0, 1, 0, 1, 5, b"1 2 3 4 5 6"],
            Granted(2, True, 0, True, 0, True, Bookings(1, 2, 3, 4, 5, 6), 5),
        ),
    ],
)
def test_each_outcome_of_asking_is_understood(reply: Reply, outcome: object) -> None:
    assert answers.opening([reply, b"kept"]) == Opening(b"kept", outcome)  # type: ignore[arg-type]
    assert answers.opening([reply]).kept is None


@pytest.mark.parametrize("replies", ODD)
@pytest.mark.parametrize(
    "meaning", [answers.opening, meaning_of_settle, answers.steered, meaning_of_peek, answers.scanned]
)
def test_an_answer_that_cannot_be_understood_is_reported_with_its_cure(
    meaning: Callable[[Sequence[Reply]], object], replies: Sequence[Reply]
) -> None:
    with pytest.raises(StorageError, match=CURE):
        meaning(replies)


@pytest.mark.parametrize("reply", ODD_OUTCOMES)
def test_an_outcome_that_is_none_of_ours_is_reported_with_its_cure(reply: Reply) -> None:
    with pytest.raises(StorageError, match=CURE):
        answers.opening([reply, None])


@pytest.mark.parametrize("replies", [[7], [[]], [["text"]]])
def test_a_kept_answer_is_bytes_or_nothing(replies: Sequence[Reply]) -> None:
    with pytest.raises(StorageError, match="a kept answer"):
        meaning_of_body(replies)
    with pytest.raises(StorageError, match="a kept answer"):
        answers.opening([[b"fresh"], *replies])


@pytest.mark.parametrize("replies", [[1, b"1"], [1, None], []])
def test_how_many_were_forgotten_is_a_number(replies: Sequence[Reply]) -> None:
    with pytest.raises(StorageError, match="how many were forgotten"):
        answers.forgotten(replies)


def test_only_answers_count_as_forgotten_and_not_that_they_were_called_fresh() -> None:
    assert answers.forgotten([1, 1, 1, 0]) == 1


def test_a_long_answer_is_told_of_in_short() -> None:
    with pytest.raises(StorageError) as caught:
        answers.opening([b"x" * 10_000])

    assert len(str(caught.value)) < 400


def test_a_look_gives_the_servers_time_or_the_one_given() -> None:
    replies: list[Reply] = [[b"1", b"2"], None]

    assert answers.peeked(replies, None) == Snapshot(ProviderState(), 1_000_002)
    assert answers.peeked(replies, 7) == Snapshot(ProviderState(), 7)
