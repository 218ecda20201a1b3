"""Keys of kept answers, down to the byte: what is kept today is found after an update."""

from __future__ import annotations

import pytest

from core.policies.cache import cache_key


class Celsius(float):
    """A number by another name."""


EVERY_KIND = {
    "text": "서울",
    "plain": "Seoul",
    "bytes": b"\x00\xff",
    "whole": -7,
    "broken": 1.5,
    "yes": True,
    "no": False,
    "nothing": None,
    "list": [1, "1"],
    "tuple": (1, "1"),
    "set": {2, 1},
    "mapping": {1: "a", "1": "b", (): {}},
}


def test_a_question_of_every_kind_keeps_its_key_over_updates() -> None:
    """If it changes, every answer kept anywhere is lost at an update: that has to be meant."""
    assert cache_key("address", "search", EVERY_KIND, 3, tenant="t", configuration="c") == (
        "address:search:a6420e541bc2378aaaa78c70e98b03e435e90160538d4498c54c0e53f7e3ddc4"
    )


@pytest.mark.parametrize(("special", "plain"), [(Celsius(2.5), 2.5), (-0.0, 0.0)])
def test_numbers_that_are_equal_and_of_a_kind_share_a_key(special: float, plain: float) -> None:
    assert cache_key("a", "b", {"x": special}) == cache_key("a", "b", {"x": plain})


def test_numbers_of_a_derived_kind_differ_as_their_plain_ones_do() -> None:
    assert cache_key("a", "b", {"x": Celsius(2.5)}) != cache_key("a", "b", {"x": Celsius(3.5)})


def test_a_tenant_and_a_configuration_of_the_same_name_are_not_the_same() -> None:
    keys = {
        cache_key("a", "b", {}),
        cache_key("a", "b", {}, tenant="x"),
        cache_key("a", "b", {}, configuration="x"),
        cache_key("a", "b", {}, tenant="x", configuration="x"),
    }

    assert len(keys) == 4


def test_what_cannot_be_part_of_a_key_is_refused_with_what_can() -> None:
    with pytest.raises(TypeError) as refused:
        cache_key("a", "b", {"x": object()})

    assert str(refused.value) == (
        "A object cannot be part of a cache key. Pass text, bytes, numbers, None, or lists, tuples, sets and "
        "mappings of these."
    )
