"""HTTPS as its user gets it: `certs`, two variables, and a renewal under a running gateway."""

import asyncio
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from gateway.verbs.certificates import make_certificates
from tests.journeys.process import gateway_process

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tls_folder(tmp_path: Path) -> Path:
    """What `python -m gateway certs` leaves."""
    subprocess.run(
        [sys.executable, "-m", "gateway", "certs", "--out", str(tmp_path / "tls")],
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return tmp_path / "tls"


async def certificate_shown(port: int, tls: ssl.SSLContext) -> bytes:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        return bytes(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    finally:
        writer.close()
        await writer.wait_closed()


async def test_the_gateway_serves_https_and_takes_a_renewed_certificate_up(
    tmp_path: Path, tls_folder: Path
) -> None:
    env_file = {
        "RUNNER_BUNDLE_DIR": "bundles",
        "GATEWAY_TLS_CERT": str(tls_folder / "server.pem"),
        "GATEWAY_TLS_KEY": str(tls_folder / "server-key.pem"),
    }
    tls = ssl.create_default_context(cafile=tls_folder / "ca.pem")
    async with (
        gateway_process(tmp_path, environ={}, env_file=env_file) as gateway,
        ClientSession(connector=TCPConnector(ssl=tls)) as client,
    ):
        assert gateway.url.startswith("https://127.0.0.1:")
        async with client.get(gateway.url + "/healthz") as answer:
            assert answer.status == 200
        port = int(gateway.url.rpartition(":")[2])
        first = await certificate_shown(port, tls)

        await asyncio.to_thread(make_certificates, tls_folder)
        second = await certificate_shown(port, tls)
        assert second != first
        await gateway.event("certificate_read")

        await asyncio.to_thread((tls_folder / "server-key.pem").write_text, "broken")
        gateway.send(signal.SIGHUP)
        await gateway.event("certificate_refused")
        assert await certificate_shown(port, tls) == second


@pytest.mark.parametrize("with_tls", [False, True])
async def test_the_images_health_check_finds_a_gateway_alive_with_tls_and_without(
    tmp_path: Path, tls_folder: Path, with_tls: bool
) -> None:
    tls = {
        "GATEWAY_TLS_CERT": str(tls_folder / "server.pem"),
        "GATEWAY_TLS_KEY": str(tls_folder / "server-key.pem"),
    }
    env_file = {"RUNNER_BUNDLE_DIR": "bundles", **(tls if with_tls else {})}
    async with gateway_process(tmp_path, environ={}, env_file=env_file) as gateway:
        port = gateway.url.rpartition(":")[2]
        assert await health_check(port) == 0
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
        assert await health_check(port) == 1
    assert "library_logged" not in {line["event"] for line in gateway.lines}


async def health_check(port: str) -> int:
    """The exit status of what the Dockerfile has as its HEALTHCHECK."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "scripts" / "healthcheck.py", env={"HEALTHCHECK_PORT": port}
    )
    return await process.wait()
