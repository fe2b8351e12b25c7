"""Certificates for loopback: believed there by whoever trusts the authority, and nowhere else."""

import asyncio
import resource
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.verbs.certificates import Certificates, CertificatesUnusable, make_certificates


async def shake_hands(made: Certificates, chain: Path, key: Path, name: str) -> None:
    """A TLS handshake on a real socket, between a server and a client that checks `name`."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(chain, key)
    client_side = ssl.create_default_context(cafile=made.authority)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=server_side) as server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_side, server_hostname=name
        )
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
async def test_whoever_trusts_the_authority_believes_the_server(tmp_path: Path, name: str) -> None:
    made = make_certificates(tmp_path)
    await shake_hands(made, made.server, made.server_key, name)


async def test_another_name_is_not_believed(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        await shake_hands(made, made.server, made.server_key, "app.example")


async def test_the_authority_cannot_vouch_for_another_site(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    signer = serialization.load_pem_private_key((tmp_path / "ca-key.pem").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    forged = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example")]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    chain, key_file = tmp_path / "forged.pem", tmp_path / "forged-key.pem"
    chain.write_bytes(forged.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        await shake_hands(made, chain, key_file, "bank.example")


def test_keys_are_for_their_owner_alone_and_nothing_is_left_over(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "tls"
    make_certificates(folder)
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
        "server.pem": 0o644,
        "server-key.pem": 0o600,
    }


@pytest.mark.parametrize("room", [300, 1000], ids=["for keys alone", "for no chain"])
def test_without_room_for_a_certificate_nothing_has_changed(tmp_path: Path, room: int) -> None:
    # A file may be no longer: what a full disk comes to, without one.
    made, empty = tmp_path / "made", tmp_path / "empty"
    make_certificates(made)
    empty.mkdir()
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, unlimited[1]))
    try:
        for folder in (made, empty):
            with pytest.raises(OSError, match="File too large"):
                make_certificates(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    left = {file.name for file in empty.iterdir()}
    assert left == (set() if room == 300 else {"ca.pem", "ca-key.pem"})
    make_certificates(empty)


def test_a_second_time_the_authority_stays_and_the_server_is_new(tmp_path: Path) -> None:
    first = make_certificates(tmp_path)
    authority, server = first.authority.read_bytes(), first.server.read_bytes()
    second = make_certificates(tmp_path)
    assert (first.authority_is_new, second.authority_is_new) == (True, False)
    assert second.authority.read_bytes() == authority
    assert second.server.read_bytes() != server


@pytest.mark.parametrize("broken", ["ca.pem", "ca-key.pem"])
def test_a_damaged_authority_is_refused(tmp_path: Path, broken: str) -> None:
    make_certificates(tmp_path)
    (tmp_path / broken).write_text("not PEM")
    with pytest.raises(CertificatesUnusable, match="damaged"):
        make_certificates(tmp_path)


def test_the_key_of_another_authority_is_refused(tmp_path: Path) -> None:
    make_certificates(tmp_path / "1")
    make_certificates(tmp_path / "2")
    (tmp_path / "1" / "ca-key.pem").write_bytes((tmp_path / "2" / "ca-key.pem").read_bytes())
    with pytest.raises(CertificatesUnusable, match="not the key"):
        make_certificates(tmp_path / "1")
