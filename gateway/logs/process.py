"""Where a serving process's lines go: one writer for all of them, a short way for one kind.

An access line holds nothing but what this program decided and counted, so it needs none of
the care that other events get. It is still searched for every configured secret, and takes
the long way when one is found.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson

from gateway.logs.batch_writer import BatchWriter
from gateway.logs.lines import configure_logs, is_written
from gateway.logs.tap import TAP
from gateway.settings import Settings
from middleware.access_log import Entry, through_structlog


class ProcessLogs:
    """Every line of this process, to one file descriptor, for as long as it serves.

    Args:
        always: fields of every line, such as which worker wrote it.
    """

    def __init__(
        self, settings: Settings, descriptor: int, always: Mapping[str, object] | None = None
    ) -> None:
        self._always = dict(always or {})
        # What is the same in every line, ready to stand in front of what is not.
        self._always_raw = b"".join(
            b"%b," % orjson.dumps({name: value})[1:-1] for name, value in self._always.items()
        )
        self._begin, self._second = b"", -1
        self._writer = BatchWriter(descriptor)
        self._settings = settings
        self._old_secrets: frozenset[str] = frozenset()
        self._searched: frozenset[str] = frozenset()
        self._secret_bytes: tuple[bytes, ...] = ()
        self._configure(settings)

    @property
    def dropped(self) -> int:
        """Lines that were given up: nobody read the log, or not fast enough."""
        return self._writer.dropped

    def follow(self, settings: Settings) -> None:
        """Go on with the settings of a reload. Old secrets are still masked: calls that
        began under them are still running."""
        self._old_secrets = self._secrets()
        self._settings = settings
        self._configure(settings)

    def access(self, entries: Sequence[Entry]) -> None:
        """The sink of the access log."""
        if not self._json:
            through_structlog(entries)
            return
        self._look_for(self._secrets())
        raws = []
        for entry in entries:
            if not is_written(entry[1]):
                continue
            raw = self._rendered(*entry)
            for secret in self._secret_bytes:
                if secret in raw:
                    through_structlog((entry,))
                    break
            else:
                TAP.publish(raw)
                raws.append(raw)
        self._writer.write(b"".join(raws))

    def _rendered(self, at: float, level: str, event: str, line: dict[str, object]) -> bytes:
        second = int(at)
        if second != self._second:
            self._second = second
            stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._begin = b'{"ts":"%b.' % stamp.encode()
        return b'%b%06dZ","level":"%b","event":"%b",%b%b\n' % (
            self._begin,
            (at - second) * 1e6,
            level.encode(),
            event.encode(),
            self._always_raw,
            orjson.dumps(line, default=str)[1:],
        )

    def close(self) -> None:
        """Write what waits. Call it last."""
        self._writer.close()

    def _configure(self, settings: Settings) -> None:
        self._json = settings.log_format == "json"
        configure_logs(
            settings.log_format,
            settings.log_level,
            secrets=self._secrets,
            write=lambda line: self._writer.write_now(line.encode(errors="replace") + b"\n"),
            always=self._always,
        )

    def _secrets(self) -> frozenset[str]:
        return self._old_secrets | self._settings.secrets_now

    def _look_for(self, secrets: frozenset[str]) -> None:
        if secrets != self._searched:
            self._searched = secrets
            self._secret_bytes = tuple(secret.encode() for secret in secrets)
