"""Text is mended where a database could not hold it, and nowhere else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.persistence.text import storable

_anything = st.text(st.characters(exclude_categories=()))


@given(_anything)
def test_what_is_storable_is_encodable_and_free_of_nul(text: str) -> None:
    mended = storable(text)

    assert "\0" not in mended
    assert mended.encode().decode() == mended


@given(st.text().filter(lambda text: "\0" not in text))
def test_text_that_is_storable_already_stays_as_it_is(text: str) -> None:
    assert storable(text) == text


@given(_anything)
def test_mending_text_twice_changes_nothing_more(text: str) -> None:
    assert storable(storable(text)) == storable(text)


def test_two_halves_that_stand_together_become_their_character() -> None:
    assert storable("\ud83d\ude00 and \ud83d alone") == "😀 and \N{REPLACEMENT CHARACTER} alone"


def test_text_is_cut_at_the_longest_length_and_nothing_stays_nothing() -> None:
    assert storable("abc", 2) == "ab"
    assert storable("ab", 2) == "ab"
    assert storable(None, 2) is None
