"""The port: free, or ours already? And is `localhost` the same place for everybody?"""

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Final

import aiohttp

from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, Level, failed, ok
from gateway.sockets.listeners import addresses_of, unusable

_ASK_S: Final = 2.0
_NAMED_BY_A_GATEWAY: Final = "x-runner-backend"
_ALL_INTERFACES: Final = ("0.0.0.0", "::")  # noqa: S104  compared, not listened on


async def check(case: Case) -> Sequence[Finding]:
    if case.settings.listen.port == 0:
        return [ok("port", "GATEWAY_PORT=0 takes any free port")]
    port = await _port(case)
    return [port] if port.level is Level.FAILED else [port, *await _localhost(case)]


async def _port(case: Case) -> Finding:
    listen = case.settings.listen
    where = f"{listen.host}:{listen.port}"
    try:
        await asyncio.to_thread(_bind, listen.host, listen.port)
    except OSError as refused:
        fix = unusable(listen, refused).problem.fix
        if refused.errno == errno.EADDRINUSE:
            return await _taken(case, where, fix)
        return _barred(refused, fix)
    return ok("port", f"{where} is free")


def _bind(host: str, port: int) -> None:
    for family, address in addresses_of(host, port):
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(address)
            trial.listen(1)


async def _taken(case: Case, where: str, fix: str) -> Finding:
    if await is_gateway(*case.listener, tls=case.settings.listen.tls_cert is not None):
        return ok("port", f"{where} is served by a gateway already")
    return failed(
        "port",
        f"{where} is taken",
        "another program listens there, and it is no gateway that answers",
        fix,
    )


def _barred(refused: OSError, fix: str) -> Finding:
    name = errno.errorcode.get(refused.errno or 0, "?")
    return failed(
        "port",
        f"GATEWAY_HOST and GATEWAY_PORT cannot be listened on ({name})",
        "the gateway will not start",
        fix,
    )


async def is_gateway(host: str, port: int, *, tls: bool) -> bool:
    """Whether a gateway answers there: only one names the backend that serves."""
    name = f"[{host}]" if ":" in host else host
    url = f"{'https' if tls else 'http'}://{name}:{port}/healthz"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_S)) as session,
            # Nothing is sent that needs protection, and the certificate has a check of its own.
            session.get(url, ssl=False, allow_redirects=False) as answer,
        ):
            return _NAMED_BY_A_GATEWAY in answer.headers
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _localhost(case: Case) -> Sequence[Finding]:
    """Clients may try ::1 first; what answers there had better be this gateway."""
    host, port = case.settings.listen.host, case.settings.listen.port
    if not case.settings.listen.is_loopback and host not in _ALL_INTERFACES:
        return []
    other = "127.0.0.1" if ":" in host else "::1"
    named = await localhost_addresses()
    if other not in named or "localhost" in host:
        return []
    tls = case.settings.listen.tls_cert is not None
    if await _answers(other, port) and not await is_gateway(other, port, tls=tls):
        return [
            failed(
                "port",
                f"another program listens on port {port} of {other}",
                f"`localhost` means that address too, and the gateway listens on {host}",
                f"stop it, set GATEWAY_PORT, or write {case.listener[0]} for localhost everywhere",
            )
        ]
    if named[0] != other:
        return []
    return [ok("port", f"`localhost` is {other} first here: write {case.listener[0]} in addresses")]


async def localhost_addresses() -> list[str]:
    """What `localhost` means here, in the order in which clients try; no entry twice."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_ASK_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
