"""Tells a proxy's own error answers from the runner's, and turns them into BackendErrors.

Behind Knative three proxies may answer in the runner's place. They are told apart by their texts,
which go no further than this module. What matters most is whether the call can have been
processed: an ingress says 503 both when it found no pod and when a pod broke off half-way.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backends.contract import Pairs
from backends.errors import (
    BackendError,
    Phase,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.upstream.statuses import named_cause, retry_after_s

JUDGED: Final = frozenset({404, 502, 503, 504})
"""The statuses that may be a proxy's."""

TEXT_BYTES: Final = 1024
"""How much of a body is looked at: a proxy's text is short."""

# Envoy's own "reset reason": these name a connection that never came about.
_NEVER_CONNECTED: Final = (b"remote connection failure", b"connection timeout", b"overflow")
_ENVOYS: Final = frozenset({"envoy", "istio-envoy"})


class Speaker(StrEnum):
    INGRESS = "ingress"
    ACTIVATOR = "activator"
    QUEUE_PROXY = "queue-proxy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a proxy's answer means.

    Attributes:
        unprocessed: no byte of the call reached a runner, whatever its method.
    """

    speaker: Speaker
    failure: BackendError
    unprocessed: bool


def verdict(status: int, headers: Pairs, text: bytes) -> Verdict | None:
    """Judge an answer with a status of JUDGED; None when it may be the runner's own.

    Args:
        text: the first TEXT_BYTES of its body at most. None of it gets into the failure.

    >>> verdict(502, (), b"dial tcp 10.0.0.7:8012: connect: connection refused").unprocessed
    True
    >>> verdict(502, (), b"EOF").unprocessed
    False
    """
    match status:
        case 404:
            return _not_found(headers, text)
        case 502:
            return _bad_gateway(text)
        case 503:
            return _unavailable(headers, text)
        case 504:
            return _timeout(text)
        case _:
            return None


def _not_found(headers: Pairs, text: bytes) -> Verdict | None:
    if text.startswith(b"Error getting active endpoint"):
        gone = RunnerUnreachable("revision_gone", phase=Phase.FIRST_BYTE)
        return Verdict(Speaker.ACTIVATOR, gone, unprocessed=False)
    if _is_ingress_itself(headers) and not text:
        unknown = RunnerUnreachable("host_unknown_to_ingress", phase=Phase.FIRST_BYTE)
        return Verdict(Speaker.INGRESS, unknown, unprocessed=False)
    return None


def _bad_gateway(text: bytes) -> Verdict | None:
    # Go's words for an error on the way to the pod; "dial" is before anything was written.
    if text.startswith((b"dial tcp", b"dial unix")):
        nobody = RunnerUnreachable("pod_unreachable", phase=Phase.FIRST_BYTE)
        return Verdict(Speaker.UNKNOWN, nobody, unprocessed=True)
    if named_cause(text) is not None:
        return None  # proxies speak in sentences
    lost = RunnerProtocolError("proxy_lost_runner", phase=Phase.FIRST_BYTE)
    return Verdict(Speaker.UNKNOWN, lost, unprocessed=False)


def _unavailable(headers: Pairs, text: bytes) -> Verdict | None:
    after_s = retry_after_s(headers)

    def overloaded(reason: str) -> RunnerOverloaded:
        return RunnerOverloaded(reason, phase=Phase.FIRST_BYTE, retry_after_s=after_s)

    def unreachable(reason: str) -> RunnerUnreachable:
        return RunnerUnreachable(reason, phase=Phase.FIRST_BYTE, retry_after_s=after_s)

    if text.startswith(b"pending request queue full"):
        return Verdict(Speaker.UNKNOWN, overloaded("queue_full"), unprocessed=True)
    if text.startswith(b"context deadline exceeded"):
        return Verdict(Speaker.ACTIVATOR, overloaded("queued_too_long"), unprocessed=True)
    if text.startswith(b"shutting down"):
        return Verdict(Speaker.QUEUE_PROXY, unreachable("pod_shutting_down"), unprocessed=True)
    if text.startswith(b"no healthy upstream"):
        return Verdict(Speaker.INGRESS, unreachable("no_endpoints"), unprocessed=True)
    if text.startswith((b"upstream connect error", b"upstream_reset_before_response_started")):
        if any(reason in text for reason in _NEVER_CONNECTED):
            return Verdict(Speaker.INGRESS, unreachable("pod_unreachable"), unprocessed=True)
        lost = RunnerProtocolError("ingress_lost_runner", phase=Phase.FIRST_BYTE)
        return Verdict(Speaker.INGRESS, lost, unprocessed=False)
    return None


def _timeout(text: bytes) -> Verdict | None:
    speaker = Speaker.UNKNOWN
    if text.startswith(b"activator request timeout"):
        speaker = Speaker.ACTIVATOR
    elif text.startswith(b"request timeout"):
        speaker = Speaker.QUEUE_PROXY
    elif text.startswith((b"upstream request timeout", b"stream timeout")):
        speaker = Speaker.INGRESS
    return Verdict(speaker, RunnerTimeout(phase=Phase.FIRST_BYTE), unprocessed=False)


def _is_ingress_itself(headers: Pairs) -> bool:
    """Envoy marks what it passes on with the time that its upstream took."""
    names = dict(headers)
    return (
        names.get("server", "").lower() in _ENVOYS and "x-envoy-upstream-service-time" not in names
    )
