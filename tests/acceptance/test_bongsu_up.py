"""`bongsu up`: what a person sees who starts everything, and what is left when it stops."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import termios
from contextlib import suppress
from pathlib import Path

import httpx
import pandas as pd
import psutil
import pytest

from core.clock import SystemClock
from core.command.interrupts import INTERRUPTED
from core.hub import VERSION, Hub, connect
from core.model.role import Role
from core.settings import environment_for_child
from jobs.demo import USER
from tests import servers
from tests.ports import free_port
from tests.running import BONGSU, Running, bongsu_up
from tests.waiting import until


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Settings with nothing but a data directory of their own."""
    return {"BONGSU_DATA_DIR": str(tmp_path / "data")}


def children(running: Running) -> list[psutil.Process]:
    """The processes that it started, and theirs."""
    found: list[psutil.Process] = psutil.Process(running.process.pid).children(recursive=True)
    return found


def is_free(running: Running) -> bool:
    """Whether the port can be had again."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(running.url.rsplit(":", 1)[1]))) != 0


@pytest.mark.smoke
def test_the_first_start_says_where_it_is_and_how_to_come_in(environ: dict[str, str]) -> None:
    """Version, mode, storage, address and one line with a one-time set-up address; no account exists."""
    with bongsu_up(environ, "--no-demo") as running:
        data = environ["BONGSU_DATA_DIR"]
        assert running.lines[:7] == [
            f"Bongsu {VERSION} in dev mode\n",
            f"Data in SQLite, shared state in SQLite, files in {data}\n",
            "Mock answers for: address\n",
            "Demo traffic is off\n",
            f"Dashboard: {running.url}   API: {running.url}/api/v1\n",
            f"First start: make the administrator, within an hour, at {running.setup_url}\n",
            "Starting …\n",
        ]
        assert running.output.partition("Ready at")[0].count("/setup?token=") == 1
        with connect(data_dir=data, environ={}) as hub:
            assert hub.access.users() == []


def test_the_set_up_address_stands_once_more_where_it_is_seen(environ: dict[str, str]) -> None:
    """Log lines push the first one away; the line after "Ready" says the same."""
    with bongsu_up(environ, "--no-demo") as running:
        until(lambda: running.output.count("/setup?token=") == 2, what="the second set-up line")
        lines = [line for line in running.lines if "/setup?token=" in line]
        ready = next(number for number, line in enumerate(running.lines) if line.startswith("Ready at"))

    assert lines[0] == lines[1]
    assert (
        running.lines.index(lines[0]) < ready < len(running.lines) - 1 - running.lines[::-1].index(lines[1])
    )


def test_a_start_with_a_user_says_how_to_sign_in(environ: dict[str, str]) -> None:
    with connect(data_dir=environ["BONGSU_DATA_DIR"], environ={}) as hub:
        hub.access.complete_setup(hub.access.new_setup_token(), "chief", "a long and quiet password")

    with bongsu_up(environ, "--no-demo") as running:
        assert "/setup" not in running.output
        assert "Sign in with your name and password" in running.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_wish_to_stop_ends_every_process_and_frees_the_port(
    environ: dict[str, str], number: signal.Signals
) -> None:
    with bongsu_up(environ, "--no-demo") as running:
        started = children(running)
        assert len(started) >= 2

        running.process.send_signal(number)

        assert running.process.wait(timeout=30) == 0
        assert not any(process.is_running() for process in started)
        assert is_free(running)
    assert running.lines[-1] == "Stopped.\n"
    assert "Traceback" not in running.output


def test_a_supervisor_that_is_killed_takes_every_process_with_it(environ: dict[str, str]) -> None:
    with bongsu_up(environ, "--no-demo") as running:
        started = children(running)
        assert len(started) >= 2

        running.process.kill()

        assert running.process.wait(timeout=10) == -signal.SIGKILL
        until(lambda: not any(map(is_alive, started)), within=20, what="the end of web and jobs")
        assert is_free(running)
    assert "Traceback" not in running.output


@pytest.mark.timeout(240)
def test_ctrl_c_at_any_moment_leaves_no_traceback_and_no_process(environ: dict[str, str]) -> None:
    """From the first import until everything is ready; a terminal sends it to the foreground programs alone."""
    clock = SystemClock()
    for after in (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0):
        master, terminal = pty.openpty()
        process = psutil.Popen(
            [str(BONGSU), "up", "--no-demo", "--port", str(free_port())],
            env=environment_for_child(**environ),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            preexec_fn=_take_terminal,
        )
        os.close(terminal)
        clock.sleep(after)
        started = process.children(recursive=True)

        os.write(master, b"\x03")

        assert process.wait(timeout=30) in {0, INTERRUPTED}, after
        assert not any(map(is_alive, started)), after
        printed = _everything(master)
        assert "Traceback" not in printed, f"{after}: {printed}"
        assert "Error" not in printed, f"{after}: {printed}"


def _take_terminal() -> None:
    """Make standard input the terminal that controls this process, as a shell does."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _everything(master: int) -> str:
    """What was printed to a terminal until its last program ended."""
    printed = b""
    with open(master, "rb", buffering=0) as terminal, suppress(OSError):
        while piece := terminal.read(4096):
            printed += piece
    return printed.decode()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that only waits to be asked how it ended does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_when_one_process_dies_the_other_is_stopped_too(environ: dict[str, str]) -> None:
    with bongsu_up(environ, "--no-demo") as running:
        started = children(running)
        jobs = next(process for process in started if "jobs" in process.cmdline())

        jobs.kill()

        assert running.process.wait(timeout=30) != 0
        assert not any(process.is_running() for process in started)
    assert running.lines[-1] == "The jobs process ended with exit code -9; everything is stopped.\n"


