"""`bongsu up`: start everything, in the foreground."""

from __future__ import annotations

import errno
import http.client
import importlib.util
import socket
import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from core.clock import SystemClock
from core.command.interrupts import ending_at_once
from core.command.options import REFUSED, data_option, faults_as_sentences, shared_state_lines
from core.command.supervisor import Program, Supervisor
from core.config.environment import Configuration, load
from core.hub import VERSION, Hub
from core.persistence import schema
from core.persistence.database import Database, prepare_directory
from core.settings import PREFIX, Settings, environment, environment_for_child

_READY_WITHIN_S: Final = 120.0
_ASK_EVERY_S: Final = 0.3
_OTHER_HOST: Final = "Name an address of this machine with --host."
_CURES: Final = {
    errno.EADDRINUSE: "Choose another with --port, or stop the program that has it.",
    errno.EACCES: "Choose a port above 1023 with --port.",
}
_SIGN_IN: Final = "Sign in with your name and password; a forgotten one is replaced by `bongsu user password`"
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared with, not bound to.


@click.command()
@data_option
@click.option("--host", help="The address to listen on (default: BONGSU_HOST, else 127.0.0.1).")
@click.option("--port", help="The port to listen on (default: BONGSU_PORT, else 8501).")
@click.option("--demo/--no-demo", default=None, help="Whether demo traffic runs; it never does outside dev.")
def up(data_dir: Path | None, host: str | None, port: str | None, demo: bool | None) -> None:
    """Start the web process (dashboard and API) and the jobs process. Ctrl-C stops both."""
    given = {
        f"{PREFIX}DATA_DIR": str(data_dir) if data_dir else None,
        f"{PREFIX}HOST": host,
        f"{PREFIX}PORT": port,
        f"{PREFIX}DEMO": None if demo is None else str(demo).lower(),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    # Until the processes run, a start that is cut short leaves nothing behind that the next one could not take up.
    with ending_at_once():
        with faults_as_sentences():
            configuration = load({**environment(), **changes})
            settings = configuration.settings
            refuse_an_address_that_cannot_be_had(settings)
            prepare(settings)
            with Hub.build(configuration) as hub:
                lines = introduction(hub, configuration)
                setup = setup_line(hub)
        for line in (*lines, setup or _SIGN_IN):
            click.echo(line)
        changes[f"{PREFIX}DATA_DIR"] = str(settings.data_dir.absolute())
        sys.exit(run(settings, environment_for_child(**changes), setup))


def refuse_an_address_that_cannot_be_had(settings: Settings) -> None:
    """End the command with one sentence when nobody can listen on the host and the port, and say which to change."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except UnicodeError:
            _refuse_address(settings, "that is no name of a machine", _OTHER_HOST)
        except OSError as error:
            _refuse_address(settings, str(error.strerror), _CURES.get(error.errno or 0, _OTHER_HOST))


def _refuse_address(settings: Settings, reason: str, cure: str) -> NoReturn:
    click.echo(f"Cannot listen on {settings.host} port {settings.port}: {reason}. {cure}", err=True)
    sys.exit(REFUSED)


def prepare(settings: Settings) -> None:
    """Make the data directory and bring the database up to date, whichever it is."""
    prepare_directory(settings.data_dir)
    database = Database.open(settings)
    try:
        schema.upgrade(database)
    finally:
        database.close()


def introduction(hub: Hub, configuration: Configuration) -> list[str]:
    """What the person who started it wants to know: where it is, and what mode it is in."""
    settings = hub.settings
    storage = "SQLite" if hub.database.is_sqlite else "PostgreSQL"
    state = "Redis" if settings.redis_url else "SQLite"
    hub.overview()  # looks at every circuit, so that a shared state that is away is found out
    mocked = [name for name, config in configuration.integrations.items() if config.is_mock_mode]
    return [
        f"Bongsu {VERSION} in {settings.env.value} mode",
        f"Data in {storage}, shared state in {state}, files in {settings.data_dir}",
        *shared_state_lines(hub),
        f"Mock answers for: {', '.join(mocked)}" if mocked else "All integrations are real",
        "Demo traffic is on" if settings.has_demo_traffic else "Demo traffic is off",
        f"Dashboard: {settings.address}   API: {settings.address}/api/v1",
    ]


def setup_line(hub: Hub) -> str | None:
    """Where to make the first administrator, with a new one-time address; None when there is a user."""
    if not hub.access.needs_setup():
        return None
    address = f"{hub.settings.address}/setup?token={hub.access.new_setup_token()}"
    return f"First start: make the administrator, within an hour, at {address}"


def run(
    settings: Settings,
    environment: dict[str, str],
    setup: str | None,
    ready_within_s: float = _READY_WITHIN_S,
) -> int:
    """Run both processes until the end; the exit code of the command."""
    supervisor = Supervisor([_web(settings), Program("jobs", [sys.executable, "-m", "jobs"])], environment)
    click.echo("Starting …")
    try:
        supervisor.start()
        _tell_when_ready(settings, supervisor, setup, ready_within_s)
        ended = supervisor.wait()
    except OSError as error:
        click.echo(f"A process cannot be started: {error}.", err=True)
        return REFUSED
    finally:
        supervisor.stop()
    if ended:
        name, code = ended
        click.echo(f"The {name} process ended with exit code {code}; everything is stopped.", err=True)
        return code or REFUSED
    click.echo("Stopped.")
    return 0


def _web(settings: Settings) -> Program:
    spec = importlib.util.find_spec("dashboard")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("The dashboard package is not installed beside core.")
    app = Path(next(iter(spec.submodule_search_locations))) / "app.py"
    return Program(
        "web",
        [
            *(sys.executable, "-m", "streamlit", "run", str(app)),
            *("--server.address", settings.host, "--server.port", str(settings.port)),
            *("--logger.hideWelcomeMessage", "true"),
        ],
    )


def _tell_when_ready(
    settings: Settings, supervisor: Supervisor, setup: str | None, ready_within_s: float
) -> None:
    """Say that the web process answers, and again where the set-up is; or that it takes too long.

    Says nothing when the end comes first.
    """
    clock = SystemClock()
    started = clock.monotonic()
    while not _is_ready(settings):
        if not supervisor.pause(_ASK_EVERY_S):
            return
        if clock.monotonic() - started > ready_within_s:
            click.echo(
                f"Not ready after {ready_within_s:.0f} seconds: {settings.address}/healthz does not answer yet. "
                "The lines above may say why. Stop with Ctrl-C.",
                err=True,
            )
            return
    click.echo(f"Ready at {settings.address}. Stop with Ctrl-C.")
    if setup:
        click.echo(setup)


def _is_ready(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(
        _EVERYWHERE.get(settings.host, settings.host), settings.port, timeout=2
    )
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
