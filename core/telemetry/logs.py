"""Logging: one redacted line an event on standard error, whoever speaks.

Our own lines and those of libraries go the same way: through one handler at the root of the standard library's
loggers, which redacts every value, escapes whatever would break the line, and writes.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from core.config.integration import IntegrationConfig
from core.model.identity import current_trace_id
from core.redaction import MASK, Redactor, is_secret_name
from core.settings import LogFormat, LogLevel

_QUIET: Final = ("httpx", "httpcore", "apscheduler", "uvicorn", "uvicorn.error")
"""At INFO they say what our own lines say better: whole addresses once a request, three lines a run of a job."""
_ROUTED: Final = ("uvicorn.access", "sqlalchemy", "alembic")
_LEVELS: Final = logging.getLevelNamesMapping()
_WORD: Final = re.compile(r"[a-z_.]{1,40}")
_SHORTEST_NUMBER: Final = 6
"""A number with fewer characters is neither a secret nor somebody's."""

_BREAKS: Final = {
    code: f"\\u{code:04x}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x2028,
        0x2029,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
} | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
"""Whatever ends a line, steers a terminal or turns the direction of writing, and what is written instead."""


def configure(level: LogLevel, fmt: LogFormat, redactor: Redactor, stream: TextIO | None = None) -> None:
    """Have every log line of this process written to `stream`, by default standard error. May be called again."""
    ours: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _add_trace_id,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *ours,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=ours,
            processors=[
                _add_time,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _Redaction(redactor, ours=frozenset({"timestamp"})),
                _render_json if fmt is LogFormat.JSON else _render_console,
            ],
        )
    )
    _route(handler, _LEVELS[level.value.upper()])


def as_guest(redactor: Redactor) -> None:
    """Speak through the loggers and handlers of whoever runs this process (a notebook, a back end), redacted.

    Does nothing when the host has configured structlog, or a program of ours has called `configure`.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _add_trace_id,
            structlog.processors.format_exc_info,
            _Redaction(redactor),
            _render_event,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def set_levels(integrations: Iterable[IntegrationConfig]) -> None:
    """Write of each integration the lines of its own level, if it has one, else those of the process's."""
    for config in integrations:
        level = logging.NOTSET if config.log_level is None else _LEVELS[config.log_level.value.upper()]
        logging.getLogger(f"bongsu.integration.{config.integration_name}").setLevel(level)


def _route(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in (*_ROUTED, *_QUIET):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The time of what the line tells of, which may be written a moment later (`core.telemetry.lines`)."""
    time = datetime.fromtimestamp(event["_record"].created, UTC)
    event["timestamp"] = f"{time.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    return event


def _add_trace_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.setdefault("trace_id", current_trace_id())
    return event


class _Redaction:
    """Redacts every value of an event: whole below a telling name, else as text.

    The same few words come again and again (events, fields, integrations): what is left of one is remembered.
    """

    def __init__(self, redactor: Redactor, ours: frozenset[str] = frozenset()) -> None:
        """The fields `ours` are written by the processors before this one, whatever the event had there."""
        self._redactor = redactor
        self._ours = ours
        self._word = lru_cache(maxsize=1024)(redactor.text)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> MutableMapping[str, object]:
        return {
            self._text(str(name)): value if name in self._ours else self._value(str(name), value)
            for name, value in event.items()
        }

    def _value(self, name: str, value: object) -> object:  # noqa: PLR0911 -- one for each kind of value.
        if value is None or isinstance(value, bool):
            return value
        if is_secret_name(name):
            return MASK
        if isinstance(value, str):
            return self._text(str(value))
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, Mapping):
            return {self._text(str(key)): self._value(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(name, item) for item in value]
        return self._text(
            value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
        )

    def _number(self, value: float) -> object:
        text = str(value)
        if len(text) < _SHORTEST_NUMBER:
            return value
        redacted = self._text(text)
        return value if redacted == text else redacted

    def _text(self, text: str) -> str:
        return self._word(text) if _WORD.fullmatch(text) else self._redactor.text(text)


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _one_line(json.dumps(event, ensure_ascii=False))


def _render_event(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    fields = dict(event)
    return _one_line(_joined(str(fields.pop("event")), fields))


def _render_console(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    fields = dict(event)
    head = f"{fields.pop('timestamp')} {fields.pop('level'):8} {fields.pop('logger')}: {fields.pop('event')}"
    return _one_line(_joined(head, fields))


def _joined(head: str, fields: Mapping[str, object]) -> str:
    return " ".join([head, *(f"{name}={_shown(value)}" for name, value in fields.items())])


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or "=" in text else text


def _one_line(line: str) -> str:
    if line.isprintable():
        return line
    return line.encode("utf-8", "backslashreplace").decode().translate(_BREAKS)
