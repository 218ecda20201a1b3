"""The log lines of a test, as they are written: one JSON object each, redacted."""

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
def log_lines(redactor: Redactor | None = None) -> Iterator[Lines]:
    """Have every line from INFO up written here, and put logging back as it was at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logger.level for name, logger in _named()}
    lines = Lines()
    configure(LogLevel.INFO, LogFormat.JSON, redactor or Redactor([]), lines.stream)
    try:
        yield lines
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, logger in _named():
            logger.setLevel(levels.get(name, logging.NOTSET))
        structlog.reset_defaults()


def _named() -> list[tuple[str, logging.Logger]]:
    known = logging.Logger.manager.loggerDict
    return [(name, logger) for name, logger in list(known.items()) if isinstance(logger, logging.Logger)]
