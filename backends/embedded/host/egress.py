"""The way out for guests: named hosts only, public addresses only, nothing followed."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType
from multidict import CIMultiDict
from yarl import URL

from backends.bounded_body import BodyTooLarge, read_at_most
from backends.contract import Pairs
from backends.embedded.host.addresses import Address, is_public
from backends.forgotten_threads import ForgottenThreads

MAX_RESPONSE_BYTES = 4 * 1024 * 1024
"""A guest has no use for more: it could not pass half of it on."""

LOOKUPS_AT_ONCE: Final = 8
"""Of names under one entry of the allow-list."""


class AddressRefused(OSError):
    """The name leads, or also leads, to an address that guests may not reach."""


class EgressRefused(Exception):
    """The policy forbids this host."""


class EgressFailed(Exception):
    """No response came."""


class ResponseUnreadable(Exception):
    """A response began, and its body broke off or exceeds MAX_RESPONSE_BYTES."""


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Where guests may connect to.

    Args:
        allow: host names; each admits itself and its subdomains. Empty admits nothing.
        is_allowed_address: judges every address before a socket is opened to it.

    Raises:
        ValueError: an entry of `allow` is not a host name.
    """

    allow: tuple[str, ...] = ()
    is_allowed_address: Callable[[Address], bool] = is_public

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow", tuple(map(_entry_host, self.allow)))

    def allows_host(self, host: str) -> bool:
        """Whether `host`, in ASCII form, is named by the allow-list, exactly or as a parent."""
        return self.entry_for(host) is not None

    def entry_for(self, host: str) -> str | None:
        """The first entry of the allow-list that names `host`."""
        host = _comparable(host)
        for entry in self.allow:
            if host == entry or host.endswith(f".{entry}"):
                return entry
        return None

    def vet(self, address: str) -> None:
        """Raise AddressRefused unless `address` (an IP address as text) may be reached."""
        if not self.is_allowed_address(ipaddress.ip_address(address)):
            raise AddressRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRequest:
    method: str
    url: URL  # absolute, http or https
    headers: Pairs = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressResponse:
    status: int
    headers: tuple[tuple[bytes, bytes], ...]  # wire order, repeats kept
    body: bytes  # as it came: never decompressed


class EgressClient:
    """Carries guests' requests out. Must be created on the event loop that it will run on.

    Every request gets a connection of its own: with a shared pool, bytes that a server
    sends unasked could become the answer of another tenant's request.
    """

    def __init__(self, policy: EgressPolicy, *, resolver: AbstractResolver | None = None) -> None:
        self._policy = policy
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=_VettingResolver(policy, resolver or _OwnThreadsResolver(policy)),
                use_dns_cache=False,
                socket_factory=self._open_vetted_socket,
                force_close=True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )

    async def send(self, request: EgressRequest) -> EgressResponse:
        """One exchange, redirects not followed. The caller bounds its time.

        Raises:
            EgressRefused, EgressFailed, ResponseUnreadable.
        """
        if not self._policy.allows_host(request.url.raw_host or ""):
            raise EgressRefused
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=CIMultiDict(request.headers),
                data=request.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as response:
                body = await _read(response)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, AddressRefused):
                raise EgressRefused from error
            raise EgressFailed from error
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            # ValueError: what the wire cannot carry; RuntimeError: the session is closed.
            raise EgressFailed from error
        return EgressResponse(status=response.status, headers=response.raw_headers, body=body)

    async def aclose(self) -> None:
        """Close the connections; requests still running fail."""
        await self._session.close()

    def _open_vetted_socket(self, addr_info: AddrInfoType) -> socket.socket:
        # The last door before a connection: an address written into the URL meets no resolver.
        family, kind, protocol, _, address = addr_info
        self._policy.vet(str(address[0]))
        return socket.socket(family, kind, protocol)


class _VettingResolver(AbstractResolver):
    """Looks a name up once and refuses it whole if any of its addresses is forbidden.

    aiohttp connects to exactly what this returns, so a second, different answer of the
    name's owner (DNS rebinding) is never asked for.
    """

    def __init__(self, policy: EgressPolicy, lookup: AbstractResolver) -> None:
        self._policy = policy
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._lookup.resolve(host, port, family)
        for result in found:
            self._policy.vet(result["host"])
        return found

    async def close(self) -> None:
        await self._lookup.close()


class _OwnThreadsResolver(AbstractResolver):
    """Looks names up in threads that nobody else needs.

    Guests choose the names, and so the name servers: one that does not answer keeps a thread
    for half a minute, whoever has given up meanwhile. Hence each entry of the allow-list has
    threads of its own: whoever owns the names under one holds up nobody who asks for others.
    """

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy
        self._threads: dict[str | None, ForgottenThreads] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads_for(host),
            partial(
                socket.getaddrinfo,
                host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG,
            ),
        )  # fmt: skip
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=family_found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family_found, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    def _threads_for(self, host: str) -> ForgottenThreads:
        entry = self._policy.entry_for(host)
        if (threads := self._threads.get(entry)) is None:
            threads = self._threads[entry] = ForgottenThreads(LOOKUPS_AT_ONCE, "guest-dns")
        return threads


async def _read(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await read_at_most(response, MAX_RESPONSE_BYTES)
    except (aiohttp.ClientError, BodyTooLarge) as error:
        raise ResponseUnreadable from error


def _entry_host(entry: str) -> str:
    try:
        host = URL.build(scheme="http", host=entry.strip().lstrip(".").strip("[]")).raw_host
    except ValueError:
        host = None
    if not host or "*" in host:
        raise ValueError(f"not a host name in the egress allow-list: {entry!r}")
    return _comparable(host)


def _comparable(host: str) -> str:
    return host.removesuffix(".").lower()
