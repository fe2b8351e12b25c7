"""Tells whoever started this process whether it serves or stops: the protocol of sd_notify(3).

Understood by systemd (`Type=notify`), by other service managers, and by an older instance of
this program that waits for its successor. That one has an address of its own: the manager's
must stay known to every successor, for as long as there are any.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

MANAGER: Final = "NOTIFY_SOCKET"
PREDECESSOR: Final = "NOTIFY_PREDECESSOR"
VARIABLES: Final = (PREDECESSOR, MANAGER)
READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(environ: Mapping[str, str], *states: str) -> None:
    """Say `states` to whoever wants to hear them. Never blocks, never raises."""
    for variable in VARIABLES:
        _send(environ.get(variable, ""), "\n".join(states).encode())


def _send(address: str, said: bytes) -> None:
    if address[:1] not in {"/", "@"}:
        return
    if address.startswith("@"):  # Linux's abstract namespace, unix(7)
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.sendto(said, address)
