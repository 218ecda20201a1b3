"""Databases before their first migration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.persistence.database import Database
from tests import servers


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        database = Database.at(f"sqlite:///{tmp_path / 'blank.db'}")
        yield database
        database.close()
        return
    with servers.postgres_database(request.getfixturevalue("postgres_address")) as url:
        database = Database.at(url)
        yield database
        database.close()
