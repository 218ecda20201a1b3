"""The connections to a Redis server: something is said, all at once, and the answers are heard; one flight.

Nothing is tried twice, and a server that is away is found out fast. Threads share one pool. Each event loop has a pool
of its own, which is closed when the loop ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Final

from hiredis import pack_command
from redis import ConnectionPool
from redis.asyncio import ConnectionPool as AsyncConnectionPool
from redis.asyncio.connection import AbstractConnection as AsyncConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from core.errors import StorageError
from core.state.redis_answers import Reply
from core.state.redis_commands import LOADS, Command

PATIENCE_SECONDS: Final = 0.045
"""The longest that a connection may take, and that answers may; in an event loop, the longest that both may together."""

_NEXT_TURN_SECONDS: Final = 0.001
_MOST_CONNECTIONS: Final = 1000
_MOST_CONNECTIONS_OF_A_LOOP: Final = 32
_PLAINLY: Final = {"protocol": 2, "driver_info": None}
"""Neither RESP3 nor naming ourselves buys us anything, and each costs a round trip when connecting."""


@dataclass(frozen=True, slots=True)
class _Side:
    """The connections of one event loop, and the places at them: a burst of tasks does not open one each."""

    pool: AsyncConnectionPool
    keeper: AsyncGenerator[AsyncConnectionPool]
    idle: list[AsyncConnection] = field(default_factory=list)
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_CONNECTIONS_OF_A_LOOP))


class RedisLink:
    """What speaks to the server at `url`. Raises `StorageError`, also when an answer is an error.

    A connection is taken from the library's pool once, and then goes from hand to hand: its pool takes half as long
    as a server on the same machine takes to answer.
    """

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS) -> None:
        self._url = url
        self._patience = patience
        self._pool: ConnectionPool = ConnectionPool.from_url(
            url,
            max_connections=_MOST_CONNECTIONS,
            socket_connect_timeout=patience,
            socket_timeout=patience,
            retry=Retry(NoBackoff(), 0),
            **_PLAINLY,
        )
        self._idle: list[Connection] = []
        self._sides: dict[asyncio.AbstractEventLoop, _Side] = {}

    def say(self, *commands: Command) -> list[Reply]:
        """Say all this, and hear the answers in the same order. A server without our scripts is told them first."""
        replies = self._exchange(commands)
        if missed := _unknown_scripts(replies):
            again = self._exchange((*LOADS, *(commands[index] for index in missed)))
            replies = _mended(replies, missed, again)
        return self._heard(replies)

    async def asay(self, *commands: Command) -> list[Reply]:
        """`say`, without holding up the event loop."""
        replies = await self._aexchange(commands)
        if missed := _unknown_scripts(replies):
            again = await self._aexchange((*LOADS, *(commands[index] for index in missed)))
            replies = _mended(replies, missed, again)
        return self._heard(replies)

    def close(self) -> None:
        """Let go of all connections. Those of an event loop it closes itself: now if it runs, else when it ends."""
        self._idle.clear()
        self._pool.disconnect()
        for loop, side in list(self._sides.items()):
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(_let_go(side), loop)

    def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        try:
            connection = self._connection()
            try:
                connection.send_packed_command(_packed(commands), check_health=False)  # type: ignore[no-untyped-call]
                replies = [_read(connection) for _ in commands]
            except BaseException:
                # What was not read would be taken for the answer to what is said next.
                connection.disconnect()  # type: ignore[no-untyped-call]
                self._pool.release(connection)
                raise
        except RedisError as error:
            raise self._unusable(error) from error
        self._idle.append(connection)
        return replies

    def _connection(self) -> Connection:
        """One that is connected, as far as can be told: a server ends those that are idle for long, and when it ends."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._pool.get_connection()
        if connection.pid != os.getpid():
            # The parent's, which only the parent may use.
            self._idle.clear()
            return self._pool.get_connection()
        if _is_usable(connection):
            return connection
        connection.disconnect()  # type: ignore[no-untyped-call]
        self._pool.release(connection)
        return self._pool.get_connection()

    async def _aexchange(self, commands: Sequence[Command]) -> list[Reply]:
        loop = asyncio.get_running_loop()
        side = self._sides.get(loop) or await self._new_side(loop)
        try:
            async with asyncio.timeout(None) as limit:
                alarm = loop.call_later(self._patience, _last_call, loop, limit)
                try:
                    async with side.places:
                        return await _aexchange(side, commands)
                finally:
                    alarm.cancel()
        except (RedisError, TimeoutError) as error:
            raise self._unusable(error) from error

    async def _new_side(self, loop: asyncio.AbstractEventLoop) -> _Side:
        for ended in [other for other in list(self._sides) if other.is_closed()]:
            if abandoned := self._sides.pop(ended, None):
                _keepers.discard(abandoned.keeper)
        keeper = self._keep_connections(loop)
        _keepers.add(keeper)
        side = self._sides[loop] = _Side(await anext(keeper), keeper)
        return side

    async def _keep_connections(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[AsyncConnectionPool]:
        """The connections of one event loop, closed in time: a loop ends its asynchronous generators before itself."""
        pool: AsyncConnectionPool = AsyncConnectionPool.from_url(
            self._url,
            socket_connect_timeout=self._patience,
            # One limit holds for the whole flight instead, which is far cheaper than one for each read.
            socket_timeout=None,
            retry=AsyncRetry(NoBackoff(), 0),
            **_PLAINLY,
        )
        try:
            yield pool
        finally:
            side = self._sides.pop(loop, None)
            await pool.aclose()
            if side is not None:
                _keepers.discard(side.keeper)

    def _heard(self, replies: list[Reply]) -> list[Reply]:
        for reply in replies:
            if isinstance(reply, RedisError):
                raise self._unusable(reply) from reply
        return replies

    def _unusable(self, error: Exception) -> StorageError:
        return StorageError(
            f"Redis at {_where(self._pool)} cannot be used: {str(error) or 'no answer in time'}. "
            "Check BONGSU_REDIS_URL and the server."
        )


_keepers: Final[set[AsyncGenerator[AsyncConnectionPool]]] = set()
"""Those of all event loops that have not ended yet: a loop does not hold them itself, and a link may be gone before it."""


def _packed(commands: Sequence[Command]) -> tuple[bytes]:
    """All of them as one piece, which is written at once."""
    # The library's types know commands of one word alone.
    return (b"".join(map(pack_command, commands)),)  # type: ignore[arg-type]


def _is_usable(connection: Connection) -> bool:
    """Whether nothing has come over it that nobody asked for, such as its end."""
    try:
        return not connection.can_read()
    except RedisError:
        return False


async def _aexchange(side: _Side, commands: Sequence[Command]) -> list[Reply]:
    connection = await _aconnection(side)
    try:
        await connection.send_packed_command(_packed(commands), check_health=False)
        replies = [await _aread(connection) for _ in commands]
    except BaseException:
        await connection.disconnect(nowait=True)
        await side.pool.release(connection)
        raise
    side.idle.append(connection)
    return replies


async def _aconnection(side: _Side) -> AsyncConnection:
    while side.idle:
        connection = side.idle.pop()
        if await _ais_usable(connection):
            return connection
        await connection.disconnect(nowait=True)
        await side.pool.release(connection)
    fresh: AsyncConnection = await side.pool.get_connection()  # type: ignore[no-untyped-call]
    return fresh


async def _ais_usable(connection: AsyncConnection) -> bool:
    try:
        return not await connection.can_read()
    except RedisError:
        return False


def _last_call(loop: asyncio.AbstractEventLoop, limit: asyncio.Timeout) -> None:
    """Time is up, unless the answer has come while something else held up the loop: then it is heard in the next turn."""
    limit.reschedule(loop.time() + _NEXT_TURN_SECONDS)


def _read(connection: Connection) -> Reply:
    """The next answer. One that is an error is handed on like any other, so that those after it are read, too."""
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


async def _aread(connection: AsyncConnection) -> Reply:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _unknown_scripts(replies: Sequence[Reply]) -> list[int]:
    """Which answers say that the server does not know our script: it was restarted, or is another one than before."""
    return [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]


def _mended(replies: list[Reply], missed: Sequence[int], again: list[Reply]) -> list[Reply]:
    for index, reply in zip(missed, again[-len(missed) :], strict=True):
        replies[index] = reply
    return replies


async def _let_go(side: _Side) -> None:
    await side.keeper.aclose()


def _where(pool: ConnectionPool) -> str:
    """The server's address for people, without the password."""
    options = pool.connection_kwargs
    return str(options.get("path") or f"{options.get('host')}:{options.get('port')}")
