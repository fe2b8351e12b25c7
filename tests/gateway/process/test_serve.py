"""The end of a process's sockets; tests/journeys has the rest of its life."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from gateway.keys import STATE
from gateway.process.serve import Serving
from gateway.sockets.tls import certificate_of
from gateway.verbs.certificates import Certificates, make_certificates
from tests.fakes.runner import FakeRunner
from tests.gateway.harness import in_front_of, running

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def answer_on(connection: socket.socket, tls: Certificates | None) -> bytes:
    if tls is not None:
        trusting = ssl.create_default_context(cafile=tls.authority)
        connection = trusting.wrap_socket(connection, server_hostname="localhost")
    with connection:
        connection.sendall(REQUEST)
        return connection.recv(4096)


@pytest.mark.parametrize("has_tls", [False, True])
async def test_whoever_has_connected_when_a_stop_begins_is_served(
    tmp_path: Path, has_tls: bool
) -> None:
    tls = make_certificates(tmp_path) if has_tls else None
    variables = (
        {"GATEWAY_TLS_CERT": str(tls.server), "GATEWAY_TLS_KEY": str(tls.server_key)} if tls else {}
    )
    async with FakeRunner() as runner, running(in_front_of(runner, **variables)) as gateway:
        serving = Serving(gateway.server, certificate_of(gateway.live.settings.listen))
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        await serving.accept_on([listener])
        # From here to the stop the loop does not run: the system alone takes the connection.
        connection = socket.create_connection(address)
        gateway.app[STATE].stopping = True
        stop = serving.wind_up()
        answer, _ = await asyncio.gather(asyncio.to_thread(answer_on, connection, tls), stop)
        assert answer.startswith(b"HTTP/1.1 200 ")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
