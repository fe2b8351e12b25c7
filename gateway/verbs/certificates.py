"""A certificate for this machine's own names, and an authority that vouches for nothing else.

Browsers give some features to HTTPS only, and cookies that need it. The authority may sign for
loopback and for no other place (RFC 5280 section 4.2.1.10), so trusting it here risks little
even when its key gets lost.
"""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from backends.files.whole import replacing

NAMES: Final = ("localhost", "127.0.0.1", "::1")
AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 365  # browsers refuse some that last longer than 398 days

_CLOCKS_DIFFER: Final = timedelta(hours=1)
_MAX_PEM_BYTES: Final = 64 * 1024


class CertificatesUnusable(Exception):
    """What lies in the folder cannot be used; the message says which file, and nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """The files, after a call."""

    authority: Path
    server: Path
    server_key: Path
    authority_is_new: bool  # nobody trusts it yet
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(folder: Path) -> Certificates:
    """Make a server certificate, and an authority unless a usable one is there. Blocking.

    Keys are readable for their owner alone. Files appear whole, the key before its certificate,
    so that a gateway that serves them can take them up.

    Raises:
        CertificatesUnusable: the authority's files are damaged, or one is missing.
        OSError: the disk would not.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = datetime.now(UTC)
    certificate_file, key_file = folder / "ca.pem", folder / "ca-key.pem"
    authority = _read_authority(certificate_file, key_file)
    is_new = authority is None or authority.certificate.not_valid_after_utc < now + timedelta(
        days=SERVER_DAYS
    )
    if authority is None or is_new:
        authority = _new_authority(now)
        _write_both(key_file, _pem(authority.key), certificate_file, _public(authority.certificate))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _server_certificate(authority, key, now)
    server, server_key = folder / "server.pem", folder / "server-key.pem"
    chain = _public(certificate) + _public(authority.certificate)
    _write_both(server_key, _pem(key), server, chain)
    return Certificates(
        authority=certificate_file,
        server=server,
        server_key=server_key,
        authority_is_new=is_new,
        expires_at=certificate.not_valid_after_utc,
    )


def _read_authority(certificate_file: Path, key_file: Path) -> _Authority | None:
    present = [file.exists() for file in (certificate_file, key_file)]
    if not any(present):
        return None
    if not all(present):
        raise CertificatesUnusable("ca.pem and ca-key.pem belong together, and one is missing")
    try:
        certificate = x509.load_pem_x509_certificate(_read(certificate_file))
        key = serialization.load_pem_private_key(_read(key_file), password=None)
    except (ValueError, TypeError):  # TypeError: it has a pass phrase
        raise CertificatesUnusable("ca.pem or ca-key.pem is damaged") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or (
        key.public_key() != certificate.public_key()
    ):
        raise CertificatesUnusable("ca-key.pem is not the key of ca.pem")
    return _Authority(certificate=certificate, key=key)


def _new_authority(now: datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Extension gateway on one machine, {now:%Y-%m-%d}")
    inside = x509.NameConstraints(
        permitted_subtrees=[
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_network("127.0.0.0/8")),
            x509.IPAddress(ipaddress.ip_network("::1/128")),
        ],
        excluded_subtrees=None,
    )
    made = (
        _begun(name, name, key, now, days=AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(inside, critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate=made, key=key)


def _server_certificate(
    authority: _Authority, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.Certificate:
    issuer = authority.certificate
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        _begun(_name("localhost"), issuer.subject, key, now, days=SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([*map(_alternative, NAMES)]), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    *,
    days: int,
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(identifier, critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAX_PEM_BYTES)


def _write_both(key_file: Path, key: bytes, certificate_file: Path, certificate: bytes) -> None:
    """The key in its place before its certificate, and neither where the disk has no room."""
    with (
        replacing(certificate_file, mode=0o644) as of_certificate,
        replacing(key_file, mode=0o600) as of_key,
    ):
        of_certificate.write(certificate)
        of_certificate.flush()
        of_key.write(key)
