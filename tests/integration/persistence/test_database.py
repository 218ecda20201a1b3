"""What the connection to the database promises, and how its faults are told."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from core.errors import DatabaseDamaged, DatabaseUnreachable, DataDirectoryUnusable
from core.persistence import schema
from core.persistence.database import Database, prepare_directory
from core.persistence.tables import users
from core.settings import Settings
from tests import servers


def mode(path: Path) -> int:
    """Who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A process that lets everybody read what it makes, as most shells are set up."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_the_embedded_database_is_closed_to_others_even_in_an_open_directory(tmp_path: Path) -> None:
    """So are the files that SQLite puts beside it; and the directory is left as its owner made it."""
    tmp_path.chmod(0o755)
    database = Database.open(Settings(data_dir=tmp_path))
    schema.upgrade(database)
    with database.writing():
        files = list(tmp_path.glob("bongsu.db*"))
        assert len(files) == 3
        assert {mode(file) for file in files} == {0o600}
    database.close()
    assert mode(tmp_path) == 0o755


@pytest.mark.usefixtures("open_umask")
def test_preparing_a_directory_loosens_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o700)

    prepare_directory(kept)
    prepare_directory(tmp_path / "made")

    assert (mode(kept), mode(tmp_path / "made")) == (0o700, 0o700)


def test_a_directory_in_the_place_of_the_database_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "bongsu.db").mkdir()

    with pytest.raises(DataDirectoryUnusable, match=r"bongsu\.db: Is a directory"):
        Database.open(Settings(data_dir=tmp_path))


@pytest.mark.parametrize("content", [b"\x93\x0e\x7f" * 4000, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_told_with_its_cure(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bongsu.db"
    path.write_bytes(content)
    database = Database.open(Settings(data_dir=tmp_path))

    for use in (database.reading, database.writing):
        with (
            pytest.raises(DatabaseDamaged, match="is not a readable database") as raised,
            use() as connection,
        ):
            connection.execute(select(users))
        assert str(path) in str(raised.value)
        assert "Restore a backup" in str(raised.value)
    database.close()


def test_a_database_that_is_damaged_while_it_is_used_is_told_as_well(sqlite_database: Database) -> None:
    path = Path(str(sqlite_database.engine.url.database))
    sqlite_database.close()
    content = path.read_bytes()
    path.write_bytes(content[:100] + os.urandom(len(content) - 100))

    with pytest.raises(DatabaseDamaged), sqlite_database.reading() as connection:
        connection.execute(select(users))


def test_waiting_in_vain_for_a_connection_is_told_as_a_database_that_does_not_answer(tmp_path: Path) -> None:
    database = Database(
        create_engine(f"sqlite:///{tmp_path / 'x.db'}", pool_size=1, max_overflow=0, pool_timeout=0)
    )

    with database.reading(), pytest.raises(DatabaseUnreachable, match="in use"), database.reading():
        pass
    database.close()


def test_a_wrong_statement_is_no_fault_of_the_database(postgres_database: Database) -> None:
    """Who asks for nonsense is told so, and not that the database is away."""
    with pytest.raises(ProgrammingError), postgres_database.reading() as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def test_a_wrong_row_is_no_fault_of_the_database(database: Database) -> None:
    with pytest.raises(IntegrityError), database.writing() as connection:
        connection.execute(users.insert().values(id=None))


def test_an_option_that_no_server_knows_is_told_like_a_server_that_is_away() -> None:
    database = Database.at("postgresql+psycopg://ops:hunter2@127.0.0.1:9/none?nonsense=1")

    with pytest.raises(DatabaseUnreachable, match="nonsense") as raised, database.reading():
        pass
    assert "hunter2" not in str(raised.value)


def test_one_reading_sees_one_state_whatever_others_write_meanwhile(database: Database) -> None:
    count = text("SELECT count(*) FROM alembic_version")
    other = Database.at(database.engine.url.render_as_string(hide_password=False))
    with database.reading() as connection:
        before = connection.execute(count).scalar_one()
        with other.writing() as writer:
            writer.execute(text("INSERT INTO alembic_version VALUES ('written meanwhile')"))
        try:
            assert connection.execute(count).scalar_one() == before
        finally:
            with other.writing() as writer:
                writer.execute(text("DELETE FROM alembic_version WHERE version_num = 'written meanwhile'"))
    other.close()


def test_a_writing_transaction_sees_what_others_have_just_written(postgres_database: Database) -> None:
    """Whoever waits for a lock has to see what its holder did; so the level of a reading must not stick."""
    level = text("SHOW transaction_isolation")

    with postgres_database.reading() as connection:
        assert connection.execute(level).scalar_one() == "repeatable read"
    with postgres_database.writing() as connection:
        assert connection.execute(level).scalar_one() == "read committed"


@pytest.mark.timeout(120)
def test_a_server_that_stops_is_told_on_connections_that_are_open_and_on_new_ones() -> None:
    server = servers.start_postgres()
    database = Database.at(f"{server.url}/postgres")
    try:
        with pytest.raises(DatabaseUnreachable):
            _read_while(database, server.stop)
    finally:
        server.stop()
    with pytest.raises(DatabaseUnreachable), database.reading():
        pass
    database.close()


def _read_while(database: Database, happens: Callable[[], None]) -> None:
    """Two statements of one reading, with something between them."""
    with database.reading() as connection:
        connection.execute(text("SELECT 1"))
        happens()
        connection.execute(text("SELECT 1"))
