"""What is said to Redis: under which names, and how a policy is packed."""

from __future__ import annotations

import pytest

from core.policies.admission import AdmissionPolicy, Ask
from core.policies.rate_limit import LimitPolicy
from core.state import redis_commands as commands
from core.state.base import Wanted
from core.state.redis_commands import Policies


def policy_of(limit: int) -> AdmissionPolicy:
    return AdmissionPolicy(limits=LimitPolicy(per_minute=limit))


def test_a_policy_is_packed_once_and_told_from_others() -> None:
    policies, policy = Policies(), policy_of(7)

    packed = policies.packed(policy)

    assert policies.packed(policy) is packed
    assert policies.packed(policy_of(8)).to_open != packed.to_open
    assert policies.packed(policy_of(7)).to_open == packed.to_open


def test_policies_that_come_and_go_are_neither_confused_nor_collected() -> None:
    policies = Policies()

    for number in range(1, 2500):
        policy = policy_of(number)
        assert policies.packed(policy).policy is policy

    assert len(policies._known) <= 1000


@pytest.mark.parametrize(
    ("circuit", "line"),
    [
        ("address.juso", b"bongsu:{address}:circuit:juso"),
        ("address.juso.v2", b"bongsu:{address}:circuit:juso.v2"),
        ("address", b"bongsu:{address}:circuit"),
        ("address.", b"bongsu:{address}:circuit:"),
    ],
)
def test_a_circuit_lies_under_its_integration(circuit: str, line: bytes) -> None:
    assert commands.to_peek(circuit)[1] == ("GET", line)


@pytest.mark.parametrize(
    ("key", "fresh"),
    [
        ("address:search:1", b"bongsu:{address}:fresh:search:1"),
        ("address", b"bongsu:{address}:fresh"),
        ("address:", b"bongsu:{address}:fresh:"),
        ("주소:가", "bongsu:{주소}:fresh:가".encode()),
    ],
)
def test_what_scripts_know_of_an_answer_lies_under_its_integration(key: str, fresh: bytes) -> None:
    assert commands.fresh_key(key.encode()) == fresh


def test_the_kept_answer_is_asked_for_after_the_script_has_looked_whether_it_is_fresh() -> None:
    packed = Policies().packed(AdmissionPolicy())

    script, body = commands.to_open(packed, "address.juso", Ask(), Wanted("address:search:1", "one", 1), b"")

    assert script[0] == "EVALSHA"
    assert body == ("GET", b"bongsu:cache:address:search:1")
    assert b"bongsu:cache:address:search:1" not in script


def test_what_is_fresh_is_there_before_it_is_called_so_and_the_other_way_round() -> None:
    kept, fresh = commands.to_write(b"address:search:1", b"v", 60, 30)
    forgotten, stale = commands.to_write(b"address:search:1", b"v", 60, 0)

    assert kept == ("SET", b"bongsu:cache:address:search:1", b"v", "PX", 60_000)
    assert fresh == ("SET", b"bongsu:{address}:fresh:search:1", "", "PX", 30_000)
    assert (forgotten[0], stale) == ("DEL", kept)
