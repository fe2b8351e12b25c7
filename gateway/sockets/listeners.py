"""The sockets that clients connect to: opened here, or taken over from whoever started us.

Taken over by the protocol of sd_listen_fds(3): a service manager, or an older instance of this
program, keeps the port open while the program that serves it is replaced.

Several processes get a socket each on the same port (SO_REUSEPORT, socket(7)), because Linux
then spreads connections evenly; on one shared socket whoever wakes first takes a whole burst.
The process that opened the sockets keeps them open, so what waits in the queue of a
process that died waits for the next one.
"""

import errno
import os
import socket
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from gateway.settings import Listen
from gateway.sockets.inherited import shared_listener
from gateway.variables.problems import SettingProblem
from gateway.variables.rules import is_loopback
from gateway.variables.unusable import UnusableHere

BACKLOG: Final = 1024
FIRST_INHERITED: Final = 3  # SD_LISTEN_FDS_START
VARIABLES: Final = frozenset({"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"})

_SPREADS: Final = sys.platform == "linux"
"""Whether it does: on macOS the socket that was bound last would get every connection."""

Sockets = Sequence[socket.socket]

_WHO_LISTENS: Final = (
    "ss -ltnp 'sport = :{}'" if sys.platform == "linux" else "lsof -nP -iTCP:{} -sTCP:LISTEN"
)
_EVERY_IPV6: Final = "::"
_IPV6_ADDRESSES: Final = Path("/proc/net/if_inet6")
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", _EVERY_IPV6: "::1"}  # noqa: S104
"""Hosts that are no address to connect to, and one that is."""


def listening(listen: Listen, environ: Mapping[str, str], *, shares: int = 1) -> list[Sockets]:
    """What each of `shares` processes accepts on.

    Args:
        environ: says which sockets are inherited, if any are; they count before `listen`.

    Raises:
        UnusableHere: the address cannot be used.
        OSError: what is inherited is not a listening socket.
    """
    inherited, wanted = inherited_sockets(environ), shares if _SPREADS else 1
    if inherited:
        _refuse_wider(listen, inherited)
        return _shared_out([*inherited, *_more_like(inherited, wanted)], shares)
    try:
        return _shared_out(_opened(listen.host, listen.port, wanted), shares)
    except OSError as refused:
        raise unusable(listen, refused) from refused


def unusable(listen: Listen, refused: OSError) -> UnusableHere:
    """What to change where the address of `listen` was refused."""
    host_from, port_from = listen.said_by
    where = f"{_bracketed(listen.host)}:{listen.port}"
    code, variable = "address_unusable", host_from
    problem = f"{where} cannot be listened on ({refused.strerror})"
    fix = f"Set {host_from} to an address of this machine"
    match refused.errno:
        case errno.EADDRINUSE:
            code, variable = "address_in_use", port_from
            problem = f"{where} is in use already"
            fix = (
                f"Stop what listens there ({_WHO_LISTENS.format(listen.port)}),"
                f" or set {port_from} to a free port"
            )
        case errno.EACCES:
            code, variable = "address_not_permitted", port_from
            problem = f"{where} may not be listened on by this user"
            fix = f"Set {port_from} to a port from 1024 on"
        case errno.EADDRNOTAVAIL:
            code, problem = "address_not_here", f"{where} is no address of this machine"
            if listen.host == _EVERY_IPV6:
                problem = f"{where} cannot be reached: this machine has no IPv6 address"
                fix += ", or to 0.0.0.0"
    return UnusableHere(code, SettingProblem(variable=variable, problem=problem, fix=fix))


def inherited_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """The sockets that were passed to this very process; none when there are none.

    Raises:
        OSError: one of them is not a listening stream socket.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for descriptor in range(FIRST_INHERITED, FIRST_INHERITED + int(count)):
        one = shared_listener(descriptor)
        if not (
            one.type == socket.SOCK_STREAM
            and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        ):
            raise OSError(None, f"descriptor {descriptor} is not a listening socket")
        found.append(one)
    return found


def _refuse_wider(listen: Listen, inherited: Sockets) -> None:
    # Who may call without a key was decided by GATEWAY_HOST; the socket must not belie it.
    for one in inherited:
        name = one.getsockname()
        if listen.is_loopback and isinstance(name, tuple) and not is_loopback(str(name[0])):
            raise OSError(
                None,
                f"the socket that was passed listens on {name[0]}, and GATEWAY_HOST is"
                f" {listen.host}: set GATEWAY_HOST to what is true",
            )


def without_inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a child that inherits nothing of this."""
    return {name: value for name, value in environ.items() if name not in VARIABLES}


def addresses_of(host: str, port: int) -> Iterable[tuple[int, tuple[Any, ...]]]:
    """The families and addresses to listen on. Raises OSError when there are none."""
    if host == _EVERY_IPV6 and not _has_ipv6():  # the system would listen there, for nobody
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return dict.fromkeys((family, address) for family, _, _, _, address in found)


def _has_ipv6() -> bool:
    try:
        return bool(_IPV6_ADDRESSES.read_text())
    except OSError:  # only Linux has it
        return True


def _opened(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` sockets on every address of `host`. With port 0 all have the same free one."""
    found: list[socket.socket] = []
    try:
        for family, address in addresses_of(host, port):
            if port == 0 and found:
                address = (address[0], found[0].getsockname()[1], *address[2:])
            # Without SO_REUSEPORT at first: another program on this port must be noticed.
            first = _bound(family, address, reuse_port=False)
            if count == 1:
                found.append(first)
                continue
            address = first.getsockname()
            first.close()
            found += [_bound(family, address, reuse_port=True) for _ in range(count)]
        for one in found:
            one.listen(BACKLOG)
    except OSError:
        for one in found:
            one.close()
        raise
    return found


def _more_like(inherited: Sockets, count: int) -> list[socket.socket]:
    """What is missing for `count` on every address, where the kernel gives it to us."""
    more: list[socket.socket] = []
    for group in _by_address(inherited):
        first = group[0]
        with suppress(OSError):
            if not first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
                continue  # its bound address is its alone
            for _ in range(count - len(group)):
                one = _bound(first.family, first.getsockname(), reuse_port=True)
                one.listen(BACKLOG)
                more.append(one)
    return more


def _bound(family: int, address: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # As asyncio does: the IPv4 addresses have sockets of their own.
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _shared_out(sockets: Sockets, shares: int) -> list[Sockets]:
    """Every socket to one process at least, and every process on every address."""
    shared: list[list[socket.socket]] = [[] for _ in range(shares)]
    for group in _by_address(sockets):
        for share, mine in enumerate(shared):
            mine += group[share::shares] or [group[share % len(group)]]
    return list(shared)


def _by_address(sockets: Iterable[socket.socket]) -> list[list[socket.socket]]:
    groups: dict[object, list[socket.socket]] = defaultdict(list)
    for one in sockets:
        groups[one.family, one.getsockname()].append(one)
    return list(groups.values())


def origin_of(listen: Listen, sockets: Sockets) -> str:
    """The address that a client on this machine uses; port 0 has become a real one."""
    names = [one.getsockname() for one in sockets]
    name = next((each for each in names if isinstance(each, tuple)), names[0])
    if not isinstance(name, tuple):  # Unix sockets alone, which only a service manager opens
        return f"unix:{name if isinstance(name, str) else name.decode(errors='replace')}"
    host = str(name[0]) if listen.host in _EVERYWHERE else listen.host
    host = _bracketed(_EVERYWHERE.get(host, host))
    return f"{'https' if listen.tls_cert else 'http'}://{host}:{name[1]}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
