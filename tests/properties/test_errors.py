"""What every error of an integration tells operators, and what it never tells an end user."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.errors import BongsuError, CallError

KINDS = sorted(
    (
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, CallError) and kind.__module__ == errors.__name__
    ),
    key=lambda kind: kind.__name__,
)
words = st.from_regex(r"\A[a-z_]{1,20}\Z")


@pytest.mark.property(36)
@given(
    kind=st.sampled_from(KINDS),
    integration=words,
    operation=words,
    provider=st.one_of(st.none(), words),
    attempt=st.integers(0, 44),
    trace_id=st.from_regex(r"\A[0-9a-f]{32}\Z"),
    detail=st.text(max_size=40),
)
def test_every_message_names_integration_operation_attempt_and_trace(
    kind: type[CallError],
    integration: str,
    operation: str,
    provider: str | None,
    attempt: int,
    trace_id: str,
    detail: str,
) -> None:
    error = kind(
        detail,
        integration=integration,
        operation=operation,
        provider=provider,
        attempt=attempt,
        trace_id=trace_id,
    )

    message = str(error)
    assert message.startswith(integration)
    assert f".{operation}: " in message
    assert f"[attempt {attempt}, trace {trace_id}]" in message
    assert detail in message
    assert message.endswith(kind.cure)


@pytest.mark.property(38)
@given(
    kind=st.sampled_from(KINDS),
    secret=st.from_regex(r"\Ask_[a-z0-9]{16}\Z"),
    language=st.sampled_from(["ko", "en"]),
)
def test_what_an_end_user_reads_holds_nothing_of_the_detail(
    kind: type[CallError], secret: str, language: errors.Language
) -> None:
    error = kind(
        f"confmKey={secret}", integration="address", operation="search", provider="juso", trace_id="ab"
    )

    shown = error.user_message(language)

    assert secret not in shown
    assert not any(word in shown for word in ("address", "juso", "confmKey", "trace"))
    assert (any("가" <= letter <= "힣" for letter in shown)) == (language == "ko")


def test_the_tree_in_the_module_names_every_error_once() -> None:
    """The drawing at the top of the file is the whole truth: each class stands in it under its own base."""
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, BongsuError) and kind.__module__ == errors.__name__
    ]
    lines = [line for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    path: list[tuple[int, str]] = []
    drawn: dict[str, str | None] = {}
    for line in lines:
        name = line.lstrip(" │├└─").split()[0]
        depth = len(line) - len(line.lstrip(" │├└─"))
        path = [(above, parent) for above, parent in path if above < depth]
        drawn[name] = path[-1][1] if path else None
        path.append((depth, name))

    assert drawn == {
        kind.__name__: (kind.__base__.__name__ if kind is not BongsuError and kind.__base__ else None)
        for kind in kinds
    }
