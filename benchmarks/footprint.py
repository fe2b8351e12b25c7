"""What a server costs that nobody asks anything: memory a connection, time to come up."""

import http.client
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from statistics import median
from typing import Final

from benchmarks.processes import resident_kib
from benchmarks.servers import Server

_CONNECTIONS: Final = 1000
_WARM_REQUESTS: Final = 500
_TIMEOUT_S: Final = 10.0


def start_s(
    start: Callable[[], AbstractContextManager[Server]], target: str, *, times: int
) -> float:
    """Seconds from starting the process to its first whole answer, the median of some starts.

    Raises:
        OSError, http.client.HTTPException: it did not answer.
    """
    took = []
    for _ in range(times):
        began = time.perf_counter()
        with start() as server, closing(_connection(server)) as connection:
            _ask(connection, target)
            took.append(time.perf_counter() - began)
    return median(took)


def idle_connection_kib(server: Server, target: str) -> float:
    """KiB that a kept-alive connection holds between requests.

    Every connection has been used once, so that what its first request allocates counts.

    Raises:
        OSError, http.client.HTTPException: a connection was refused or not answered.
    """
    with ExitStack() as open_connections:
        warm = open_connections.enter_context(closing(_connection(server)))
        for _ in range(_WARM_REQUESTS):
            _ask(warm, target)
        before = resident_kib(server.pid)
        for _ in range(_CONNECTIONS):
            _ask(open_connections.enter_context(closing(_connection(server))), target)
        return (resident_kib(server.pid) - before) / _CONNECTIONS


def _connection(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT_S)


def _ask(connection: http.client.HTTPConnection, target: str) -> None:
    connection.request("GET", target)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise http.client.HTTPException(f"{target} was answered with {answer.status}")
