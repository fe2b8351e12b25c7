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

_Stamp = tuple[tuple[int, int, int], ...]
_UNREADABLE: Final[_Stamp] = ()

_log = structlog.get_logger("tls")


class LiveCertificate:
    """A server's TLS context whose chain follows its files. Handshakes under way are not disturbed.

    Args:
        chain: certificates, PEM, the server's own first.
        key: its private key, PEM, without a pass phrase.

    Raises:
        OSError: the files cannot be read, or do not belong together (ssl.SSLError).
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
            _log.error("certificate_refused", error=type(refused).__name__)
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
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # A pass phrase would be asked for on a terminal that a service does not have.
        context.load_cert_chain(*self._files, password="")
        return context

    def _current_stamp(self) -> _Stamp:
        try:
            found = [os.stat(file) for file in self._files]
        except OSError:
            return _UNREADABLE
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)
