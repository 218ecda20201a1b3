"""`bongsu migrate`: bring the database up to date."""

from __future__ import annotations

from pathlib import Path

import click

from core.command.options import data_option, faults_as_sentences
from core.config.environment import load
from core.persistence import schema
from core.persistence.database import Database
from core.settings import PREFIX, environment


@click.command()
@data_option
def migrate(data_dir: Path | None) -> None:
    """Bring the database up to date. Safe to run again, and from several machines at once."""
    with faults_as_sentences():
        variables = dict(environment())
        if data_dir is not None:
            variables[f"{PREFIX}DATA_DIR"] = str(data_dir)
        database = Database.open(load(variables).settings)
        try:
            before = schema.current(database)
            schema.upgrade(database)
        finally:
            database.close()
    if before == schema.HEAD:
        click.echo(f"{database.where} is up to date ({schema.HEAD}).")
    else:
        click.echo(f"{database.where}: {before or 'empty'} → {schema.HEAD}.")
