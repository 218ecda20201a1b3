"""All commands: the one that starts everything, and those that steer it from a terminal."""

from __future__ import annotations

import click

from core.command.check import check
from core.command.migrate import migrate
from core.command.token import token
from core.command.up import up
from core.command.user import user


@click.group()
@click.version_option(package_name="bongsu", prog_name="bongsu")
def bongsu() -> None:
    """Watch and steer the third parties that your product depends on."""


for command in (up, check, migrate, token, user):
    bongsu.add_command(command)
