"""The port, with real programs on it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.doctor.findings import Level
from tests.fakes.runner import FakeRunner
from tests.gateway.doctor.rig import of, the_one, visit
from tests.gateway.harness import in_front_of, running


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@asynccontextmanager
async def another_program(host: str) -> AsyncIterator[int]:
    """Something that listens and says nothing that a gateway would say."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, host, 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_free_port_is_found_free_and_left_free() -> None:
    port = free_port()
    for _ in range(2):
        found = the_one(await visit(GATEWAY_PORT=str(port)), "port", "is free")
        assert found.level is Level.OK


async def test_another_program_on_the_port_is_found() -> None:
    async with another_program("127.0.0.1") as port:
        found = the_one(await visit(GATEWAY_PORT=str(port)), "port", "is taken")
    assert found.level is Level.FAILED
    assert f":{port}" in found.fix


async def test_another_web_server_on_the_port_is_not_taken_for_a_gateway() -> None:
    async with FakeRunner() as runner:
        found = the_one(await visit(GATEWAY_PORT=str(runner.port)), "port", "is taken")
    assert found.level is Level.FAILED


async def test_a_gateway_on_the_port_is_recognised() -> None:
    async with FakeRunner() as runner, running(in_front_of(runner)) as gateway:
        found = the_one(await visit(GATEWAY_PORT=str(gateway.port)), "port", "a gateway already")
    assert found.level is Level.OK


async def test_another_program_on_the_other_localhost_is_found() -> None:
    async with another_program("127.0.0.1") as port:
        findings = await visit(GATEWAY_PORT=str(port), GATEWAY_HOST="::1")
    found = the_one(findings, "port", "another program")
    assert found.level is Level.FAILED
    assert "::1" in found.fix


@pytest.mark.parametrize("host", ["192.0.2.1", "::"])
async def test_an_address_that_this_machine_does_not_have_is_found(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ipv6 = tmp_path / "if_inet6"
    await asyncio.to_thread(without_ipv6.touch)
    monkeypatch.setattr("gateway.sockets.listeners._IPV6_ADDRESSES", without_ipv6)
    findings = await visit(
        GATEWAY_PORT=str(free_port()),
        GATEWAY_HOST=host,
        GATEWAY_AUTH="proxy",
        GATEWAY_PROXY_KEY="0123456789abcdef",
    )
    (found,) = of(findings, "port")
    assert found.level is Level.FAILED
    assert "EADDRNOTAVAIL" in found.what
