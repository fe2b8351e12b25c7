"""A runner that cannot be reached is told from one that can, in one word and at once."""

import asyncio
import errno
import socket
import ssl
import threading
from typing import NoReturn

import pytest
import trustme

from backends.errors import Phase, RunnerTimeout, RunnerUnreachable
from backends.upstream.address import RunnerAddress
from backends.upstream.failures import UNREACHABLE_WORDS, unreachable_reason
from backends.upstream.http1_dial import Dialler
from backends.upstream.transport import Budget
from tests.backends.upstream.conftest import OpenTransport
from tests.backends.upstream.exchanges import ask
from tests.fakes.raw_runner import RawRunner, hang, response, send


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


async def test_a_refused_connection_is_unreachable_and_safe_to_retry(
    open_transport: OpenTransport, closed_port: int
) -> None:
    with pytest.raises(RunnerUnreachable) as caught:
        await ask(open_transport(f"http://127.0.0.1:{closed_port}"))
    assert (caught.value.reason, caught.value.phase) == ("connection_refused", Phase.CONNECT)
    assert caught.value.safe_to_retry


async def test_a_name_with_two_families_is_refused_in_the_same_word(
    open_transport: OpenTransport, closed_port: int
) -> None:
    with pytest.raises(RunnerUnreachable, match="connection_refused"):
        await ask(open_transport(f"http://localhost:{closed_port}"))


async def test_a_name_that_does_not_exist_is_not_resolved(open_transport: OpenTransport) -> None:
    with pytest.raises(RunnerUnreachable, match="name_not_resolved"):
        await ask(open_transport("http://runner.invalid"))


async def test_a_name_server_that_does_not_answer_is_asked_once_for_all(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name server that stays silent cannot be staged without being root.
    asked: list[str] = []
    answered = threading.Event()

    def look_up(host: str, *_: object, **__: object) -> NoReturn:
        asked.append(host)
        answered.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    transport = open_transport("http://runner.test")
    hasty = Budget(connect_s=0.02, first_byte_s=5, idle_s=5)
    for _ in range(3):
        with pytest.raises(RunnerTimeout, match="connect_timeout"):
            await ask(transport, budget=hasty)
    last = asyncio.create_task(ask(transport))
    await asyncio.sleep(0)
    answered.set()
    with pytest.raises(RunnerUnreachable, match="name_not_resolved"):
        await last
    assert asked == ["runner.test"]


@pytest.mark.parametrize(("number", "word"), UNREACHABLE_WORDS.items())
def test_every_other_refusal_of_the_network_has_its_word(number: int, word: str) -> None:
    # Routers that answer "unreachable" cannot be staged on one machine.
    assert unreachable_reason(OSError(number, "text")) == word


@pytest.mark.parametrize(
    ("has_route", "word"), [(True, "out_of_sockets"), (False, "network_unreachable")]
)
async def test_a_machine_without_the_family_is_told_from_one_without_ports(
    has_route: bool, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it is with IPv6 turned off, or with all ports of TCP in use: neither is a test's to stage.
    def refuse(sock: socket.socket, _: object) -> None:
        if sock.type == socket.SOCK_STREAM or not has_route:
            raise OSError(errno.EADDRNOTAVAIL, "text")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    dialler = Dialler(RunnerAddress.parse("http://127.0.0.1:9"))
    with pytest.raises(RunnerUnreachable, match=word):
        await dialler.dial(asyncio.Protocol)


async def test_a_peer_that_speaks_no_tls_is_named(open_transport: OpenTransport) -> None:
    async with RawRunner(hang(), on_connect=send(b"HTTP/1.1 400 Bad\r\n\r\n")) as runner:
        with pytest.raises(RunnerUnreachable, match="tls_failed"):
            await ask(open_transport(runner.url.replace("http:", "https:")))


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def test_a_certificate_of_an_unknown_authority_is_refused(
    open_transport: OpenTransport,
) -> None:
    tls = server_context(trustme.CA(), "127.0.0.1")
    async with RawRunner(send(response(b"ok")), tls=tls) as runner:
        with pytest.raises(RunnerUnreachable, match="tls_failed"):
            await ask(open_transport(runner.url))
        assert runner.requests == []


async def test_behind_an_ingress_tls_asks_for_the_name_of_the_service(
    open_transport: OpenTransport,
) -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    asked_for: list[str | None] = []
    tls = server_context(authority, "hello.default.example")
    tls.sni_callback = lambda sock, name, context: asked_for.append(name)
    async with RawRunner(send(response(b"ok")), tls=tls) as runner:
        transport = open_transport(
            runner.url, tls=trusting, server_hostname="hello.default.example"
        )
        assert (await ask(transport)).body == b"ok"
        assert (await ask(transport)).body == b"ok"
        assert runner.connections == 1
    assert asked_for == ["hello.default.example"]
