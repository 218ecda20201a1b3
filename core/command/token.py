"""`bongsu token`: API tokens for programs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from core.command.options import data_option, opened
from core.model.role import Role

BY = "command line"


@click.group()
def token() -> None:
    """API tokens for programs."""


@token.command()
@click.option(
    "--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do."
)
@click.option(
    "--name", default="command line", show_default=True, help="What it is for, to tell it apart later."
)
@click.option(
    "--days", type=click.IntRange(1, 3650), help="How long it is valid (default: until it is revoked)."
)
@data_option
def create(role: str, name: str, days: int | None, data_dir: Path | None) -> None:
    """Make a token and print it, alone, on standard output. It is shown this once."""
    with opened(data_dir) as hub:
        expires = hub.clock.now() + timedelta(days=days) if days else None
        made = hub.access.create_api_token(name, Role(role), by=BY, expires=expires)
    click.echo(made.secret)
