"""Every error that this product raises on purpose.

    BongsuError
    ├── SettingsRefused            the start is refused: settings are malformed; holds all faults at once
    ├── StorageError               our own database or data directory cannot be used
    │   ├── DataDirectoryUnusable
    │   ├── DatabaseUnreachable
    │   ├── DatabaseDamaged        the file is no database, or a broken one
    │   ├── DatabaseBehind         migrations have to run first
    │   └── DatabaseAhead          the code is older than the database
    ├── KeyringError               a stored secret cannot be read or written
    ├── AccessRefused              a person or a program may not do this
    └── CallError                  a call to a third party gave no answer
        ├── CallRejected           *we* refused: nothing was sent
        │   ├── InvalidRequest     the caller's own mistake, found before sending
        │   ├── NotConfigured      credentials are missing
        │   ├── IntegrationDisabled
        │   ├── CircuitOpen        the provider is known to be ill; carries `retry_after`
        │   ├── RateLimited        our own limit is used up; carries `retry_after`
        │   ├── TooManyInFlight    as many calls of the integration are under way as may be
        │   └── DeadlineExceeded   no time is left for another attempt
        └── CallFailed             *they* failed, or refused
            ├── ConnectionFailed   no connection, or it broke
            ├── AttemptTimedOut    no whole answer within the time allowed
            ├── ProviderUnavailable  the provider says that it is broken (5xx and the like)
            ├── MalformedAnswer    an answer that does not keep the provider's own format
            ├── Throttled          the provider asks us to slow down; carries `retry_after`
            ├── CredentialsRefused the provider does not accept our key
            ├── OutcomeUnknown     it may have been carried out, and must not be sent again
            ├── RequestRefused     the provider calls the request wrong
            └── NotFound           the provider knows no such thing

An error's text is for operators: it names integration, operation, attempt and trace id, tells the cure,
and never holds a secret. What an end user may read is `user_message`, in Korean and English.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

Language = Literal["ko", "en"]


class BongsuError(Exception):
    """The root: `except BongsuError` catches whatever this product raises on purpose."""


@dataclass(frozen=True, slots=True)
class SettingFault:
    """One thing wrong with the settings: the variable, its value (masked if secret), and what is allowed."""

    name: str
    value: str
    problem: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}: {self.problem}"


class SettingsRefused(BongsuError):
    """The settings are malformed. `faults` holds every fault, so that one look mends them all."""

    def __init__(self, faults: tuple[SettingFault, ...]) -> None:
        self.faults = faults
        count = "1 setting is" if len(faults) == 1 else f"{len(faults)} settings are"
        super().__init__("\n".join([f"{count} malformed:", *(f"  {fault}" for fault in faults)]))


class StorageError(BongsuError):
    """Our own database or data directory cannot be used."""


class DataDirectoryUnusable(StorageError):
    """The data directory cannot be created or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"The data directory {path} cannot be written ({reason}). "
            "Choose another with --data DIR or BONGSU_DATA_DIR."
        )


class DatabaseUnreachable(StorageError):
    """The database does not answer."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"The database at {where} cannot be reached: {reason}. Check BONGSU_DATABASE_URL.")


class DatabaseDamaged(StorageError):
    """The embedded database is no database, or a broken one."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The file {path} is not a readable database: it is damaged, or something else was put in its place. "
            "Restore a backup, or move the file away to start anew."
        )


class DatabaseBehind(StorageError):
    """The database is older than the code."""

    def __init__(self, found: str | None, wanted: str) -> None:
        super().__init__(
            f"The database is at revision {found or 'none'}, this version needs {wanted}. "
            "Run `bongsu migrate` once."
        )


class DatabaseAhead(StorageError):
    """The database was migrated by a newer version of the code."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"The database is at revision {found}, which this version does not know: it was migrated by a "
            "newer version of Bongsu. Install that version, or restore a backup made before the upgrade."
        )


class KeyringError(BongsuError):
    """A stored secret cannot be read or written. The message says which key is missing and how to bring it."""


class AccessRefused(BongsuError):
    """A person or a program may not do this. The message is the same whatever the reason was."""


class CallError(BongsuError):
    """A call to a third party gave no answer.

    Every instance knows its context: `integration`, `operation`, `provider` (the last one asked, if any),
    `attempt` (how many attempts were made; 0 when nothing was sent) and `trace_id`; `what` is what happened, in
    one short sentence for operators.
    """

    is_callers_own: ClassVar[bool] = False
    """Whether the caller asked for what cannot be had, so that it says nothing about the third party."""

    tells_of_provider: ClassVar[bool] = False
    """Whether it says something about the third party, so that rates count the call: what we did not send because
    of our own limits, settings or deadlines does not."""

    summary: ClassVar[str] = "the call gave no answer"
    cure: ClassVar[str] = "Look at the call log for this trace id."
    user_text: ClassVar[dict[Language, str]] = {
        "ko": "지금은 처리할 수 없습니다. 잠시 후 다시 시도해 주세요.",
        "en": "This cannot be done right now. Please try again in a moment.",
    }

    def __init__(
        self,
        detail: str = "",
        *,
        integration: str,
        operation: str,
        provider: str | None = None,
        attempt: int = 0,
        trace_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        self.detail = detail
        self.integration = integration
        self.operation = operation
        self.provider = provider
        self.attempt = attempt
        self.trace_id = trace_id
        self.retry_after = retry_after
        self.what = f"{self.summary}: {detail}" if detail else self.summary
        who = integration if provider is None else f"{integration} ({provider})"
        super().__init__(f"{who}.{operation}: {self.what} [attempt {attempt}, trace {trace_id}]. {self.cure}")

    def user_message(self, language: Language = "ko") -> str:
        """What an end user may read: no provider, no code, no address, no secret."""
        return self.user_text[language]


class CallRejected(CallError):
    """We refused: nothing was sent."""

    summary = "the call was not sent"


class InvalidRequest(CallRejected):
    """The caller's own mistake, found before anything was sent."""

    is_callers_own = True
    summary = "the request is not valid"
    cure = "Correct the request."
    user_text: ClassVar[dict[Language, str]] = {
        "ko": "입력하신 내용을 확인해 주세요.",
        "en": "Please check what you entered.",
    }


