"""The certificate that clients are shown: does it match, is it known, does it last?"""

import asyncio
import ipaddress
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, failed, ok, warning
from gateway.sockets.tls import server_context
from gateway.variables.unusable import UnusableHere

_SOON: Final = timedelta(days=14)
_MAX_PEM_BYTES: Final = 1024 * 1024


async def check(case: Case) -> Sequence[Finding]:
    listen = case.settings.listen
    if listen.tls_cert is None or listen.tls_key is None:
        return []
    chain, key = listen.tls_cert, listen.tls_key
    host = listen.host if listen.is_loopback else None
    return await asyncio.to_thread(lambda: list(_files(chain, key, host)))


def _files(chain: Path, key: Path, host: str | None) -> Iterator[Finding]:
    try:
        server_context(chain, key)
        with chain.open("rb") as file:
            certificate = x509.load_pem_x509_certificate(file.read(_MAX_PEM_BYTES))
    except UnusableHere as refused:
        bad = refused.problem
        why = "a gateway with these files does not start"
        yield failed("tls", f"{bad.variable} {bad.problem}", why, bad.fix)
        return
    except (OSError, ValueError):
        why = "what clients will say of it is not known"
        yield failed("tls", "GATEWAY_TLS_CERT cannot be read", why, "have it made anew")
        return
    yield _lasting(certificate)
    if key.stat().st_mode & 0o077:
        why = "whoever has the key can pose as this gateway"
        yield warning("tls", "other users may read GATEWAY_TLS_KEY", why, f"chmod 600 {key}")
    if host is not None and not covers(certificate, host):
        yield warning(
            "tls",
            f"the certificate is not for {host}",
            "browsers on this machine will not believe it",
            "python -m gateway certs makes one that is",
        )


def _lasting(certificate: x509.Certificate) -> Finding:
    now, end = datetime.now(UTC), certificate.not_valid_after_utc
    renew = "renew it; a running gateway takes the new files up by itself"
    if end <= now:
        why = "no client believes it"
        return failed("tls", f"the certificate expired on {end:%Y-%m-%d}", why, renew)
    if certificate.not_valid_before_utc > now:
        since = certificate.not_valid_before_utc
        fix = "set this machine's clock, or wait"
        return failed(
            "tls", f"the certificate is not valid before {since}", "none believes it", fix
        )
    if end - now < _SOON:
        why = f"{(end - now).days} days are left"
        return warning("tls", f"the certificate expires on {end:%Y-%m-%d}", why, renew)
    return ok("tls", f"the certificate is good until {end:%Y-%m-%d}")


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate names this address or name (RFC 9525 section 6), wildcards aside."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() in {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return address in names.get_values_for_type(x509.IPAddress)
