"""What every command shares: the data directory, the hub, and how faults end a command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from core.errors import BongsuError, SettingsRefused
from core.hub import Hub, connect
from core.settings import LogLevel
from core.telemetry.logs import configure

MALFORMED_SETTINGS = 2
REFUSED = 1

Command = TypeVar("Command", bound=Callable[..., object])


def data_option(command: Command) -> Command:
    """`--data DIR`, on every command."""
    return click.option(
        "--data",
        "data_dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="The data directory (default: BONGSU_DATA_DIR).",
    )(command)


@contextmanager
def faults_as_sentences() -> Iterator[None]:
    """End the command with one clear text, and no traceback, for every fault that has a cure.

    The exit code is 2 for malformed settings and 1 for the rest.
    """
    try:
        yield
    except SettingsRefused as refused:
        click.echo(str(refused), err=True)
        sys.exit(MALFORMED_SETTINGS)
    except BongsuError as error:
        click.echo(str(error), err=True)
        sys.exit(REFUSED)


@contextmanager
def opened(data_dir: Path | None) -> Iterator[Hub]:
    """A hub for the length of one command, which says what it has to say itself."""
    with faults_as_sentences(), connect(data_dir=data_dir) as hub:
        configure(LogLevel.ERROR, hub.settings.log_format, hub.redactor)
        yield hub


def shared_state_lines(hub: Hub) -> list[str]:
    """One line while the shared state cannot be reached, with what that means; none while it can."""
    since = hub.state_degraded_since
    if since is None:
        return []
    local = since.astimezone(hub.settings.zone)
    moment = f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"
    meaning = "Until it is back, limits and circuit breakers hold in each process by itself."
    return [f"The shared state cannot be reached since {moment}. {meaning}"]
