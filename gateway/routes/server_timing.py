"""How long a call queued before anything ran it, told to whoever waits."""

from backends.contract import Pairs


def server_timing(queued_ms: float | None) -> Pairs:
    """The Server-Timing field (W3C Server Timing), when there was a queue.

    >>> server_timing(1234.5678)
    (('server-timing', 'queue;dur=1234.6'),)
    >>> server_timing(None)
    ()
    """
    return () if queued_ms is None else (("server-timing", f"queue;dur={queued_ms:.1f}"),)
