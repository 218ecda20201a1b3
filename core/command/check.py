"""`bongsu check`: check every integration now, and print what was found."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from core.command.options import data_option, opened, shared_state_lines
from core.model.health import HealthStatus

UNHEALTHY = 3


@click.command()
@data_option
def check(data_dir: Path | None) -> None:
    """Check every integration now. The exit code is 3 when one of them is unhealthy."""
    with opened(data_dir) as hub:
        checks = hub.health.check_all_health()
        lines = shared_state_lines(hub)
    for found in checks:
        click.echo(
            f"{found.integration:12} {found.status.value:10} {found.duration_ms:7.0f} ms  {found.message}"
        )
        for provider, reason in found.details.items():
            click.echo(f"  {provider:10} {reason}")
    for line in lines:
        click.echo(line)
    if any(found.status is HealthStatus.UNHEALTHY for found in checks):
        sys.exit(UNHEALTHY)
