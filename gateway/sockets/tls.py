"""The certificate that clients are shown, taken anew from its files when they change.

Certificates are renewed every few weeks, and a restart for that would cut streams. Each
handshake looks at the files' times, so nobody has to tell the gateway; SIGHUP reads them anyway.
A pair that does not fit, as while one of two files has been written, changes nothing.
"""

import os
import ssl
from pathlib import Path
from typing import Final

import structlog

from gateway.settings import Listen
from gateway.variables.problems import SettingProblem
from gateway.variables.unusable import UnusableHere, log_fields

_Stamp = tuple[tuple[int, int, int], ...]
_UNREADABLE: Final[_Stamp] = ()

_OF_ANOTHER: Final = frozenset(
    # What OpenSSL says of a key that is not the certificate's, and of one of another kind.
    {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
)

_log = structlog.get_logger("tls")


def certificate_of(listen: Listen) -> "LiveCertificate | None":
    """What clients of `listen` are shown; None where it is served without TLS.

    Raises:
        UnusableHere: the files cannot be read, or do not belong together.
    """
    if listen.tls_cert is None or listen.tls_key is None:
        return None
    return LiveCertificate(listen.tls_cert, listen.tls_key)


def server_context(chain: Path, key: Path) -> ssl.SSLContext:
    """A server's context with these files. Raises UnusableHere when it cannot have them."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # A pass phrase would be asked for on a terminal that a service does not have.
        context.load_cert_chain(chain, key, password="")
    except OSError as refused:
        raise UnusableHere("certificate_unusable", _blamed(chain, refused)) from refused
    return context


def _blamed(chain: Path, refused: OSError) -> SettingProblem:
    """Which of the two files, as far as OpenSSL tells them apart."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(chain)
    except OSError:
        return SettingProblem(
            variable="GATEWAY_TLS_CERT",
            problem="names a file that holds no readable PEM certificates",
            fix="Write the chain, the server's own certificate first",
        )
    reason = getattr(refused, "reason", None)
    if reason in _OF_ANOTHER:
        return SettingProblem(
            variable="GATEWAY_TLS_KEY",
            problem="is not the key of the first certificate in GATEWAY_TLS_CERT",
            fix="Name the key that this certificate was made for",
        )
    if reason is None:
        return SettingProblem(
            variable="GATEWAY_TLS_KEY",
            problem="names a file that holds no readable PEM key without a pass phrase",
            fix="Write the plain private key: openssl pkey -in KEY -out PLAIN",
        )
    return SettingProblem(
        variable="GATEWAY_TLS_CERT",
        problem=f"is refused by OpenSSL ({reason.lower()})",
        fix="Have a certificate made of the strength that is asked for today",
    )


class LiveCertificate:
    """A server's TLS context whose chain follows its files. Handshakes under way are not disturbed.

    Args:
        chain: certificates, PEM, the server's own first.
        key: its private key, PEM, without a pass phrase.

    Raises:
        UnusableHere: the files cannot be read, or do not belong together.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._files = (chain, key)
        self._stamp = self._current_stamp()
        self._newest = self._load()
        self.context = self._newest
        """What the listener is given; it must stay the same one."""
        self.context.sni_callback = self._shake_hands

    def reread(self) -> None:
        """Take up what the files hold now. Raises nothing: the old pair stays when it must."""
        self._stamp = self._current_stamp()
        try:
            newest = self._load()
        except OSError as refused:
            _log.error("certificate_refused", **log_fields(refused))
            return
        self._newest = newest
        _log.info("certificate_read")

    def _shake_hands(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
    ) -> None:
        """OpenSSL asks for every handshake, also when the client names no server."""
        if self._current_stamp() != self._stamp:
            self.reread()
        connection.context = self._newest

    def _load(self) -> ssl.SSLContext:
        # A new context each time: a refused pair would leave a live one with half of it.
        return server_context(*self._files)

    def _current_stamp(self) -> _Stamp:
        try:
            found = [os.stat(file) for file in self._files]
        except OSError:
            return _UNREADABLE
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)
