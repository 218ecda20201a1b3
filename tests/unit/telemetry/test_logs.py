"""Log lines: one an event, redacted, with a trace id, from whoever speaks."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config.environment import load
from core.model.identity import tracing
from core.redaction import Redactor
from core.settings import LogFormat, LogLevel
from core.telemetry import logs
from core.telemetry.logs import configure, set_levels
from tests.log_lines import logging_as_it_was

SECRET = "U01TX0FVVEgy/+c3ludGhldGlj=="
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Whatever a test configures ends with it."""
    with logging_as_it_was():
        yield


def written(fmt: LogFormat = LogFormat.JSON, level: LogLevel = LogLevel.INFO) -> io.StringIO:
    stream = io.StringIO()
    configure(level, fmt, Redactor([SECRET]), stream)
    return stream


def entries(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_level_logger_time_and_its_fields() -> None:
    stream = written()

    logging.getLogger("bongsu.test").warning("call.failed", extra={"attempts": 3, "is_mock": False})

    (entry,) = entries(stream)
    assert (entry["event"], entry["level"], entry["logger"]) == ("call.failed", "warning", "bongsu.test")
    assert (entry["attempts"], entry["is_mock"]) == (3, False)
    assert str(entry["timestamp"]).endswith("Z")


@pytest.mark.parametrize("fmt", list(LogFormat))
def test_every_line_carries_the_trace_id_of_its_call(fmt: LogFormat) -> None:
    """Lines of libraries too, and one that names its trace id itself keeps it."""
    stream = written(fmt)

    with tracing(TRACE):
        logging.getLogger("sqlalchemy.engine").warning("slow")
        structlog.stdlib.get_logger("bongsu.x").info("ours")
    logging.getLogger("bongsu.y").info("named", extra={"trace_id": TRACE})

    assert [TRACE in line for line in stream.getvalue().splitlines()] == [True, True, True]


def test_a_line_outside_of_any_call_has_a_trace_id_too() -> None:
    stream = written()

    logging.getLogger("bongsu.x").info("started")

    assert len(str(entries(stream)[0]["trace_id"])) == 32


@pytest.mark.fault("LW-06")
@pytest.mark.parametrize("fmt", list(LogFormat))
@pytest.mark.parametrize(
    "logger", ["bongsu.x", "httpx", "uvicorn.access", "sqlalchemy.engine", "alembic", "aiosmtplib"]
)
def test_no_secret_is_written_whoever_speaks(fmt: LogFormat, logger: str) -> None:
    """In the message, its arguments, extra fields, nested values, bytes, exceptions and their tracebacks."""
    stream = written(fmt)
    log = logging.getLogger(logger)

    log.warning("GET https://h/?serviceKey=" + SECRET)  # noqa: G003 -- what careless code does.
    log.warning("GET %s %r", f"https://u:{SECRET}@h/", {"Authorization": "Bearer other-token-1"})
    log.warning(
        "sent", extra={"api_key": "hunter2hunter2", "deep": [{"password": "hunter2hunter2"}, SECRET.encode()]}
    )
    try:
        float(f"refused: {SECRET}")
    except ValueError:
        log.exception("failed")

    text = stream.getvalue()
    assert len(text.splitlines()) == 4
    for secret in (SECRET, "hunter2", "other-token", "3ludGhld"):
        assert secret not in text


def test_a_line_of_structlog_is_redacted_too() -> None:
    stream = written()

    structlog.stdlib.get_logger("bongsu.x").info(
        "asked", password="hunter2hunter2", url=f"https://h/?q={SECRET}", n=2
    )

    (entry,) = entries(stream)
    assert (entry["password"], entry["url"], entry["n"]) == ("***", "https://h/?q=***", 2)


def test_a_number_stays_a_number_unless_it_is_somebodys() -> None:
    stream = written()

    logging.getLogger("bongsu.x").info(
        "asked", extra={"small": 12345, "large": 1234.567, "card": 4111111111111111, "pin": 12}
    )

    (entry,) = entries(stream)
    assert (entry["small"], entry["large"], entry["card"], entry["pin"]) == (12345, 1234.567, "***", "***")


def test_a_word_that_is_a_secret_is_masked_each_time() -> None:
    """As a value, as a name of a field, and in the place of a time."""
    stream = io.StringIO()
    configure(LogLevel.INFO, LogFormat.JSON, Redactor(["correcthorse"]), stream)

    for _ in range(2):
        logging.getLogger("bongsu.x").info(
            "correcthorse", extra={"correcthorse": 1, "timestamp": "correcthorse"}
        )

    assert "correcthorse" not in stream.getvalue()
    assert [entry["event"] for entry in entries(stream)] == ["***", "***"]


@pytest.mark.fault("LW-05")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.sampled_from(LogFormat))
def test_no_text_breaks_a_line_or_steers_a_terminal(text: str, fmt: LogFormat) -> None:
    """Whatever is logged, one event is one line without control characters."""
    stream = written(fmt)

    logging.getLogger("bongsu.x").info("asked", extra={"keyword": f"a\r\n\x1b[31m\u2028\u202e{text}"})

    (line,) = stream.getvalue().splitlines()
    assert line.isprintable() or not any(
        char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029\u202e" for char in line
    )


