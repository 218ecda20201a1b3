"""The log lines of a test, as they are written: one JSON object each, redacted.

The lines of a call are written by the recorder's thread: they are there after the recorder was flushed, which `Hub.calls`
does, and has to be done before the lines stop being caught.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from core.redaction import Redactor
from core.settings import LogFormat, LogLevel
from core.telemetry.logs import configure


@dataclass
class Lines:
    """What was written so far."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    def all(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """Whatever is configured inside ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logger.level for name, logger in _named()}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, logger in _named():
            logger.setLevel(levels.get(name, logging.NOTSET))
        structlog.reset_defaults()


@contextmanager
def log_lines(redactor: Redactor | None = None) -> Iterator[Lines]:
    """Have every line from INFO up written here, and put logging back as it was at the end."""
    lines = Lines()
    with logging_as_it_was():
        configure(LogLevel.INFO, LogFormat.JSON, redactor or Redactor([]), lines.stream)
        yield lines


@contextmanager
def integration_lines() -> Iterator[list[logging.LogRecord]]:
    """The log records of all integrations from INFO up, before anything is made of them."""
    handler, logger = _Kept(), logging.getLogger("bongsu.integration")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


class _Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)


def _named() -> list[tuple[str, logging.Logger]]:
    known = logging.Logger.manager.loggerDict
    return [(name, logger) for name, logger in list(known.items()) if isinstance(logger, logging.Logger)]