def test_what_is_ready_answers_healthz_and_nothing_else_unsigned(environ: dict[str, str]) -> None:
    with bongsu_up(environ, "--no-demo") as running:
        health = httpx.get(f"{running.url}/healthz")
        assert (health.status_code, health.text) == (200, "ok")
        for path in ("/api/v1/health", "/api/v1/integrations", "/api/openapi.json", "/_stcore/metrics"):
            assert httpx.get(f"{running.url}{path}").status_code in {401, 503}, path


@pytest.mark.timeout(180)
def test_a_database_that_is_lost_is_told_to_who_comes_and_leaves_no_traceback_of_the_server(
    environ: dict[str, str],
) -> None:
    server = servers.start_postgres()
    try:
        with bongsu_up({**environ, "BONGSU_DATABASE_URL": f"{server.url}/postgres"}, "--no-demo") as running:
            accept = {"Accept": "text/html"}
            assert httpx.get(f"{running.url}/", headers=accept).status_code == 303
            server.stop()

            for path in ("/", "/login", "/setup"):
                answer = httpx.get(f"{running.url}{path}", headers=accept)
                assert answer.status_code == 503
                assert "데이터베이스가 응답하지 않습니다" in answer.text
            posted = httpx.post(f"{running.url}/login", headers={**accept, "Origin": running.url})
            assert posted.status_code == 503
            assert "Exception in ASGI application" not in running.output
    finally:
        server.stop()


@pytest.mark.smoke
def test_a_token_opens_the_api_even_before_the_first_user(environ: dict[str, str]) -> None:
    """`bongsu token create` is enough for a program: nobody has to open a browser first."""
    with bongsu_up(environ, "--no-demo") as running:
        with connect(data_dir=environ["BONGSU_DATA_DIR"], environ={}) as hub:
            secret = hub.access.create_api_token("script", Role.VIEWER, by="test").secret
        signed = {"Authorization": f"Bearer {secret}"}

        health = httpx.get(f"{running.url}/api/v1/health", headers=signed)
        document = httpx.get(f"{running.url}/api/openapi.json", headers=signed)

        assert health.status_code == 200
        assert [one["name"] for one in health.json()["integrations"]] == ["address"]
        assert "/v1/health" in document.text


def searches(hub: Hub) -> pd.DataFrame:
    """The calls of the last hour that were no checks."""
    calls = hub.calls("1h")
    return calls[calls["operation"] == "search_address"]


@pytest.mark.timeout(120)
def test_demo_traffic_shows_within_a_minute_and_says_what_it_is(environ: dict[str, str]) -> None:
    with bongsu_up(environ) as running:
        assert "Demo traffic is on\n" in running.lines
        with connect(data_dir=environ["BONGSU_DATA_DIR"], environ={}) as hub:
            until(lambda: len(searches(hub)) >= 3, within=60, what="three demo calls")
            calls = searches(hub)

    assert set(calls["user_id"]) == {USER}
    assert calls["is_mock"].all()
    assert "user_id=demo" not in running.output, "the console is left to what matters"


@pytest.mark.parametrize("env", ["staging", "production"])
def test_outside_dev_there_is_no_demo_traffic_whatever_is_asked(environ: dict[str, str], env: str) -> None:
    with bongsu_up({**environ, "BONGSU_ENV": env}, "--demo") as running:
        assert "Demo traffic is off\n" in running.lines
        assert f"Bongsu {VERSION} in {env} mode\n" in running.lines