class NotConfigured(CallRejected):
    """The integration has no credentials."""

    summary = "no credentials are configured"
    cure = "Set the variable that the detail names, or switch mock mode on."


class IntegrationDisabled(CallRejected):
    """The integration is switched off by configuration."""

    summary = "the integration is switched off"
    cure = "Switch it on in its configuration (is_enabled)."


class CircuitOpen(CallRejected):
    """The provider is known to be ill; after `retry_after` seconds a probe is let through."""

    tells_of_provider = True
    summary = "the circuit breaker is open"
    cure = "Wait for the provider to recover, which the breaker finds out by itself; a forced one, take back."


class RateLimited(CallRejected):
    """Our own limit is used up; a token is free after `retry_after` seconds."""

    summary = "the rate limit is used up"
    cure = "Call less often, or raise the limit if the provider allows more."
    user_text: ClassVar[dict[Language, str]] = {
        "ko": "요청이 많아 잠시 대기 중입니다. 잠시 후 다시 시도해 주세요.",
        "en": "Many requests are waiting. Please try again in a moment.",
    }


class TooManyInFlight(CallRejected):
    """As many calls of the integration are under way in this process as its configuration allows."""

    summary = "too many calls are under way"
    cure = "Call less at once, or raise max_calls_in_flight if the process has threads to spare."


class DeadlineExceeded(CallRejected):
    """No time is left for another attempt."""

    summary = "the deadline leaves no time for another attempt"
    cure = "Allow more time (deadline_seconds), or fewer retries."


class CallFailed(CallError):
    """They failed, or refused."""

    tells_of_provider = True
    summary = "the provider failed"


class ConnectionFailed(CallFailed):
    """No connection could be made, or it broke before the whole answer was there."""

    summary = "the connection failed"
    cure = "Check the provider's address and the network."


class AttemptTimedOut(CallFailed):
    """No whole answer came within the time allowed for one attempt."""

    summary = "the provider did not answer in time"
    cure = "Check the provider, or allow more time (timeout_seconds)."


class ProviderUnavailable(CallFailed):
    """The provider itself says that it is broken."""

    summary = "the provider is unavailable"
    cure = "Check the provider's status page."


class MalformedAnswer(CallFailed):
    """The answer does not keep the provider's own format."""

    summary = "the answer cannot be understood"
    cure = "Look at the answer in the call log; the provider may have changed its format."


class Throttled(CallFailed):
    """The provider asks us to slow down, or a quota is used up."""

    summary = "the provider asks us to slow down"
    cure = "Lower the rate limit, or ask the provider for a larger quota."


class CredentialsRefused(CallFailed):
    """The provider does not accept our key."""

    summary = "the provider does not accept our credentials"
    cure = "Check the key: is it valid, of the right kind, and allowed from this address?"


class OutcomeUnknown(CallFailed):
    """The request may have been carried out, and sending it again might have it carried out twice."""

    summary = "it is not known whether the provider has carried it out"
    cure = "Look at the provider whether it has; only then ask again."
    user_text: ClassVar[dict[Language, str]] = {
        "ko": "처리 여부를 확인하고 있습니다. 다시 시도하기 전에 결과를 확인해 주세요.",
        "en": "It is not certain yet whether this was done. Please check before you try again.",
    }


class RequestRefused(CallFailed):
    """The provider calls the request wrong."""

    is_callers_own = True
    summary = "the provider does not accept the request"
    cure = "Correct the request; the detail is the provider's own reason."
    user_text: ClassVar[dict[Language, str]] = InvalidRequest.user_text


class NotFound(CallFailed):
    """The provider knows no such thing."""

    is_callers_own = True
    summary = "nothing was found"
    cure = "Check the number or the name."
    user_text: ClassVar[dict[Language, str]] = {
        "ko": "일치하는 정보를 찾을 수 없습니다.",
        "en": "Nothing matches what you asked for.",
    }


def telling_errors() -> frozenset[str]:
    """The names of all errors that say something about the third party."""
    return frozenset(_names_of(CallError))


def _names_of(kind: type[CallError]) -> Iterator[str]:
    if kind.tells_of_provider:
        yield kind.__name__
    for narrower in kind.__subclasses__():
        yield from _names_of(narrower)
