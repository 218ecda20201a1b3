"""What every test may ask for, and two rules for all of them: names are sentences, and properties are counted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest
import structlog

from core.persistence import schema
from core.persistence.database import Database
from core.persistence.tables import metadata
from core.settings import environment
from tests import servers
from tests.fakes import FakeClock

_PROPERTIES: Final = range(1, 54)
_WORDS_OF_A_SENTENCE: Final = 4

# The time of one example says nothing on a machine that others use too; a test's own timeout does.
# What decides whether a change lands tries the same examples each time; the nightly run looks for new ones.
hypothesis.settings.register_profile("bongsu", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None, print_blob=True, max_examples=1_000)
hypothesis.settings.load_profile(environment().get("BONGSU_TEST_PROFILE", "bongsu"))


@pytest.fixture(autouse=True)
def _structlog_as_it_was() -> Iterator[None]:
    """Nothing that a test did to the log is there for the next one, which may be about a log nobody has touched."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands at noon until it is moved."""
    return FakeClock()


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Path]:
    """One folder for all worker processes of this run. With the last of them, servers that were started end."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    yield shared
    servers.release(shared)


@pytest.fixture(scope="session")
def postgres_address(shared_directory: Path) -> str:
    """A PostgreSQL server's address, without a database."""
    return servers.postgres_address(shared_directory)


@pytest.fixture(scope="session")
def redis_address(shared_directory: Path) -> str:
    """A Redis server's address, without a database number."""
    return servers.redis_address(shared_directory)


@pytest.fixture(scope="session")
def postgres_url(postgres_address: str) -> Iterator[str]:
    """The address of this worker's own PostgreSQL database, which begins empty."""
    with servers.postgres_database(postgres_address) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(redis_address: str) -> Iterator[str]:
    """The address of this worker's own Redis database number, which begins empty."""
    with servers.redis_database(redis_address) as url:
        yield url


@pytest.fixture
def fresh_postgres_url(postgres_address: str) -> Iterator[str]:
    """The address of a PostgreSQL database that is still empty."""
    with servers.postgres_database(postgres_address) as url:
        yield url


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database.at(f"sqlite:///{path}")
    schema.upgrade(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def _migrated_postgres(postgres_url: str) -> Iterator[Database]:
    database = Database.at(postgres_url)
    schema.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def sqlite_database(_migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database at the newest revision, in a file of its own."""
    database = Database.at(f"sqlite:///{shutil.copy(_migrated_sqlite, tmp_path / 'bongsu.db')}")
    yield database
    database.close()


@pytest.fixture
def postgres_database(_migrated_postgres: Database) -> Iterator[Database]:
    """An empty PostgreSQL database at the newest revision, emptied again at the end."""
    yield _migrated_postgres
    with _migrated_postgres.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database at the newest revision: every test that asks for it runs on both kinds."""
    name = "sqlite_database" if request.param == "sqlite" else "postgres_database"
    found: Database = request.getfixturevalue(name)
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that does not say what it shows, and note which property each test proves."""
    nameless = sorted({item.nodeid.split("[")[0] for item in items if not _says_something(item)})
    if nameless:
        raise pytest.UsageError(
            "A test has a docstring, or a name of four words or more:\n  " + "\n  ".join(nameless)
        )
    for item in items:
        for mark in item.iter_markers("property"):
            item.user_properties.append(("property", mark.args[0]))


def _says_something(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return True
    is_state_machine = item.originalname == "runTest"
    subject = item.cls if is_state_machine else item.function
    words = item.originalname.removeprefix("test_").split("_")
    return bool(subject.__doc__) or len(words) >= _WORDS_OF_A_SENTENCE


class _Properties:
    """Keeps count of which properties were shown in this run, and which failed."""

    def __init__(self) -> None:
        self._shown: set[int] = set()
        self._failed: set[int] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        numbers = {int(str(value)) for name, value in report.user_properties if name == "property"}
        if report.failed:
            self._failed |= numbers
        elif report.when == "call" and report.passed:
            self._shown |= numbers

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        shown = self._shown - self._failed
        if not shown and not self._failed:
            return
        missing = set(_PROPERTIES) - self._shown - self._failed
        terminalreporter.section("properties")
        terminalreporter.line(f"{len(shown)} of {len(_PROPERTIES)} hold: {_ranges(shown)}")
        if self._failed:
            terminalreporter.line(f"fail: {_ranges(self._failed)}")
        if missing:
            terminalreporter.line(f"did not run: {_ranges(missing)}")


def _ranges(numbers: set[int]) -> str:
    """Numbers in order, neighbours drawn together: 1-3, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs) or "none"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Properties(), "bongsu-properties")
