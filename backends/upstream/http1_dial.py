"""Opening connections to the one address of a pool: name, socket, TLS."""

import asyncio
import errno
import functools
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

import aiohappyeyeballs

from backends.errors import RunnerUnreachable
from backends.forgotten_threads import ForgottenThreads
from backends.upstream.address import RunnerAddress
from backends.upstream.failures import unreachable_reason
from backends.upstream.socket_connect import CONNECTS

DNS_TTL_S: Final = 10.0
_SECOND_FAMILY_AFTER_S: Final = 0.25  # RFC 8305 section 5
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


class Dialler:
    """Dials one address, trying both families of a name side by side.

    Args:
        address: the only origin that is ever dialled.
        server_hostname: the name that TLS asks for, when it is not the address's own.
        tls: a context with other trust anchors than the system's.
    """

    def __init__(
        self,
        address: RunnerAddress,
        *,
        server_hostname: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = address.hostname
        self._is_numeric = _is_numeric(address.hostname)
        self._port = urlsplit(address.origin).port or _DEFAULT_PORTS[address.scheme]
        self._secure = address.scheme == "https"
        self._server_hostname = server_hostname or address.hostname
        self._tls = tls
        self._lookup: asyncio.Task[list[aiohappyeyeballs.AddrInfoType] | OSError] | None = None
        self._found: list[aiohappyeyeballs.AddrInfoType] = []
        self._found_until = 0.0
        # Not the loop's own: a stop would wait for a name server that does not answer.
        self._threads = ForgottenThreads(1, "dns")

    async def dial(self, protocol: Callable[[], ProtocolT]) -> ProtocolT:
        """A connection made, its handshake done. The caller sets the deadline.

        Raises:
            RunnerUnreachable: why none came about, in one word.
        """
        loop = asyncio.get_running_loop()
        try:
            tls = await self._context() if self._secure else None
            sock = await aiohappyeyeballs.start_connection(
                await self._addresses(),
                happy_eyeballs_delay=_SECOND_FAMILY_AFTER_S,
                loop=CONNECTS,
            )
            _, made = await loop.create_connection(
                protocol,
                sock=sock,
                ssl=tls,
                server_hostname=self._server_hostname if tls else None,
            )
        except OSError as failure:
            self._found_until = 0.0  # it may have moved
            reason = unreachable_reason(failure)
            if failure.errno == errno.EADDRNOTAVAIL and not any(map(_has_route, self._found)):
                reason = "network_unreachable"
            raise RunnerUnreachable(reason) from None
        return made

    async def _addresses(self) -> list[aiohappyeyeballs.AddrInfoType]:
        if time.monotonic() < self._found_until:
            return self._found
        if self._lookup is None:
            self._lookup = asyncio.create_task(self._look_up())
        # One serves all that wait for it and outlives those who give up: the thread that waits
        # for a name server cannot be stopped, and there are only a few of them.
        found = await asyncio.shield(self._lookup)
        if isinstance(found, OSError):
            raise found
        return found

    async def _look_up(self) -> list[aiohappyeyeballs.AddrInfoType] | OSError:
        """A failure is returned: when it comes, there may be nobody left to raise it to."""
        try:
            if self._is_numeric:
                self._found = self._ask()
            else:
                loop = asyncio.get_running_loop()
                self._found = await loop.run_in_executor(self._threads, self._ask)
        except OSError as failure:
            return failure
        finally:
            self._lookup = None
        self._found_until = time.monotonic() + DNS_TTL_S
        return self._found

    def _ask(self) -> list[aiohappyeyeballs.AddrInfoType]:
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        return cast("list[aiohappyeyeballs.AddrInfoType]", found)  # typeshed's is wider

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:  # reading the system's trust anchors takes a while
            self._tls = await asyncio.to_thread(_default_context)
        return self._tls


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _has_route(to: aiohappyeyeballs.AddrInfoType) -> bool:
    """Whether a datagram could leave for there, which takes no port of TCP's; none is sent."""
    try:
        with socket.socket(to[0], socket.SOCK_DGRAM) as trial:
            trial.connect(to[4])
    except OSError:
        return False
    return True


@functools.cache
def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
