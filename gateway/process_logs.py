"""Where a serving process's lines go: one writer for all of them, a short way for one kind.

An access line holds nothing but what this program decided and counted, so it needs none of
the care that other events get. It is still searched for every configured secret, and takes
the long way when one is found.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from gateway.batch_writer import BatchWriter
from gateway.log_tap import TAP
from gateway.logs import configure_logs, is_written, set_level
from gateway.settings import Settings
from middleware.access_log import through_structlog


class ProcessLogs:
    """Every line of this process, to one file descriptor, for as long as it serves.

    Args:
        always: fields of every line, such as which worker wrote it.
    """

    def __init__(
        self, settings: Settings, descriptor: int, always: Mapping[str, object] | None = None
    ) -> None:
        self._always = dict(always or {})
        self._writer = BatchWriter(descriptor)
        self._json = settings.log_format == "json"
        self._secrets: frozenset[str] = frozenset()
        self._secret_bytes: tuple[bytes, ...] = ()
        self._know(settings.secrets)
        configure_logs(
            settings.log_format,
            settings.log_level,
            secrets=lambda: self._secrets,
            write=lambda line: self._writer.write_now(line.encode(errors="replace") + b"\n"),
            always=self._always,
        )

    @property
    def dropped(self) -> int:
        """Lines that were given up because nobody read the log fast enough."""
        return self._writer.dropped

    def follow(self, settings: Settings) -> None:
        """Go on with the settings of a reload. Old secrets are still masked: calls that
        began under them are still running."""
        set_level(settings.log_level)
        self._know(self._secrets | settings.secrets)

    def access(self, level: str, event: str, line: dict[str, object]) -> None:
        """The sink of the access log."""
        if not is_written(level):
            return
        if not self._json:
            through_structlog(level, event, line)
            return
        now = datetime.fromtimestamp(time.time(), UTC)
        raw = orjson.dumps(
            {"ts": now, "level": level, "event": event, **self._always, **line},
            default=str,
            option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE,
        )
        for secret in self._secret_bytes:
            if secret in raw:
                through_structlog(level, event, line)
                return
        TAP.publish(raw)
        self._writer.write(raw)

    def close(self) -> None:
        """Write what waits. Call it last."""
        self._writer.close()

    def _know(self, secrets: frozenset[str]) -> None:
        self._secrets = secrets
        self._secret_bytes = tuple(secret.encode() for secret in secrets)
