"""`bongsu user`: people who may sign in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from core.command.options import data_option, opened
from core.command.token import BY
from core.model.role import Role


class _PasswordOption(click.Option):
    """Asks a person twice and hidden; of a pipe or a file it takes the first line."""

    def prompt_for_value(self, ctx: click.Context) -> str:
        if sys.stdin is not None and sys.stdin.isatty():
            return str(super().prompt_for_value(ctx))
        return _piped_password()


def _piped_password() -> str:
    """The first line of standard input. Raises `UsageError` when there is none, or when it is no text."""
    line = b"" if sys.stdin is None else sys.stdin.buffer.readline()
    if not line:
        raise click.UsageError("No password: standard input is empty. Give --password, or a line to read.")
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.UsageError("No password: the line on standard input is not UTF-8 text.") from None


_password_option: Final = click.password_option(
    cls=_PasswordOption,
    help=(
        "When it is not given: asked for twice on a terminal, else the first line of standard input, "
        "without a question."
    ),
)


@click.group()
def user() -> None:
    """People who may sign in."""


@user.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), required=True, help="What they may do."
)
@_password_option
@data_option
def add(name: str, role: str, password: str, data_dir: Path | None) -> None:
    """Make a user."""
    with opened(data_dir) as hub:
        hub.access.create_user(name, password, Role(role), by=BY)
    click.echo(f"{name} may sign in as {role}.")


@user.command()
@click.argument("name")
@_password_option
@data_option
def password(name: str, password: str, data_dir: Path | None) -> None:
    """Give a user a new password. Whoever is signed in under that name is signed out."""
    with opened(data_dir) as hub:
        hub.access.set_password(name, password, by=BY)
    click.echo(f"{name} has a new password.")