def test_korean_text_stays_readable() -> None:
    stream = written()

    logging.getLogger("bongsu.x").info("주소를 찾았습니다", extra={"keyword": "세종대로"})

    assert "주소를 찾았습니다" in stream.getvalue()
    assert "세종대로" in stream.getvalue()


def test_requests_of_httpx_are_not_told_twice() -> None:
    """httpx and httpcore speak from WARNING on, also when everything else is told from DEBUG on."""
    stream = written(level=LogLevel.DEBUG)

    logging.getLogger("httpx").info("HTTP Request: GET https://h/")
    logging.getLogger("httpcore.connection").debug("connect_tcp.started")
    logging.getLogger("bongsu.x").debug("told")

    assert [entry["event"] for entry in entries(stream)] == ["told"]


def test_lines_below_the_level_are_not_written() -> None:
    stream = written(level=LogLevel.ERROR)

    logging.getLogger("bongsu.x").warning("no")
    logging.getLogger("bongsu.x").error("yes")

    assert [entry["event"] for entry in entries(stream)] == ["yes"]


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ({"BONGSU_ADDRESS_LOG_LEVEL": "debug"}, ["debug", "info", "error"]),
        ({"BONGSU_ADDRESS_LOG_LEVEL": "error"}, ["error"]),
        ({}, ["info", "error"]),
    ],
)
def test_an_integration_may_be_louder_or_quieter_than_the_process(
    level: dict[str, str], told: list[str]
) -> None:
    """Without a level of its own it has the level of the process, here info."""
    stream = written()
    set_levels(load(level).integrations.values())

    for severity in (logging.DEBUG, logging.INFO, logging.ERROR):
        logging.getLogger("bongsu.integration.address").log(severity, "call.answered")
    logging.getLogger("bongsu.other").debug("no")

    assert [entry["level"] for entry in entries(stream)] == told


def test_configuring_twice_does_not_write_twice() -> None:
    written()
    stream = written()

    logging.getLogger("bongsu.x").info("once")

    assert len(stream.getvalue().splitlines()) == 1


def test_a_console_line_reads_from_left_to_right() -> None:
    stream = written(LogFormat.CONSOLE)

    with tracing(TRACE):
        logging.getLogger("bongsu.x").info(
            "call.answered", extra={"keyword": "세종 대로", "status": 200, "empty": ""}
        )

    assert stream.getvalue().split("Z ", maxsplit=1)[1] == (
        f'info     bongsu.x: call.answered keyword="세종 대로" status=200 empty="" trace_id={TRACE}\n'
    )


def test_a_guest_in_a_notebook_says_only_what_matters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A process of somebody else's hears our warnings through its own handlers, redacted, and no more."""
    structlog.reset_defaults()
    logs.as_guest(Redactor(["s3cret-value"]))
    with caplog.at_level(logging.WARNING):
        log = structlog.get_logger("bongsu.guest")

        log.info("call.answered")
        log.warning("attempt_failed", detail="refused s3cret-value", attempt=2)

    [line] = [record.getMessage() for record in caplog.records if record.name == "bongsu.guest"]
    assert line.startswith("attempt_failed ")
    assert "attempt=2" in line
    assert "s3cret" not in line


def test_a_guest_leaves_the_log_of_its_host_alone() -> None:
    """Whoever has configured structlog keeps what was configured."""
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    before = structlog.get_config()["processors"]

    logs.as_guest(Redactor([]))

    assert structlog.get_config()["processors"] is before
