"""What redaction keeps for any secret and any text: nothing of a secret is left, and twice is once."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.redaction import CAP_BYTES, MASK, Redactor

plain = st.characters(codec="utf-8", exclude_characters="*")
secrets = st.text(plain, min_size=8, max_size=40)
texts = st.text(st.characters(codec="utf-8"), max_size=300)
pieces = st.sampled_from(
    [
        *(
            "password",
            "token",
            "비밀번호",
            "Authorization",
            "=",
            ":",
            " ",
            '"',
            "'",
            "\\",
            "\\\\",
            "Bearer ",
            "\n",
            "***",
        ),
        *(
            "010-1234-5678",
            "900101-1234567",
            "4111111111111111",
            "eyJhbGci.eyJzdWIi.x",
            "://u:p@h",
            "<",
            ">",
            "{",
            "}",
        ),
        *(
            "sk_live_0123456789ab",
            "&key=",
            "?code=1",
            ",",
            "(",
            "('pw', ",
            "[",
            "]",
            "abc",
            "12",
            ";",
            "%3D",
            "\u200b",
        ),
    ]
)
jumbles = st.lists(pieces, max_size=25).map("".join)


@pytest.mark.fault("LW-06")
@given(secrets, texts, texts)
def test_nothing_of_any_configured_secret_is_left_in_any_text(secret: str, before: str, after: str) -> None:
    """Whatever stands around it, and in each of the forms that carriers give it."""
    redactor = Redactor([secret])
    for form in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]):
        # Where the surroundings repeat it by chance, or join it into another occurrence, any one is enough.
        assume(form not in before + after)
        assert form not in redactor.text(before + form + after)
        assert form not in (redactor.body((before + form + after).encode(), None) or "")


@given(secrets, st.binary(max_size=12), st.binary(max_size=12))
def test_base64_of_any_secret_in_any_neighbourhood_is_masked(
    secret: str, before: bytes, after: bytes
) -> None:
    encoded = base64.b64encode(before + secret.encode() + after).decode()

    redacted = Redactor([secret]).text(f"({encoded})")

    assert MASK in redacted
    assert encoded not in redacted


@given(st.one_of(texts, jumbles))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor(["a-secret-of-ours"])

    once = redactor.text(text)

    assert redactor.text(once) == once


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | jumbles,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(("a", "note", "x=1", "010-1234-5678")), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_in_a_document_no_less_is_found_than_in_its_text(value: object) -> None:
    """Reading it by its structure saves looking at all of it, and overlooks nothing."""
    redactor = Redactor(["a-secret-of-ours"])
    body = json.dumps({"value": value}, ensure_ascii=False)

    assert redactor.body(body.encode(), "application/json") == redactor.text(body)


@given(
    st.binary(max_size=400),
    st.sampled_from((None, "application/json", "text/plain; charset=euc-kr", "image/png", "?")),
)
def test_any_bytes_become_a_text_that_is_not_too_long(body: bytes, kind: str | None) -> None:
    redacted = Redactor(["a-secret-of-ours"]).body(body, kind)

    assert (redacted is None) == (not body)
    assert len((redacted or "").encode("utf-8", "surrogatepass")) <= CAP_BYTES + 60


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(plain, max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(plain, max_size=8), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_whatever_stands_under_a_telling_name_in_json_is_masked(value: object) -> None:
    """At any depth every leaf is masked, and the document stays a document of the same form."""
    body = json.dumps({"page": 1, "password": value, "size": 2})

    redacted = json.loads(Redactor([]).body(body.encode(), "application/json") or "")

    assert (redacted["page"], redacted["size"]) == (1, 2)
    assert set(_leaves(redacted["password"])) <= {MASK, None, True, False, ""}


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
