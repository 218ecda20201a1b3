"""`bongsu user`: people who may sign in."""

from __future__ import annotations

from pathlib import Path

import click

from core.command.options import data_option, opened
from core.command.token import BY
from core.model.role import Role


@click.group()
def user() -> None:
    """People who may sign in."""


@user.command()
@click.argument("name")
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), required=True, help="What they may do."
)
@click.password_option(help="Asked for when it is not given.")
@data_option
def add(name: str, role: str, password: str, data_dir: Path | None) -> None:
    """Make a user."""
    with opened(data_dir) as hub:
        hub.access.create_user(name, password, Role(role), by=BY)
    click.echo(f"{name} may sign in as {role}.")


@user.command()
@click.argument("name")
@click.password_option(help="Asked for when it is not given.")
@data_option
def password(name: str, password: str, data_dir: Path | None) -> None:
    """Give a user a new password. Whoever is signed in under that name is signed out."""
    with opened(data_dir) as hub:
        hub.access.set_password(name, password, by=BY)
    click.echo(f"{name} has a new password.")
