"""A renewed certificate reaches new connections, and a broken one reaches nobody."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gateway.sockets.tls import LiveCertificate
from gateway.variables.unusable import UnusableHere
from gateway.verbs.certificates import Certificates, make_certificates


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "tls")


def in_pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    encryption: serialization.KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def trusting(made: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=made.authority)


class Connection:
    """One TLS connection on which an answer can be asked for, again and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def answered_by(self) -> bytes:
        """The certificate that the connection began with, once it has carried an answer."""
        self._writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await self._reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
        return bytes(self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


@asynccontextmanager
async def connected(port: int, tls: ssl.SSLContext) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def shown(port: int, tls: ssl.SSLContext) -> bytes:
    """The certificate that a new connection is shown."""
    async with connected(port, tls) as connection:
        return await connection.answered_by()


@asynccontextmanager
async def serving(live: LiveCertificate) -> AsyncIterator[int]:
    """Serve "hello" on a port of 127.0.0.1."""

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=live.context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def written(made: Certificates) -> bytes:
    return ssl.PEM_cert_to_DER_cert(
        made.server.read_text().partition("-----END CERTIFICATE-----")[0]
        + "-----END CERTIFICATE-----"
    )


async def test_a_renewed_certificate_is_shown_without_anybody_saying_so(
    made: Certificates,
) -> None:
    tls, first = trusting(made), written(made)
    async with (
        serving(LiveCertificate(made.server, made.server_key)) as port,
        connected(port, tls) as old,
    ):
        assert await old.answered_by() == first
        make_certificates(made.server.parent)
        assert written(made) != first
        assert await shown(port, tls) == written(made)
        assert await old.answered_by() == first  # its connection goes on


async def test_half_of_a_renewal_changes_nothing_and_the_other_half_completes_it(
    made: Certificates, tmp_path: Path
) -> None:
    tls, first = trusting(made), written(made)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("ca.pem", "ca-key.pem"):
        (other / name).write_bytes((made.server.parent / name).read_bytes())
    renewed = make_certificates(other)
    async with serving(LiveCertificate(made.server, made.server_key)) as port:
        renewed.server.replace(made.server)
        for _ in range(2):
            assert await shown(port, tls) == first
        renewed.server_key.replace(made.server_key)
        assert await shown(port, tls) == written(made)


async def test_files_that_vanish_leave_the_last_good_pair(made: Certificates) -> None:
    tls, first = trusting(made), written(made)
    async with serving(LiveCertificate(made.server, made.server_key)) as port:
        made.server_key.unlink()
        assert await shown(port, tls) == first


async def test_a_client_that_names_no_server_gets_the_renewed_one_too(made: Certificates) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False  # so that an address is no name to send
    tls.load_verify_locations(made.authority)
    async with serving(LiveCertificate(made.server, made.server_key)) as port:
        make_certificates(made.server.parent)
        assert await shown(port, tls) == written(made)


def test_a_pair_that_does_not_fit_is_refused_at_the_start(
    made: Certificates, tmp_path: Path
) -> None:
    other = make_certificates(tmp_path / "other")
    with pytest.raises(UnusableHere) as refused:
        LiveCertificate(made.server, other.server_key)
    assert refused.value.code == "certificate_unusable"
    assert refused.value.problem.variable == "GATEWAY_TLS_KEY"
    assert "is not the key of" in refused.value.problem.problem


def test_a_key_of_another_kind_is_not_the_certificates(made: Certificates) -> None:
    made.server_key.write_bytes(in_pem(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(UnusableHere, match="is not the key of"):
        LiveCertificate(made.server, made.server_key)


def test_a_certificate_that_openssl_finds_too_weak_is_blamed_with_its_reason(
    made: Certificates,
) -> None:
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    weak = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    made.server.write_bytes(weak.public_bytes(serialization.Encoding.PEM))
    made.server_key.write_bytes(in_pem(key))
    with pytest.raises(UnusableHere, match=r"GATEWAY_TLS_CERT: .*too_small"):
        LiveCertificate(made.server, made.server_key)


@pytest.mark.parametrize("name", ["server", "server_key"])
@pytest.mark.parametrize("content", [None, b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_the_file_that_cannot_be_read_is_named(
    made: Certificates, name: str, content: bytes | None
) -> None:
    file = {"server": made.server, "server_key": made.server_key}[name]
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(UnusableHere) as refused:
        LiveCertificate(made.server, made.server_key)
    variable = {"server": "GATEWAY_TLS_CERT", "server_key": "GATEWAY_TLS_KEY"}[name]
    assert refused.value.problem.variable == variable


def test_a_key_with_a_pass_phrase_is_refused_and_nobody_is_asked(made: Certificates) -> None:
    key = serialization.load_pem_private_key(made.server_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    made.server_key.write_bytes(in_pem(key, serialization.BestAvailableEncryption(b"phrase")))
    with pytest.raises(UnusableHere, match="pass phrase"):
        LiveCertificate(made.server, made.server_key)
