"""Who said it decides what it means: the words of four speakers under four statuses."""

import pytest

from backends.contract import Pairs
from backends.errors import (
    BackendError,
    RunnerOverloaded,
    RunnerProtocolError,
    RunnerTimeout,
    RunnerUnreachable,
)
from backends.knative_path.statuses import Speaker, verdict

INGRESS, ACTIVATOR, QUEUE_PROXY, UNKNOWN = Speaker

LOCAL: Pairs = (("server", "envoy"), ("content-length", "0"))
THROUGH_ENVOY: Pairs = (("server", "envoy"), ("x-envoy-upstream-service-time", "3"))
RESET = b"upstream connect error or disconnect/reset before headers. "


@pytest.mark.parametrize(
    ("status", "headers", "text", "speaker", "failure", "reason", "unprocessed"),
    [
        (
            404,
            LOCAL,
            b"",
            INGRESS,
            RunnerUnreachable,
            "host_unknown_to_ingress",
            False,
        ),
        (
            404,
            THROUGH_ENVOY,
            b'Error getting active endpoint: revision.serving.knative.dev "a" not found',
            ACTIVATOR,
            RunnerUnreachable,
            "revision_gone",
            False,
        ),
        (
            502,
            (),
            b"dial tcp 10.1.2.3:8012: connect: connection refused",
            UNKNOWN,
            RunnerUnreachable,
            "pod_unreachable",
            True,
        ),
        (502, (), b"EOF", UNKNOWN, RunnerProtocolError, "proxy_lost_runner", False),
        (
            503,
            (),
            b"pending request queue full",
            UNKNOWN,
            RunnerOverloaded,
            "queue_full",
            True,
        ),
        (
            503,
            (),
            b"context deadline exceeded",
            ACTIVATOR,
            RunnerOverloaded,
            "queued_too_long",
            True,
        ),
        (
            503,
            (),
            b"shutting down",
            QUEUE_PROXY,
            RunnerUnreachable,
            "pod_shutting_down",
            True,
        ),
        (503, (), b"no healthy upstream", INGRESS, RunnerUnreachable, "no_endpoints", True),
        (
            503,
            (),
            RESET + b"reset reason: remote connection failure, transport failure reason: ...",
            INGRESS,
            RunnerUnreachable,
            "pod_unreachable",
            True,
        ),
        (
            503,
            (),
            RESET + b"reset reason: connection termination",
            INGRESS,
            RunnerProtocolError,
            "ingress_lost_runner",
            False,
        ),
        (
            504,
            (),
            b"request timeout",
            QUEUE_PROXY,
            RunnerTimeout,
            "first_byte_timeout",
            False,
        ),
        (
            504,
            (),
            b"activator request timeout",
            ACTIVATOR,
            RunnerTimeout,
            "first_byte_timeout",
            False,
        ),
        (
            504,
            (),
            b"upstream request timeout",
            INGRESS,
            RunnerTimeout,
            "first_byte_timeout",
            False,
        ),
    ],
)
def test_each_proxys_words_have_one_meaning(
    status: int,
    headers: Pairs,
    text: bytes,
    speaker: Speaker,
    failure: type[BackendError],
    reason: str,
    unprocessed: bool,
) -> None:
    judged = verdict(status, headers, text)
    assert judged is not None
    assert (judged.speaker, type(judged.failure)) == (speaker, failure)
    assert (judged.failure.reason, judged.unprocessed) == (reason, unprocessed)
    assert "10.1.2.3" not in str(judged.failure)


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (404, THROUGH_ENVOY, b""),
        (404, (), b""),
        (502, THROUGH_ENVOY, b'{"code":"archive_hash_mismatch"}'),
        (503, (), b'{"error":"runner_overloaded"}'),
        (200, (), b"request timeout"),
        (500, (), b"pending request queue full"),
    ],
)
def test_what_may_be_the_runners_own_answer_is_left_alone(
    status: int, headers: Pairs, text: bytes
) -> None:
    assert verdict(status, headers, text) is None


def test_a_full_queue_says_when_to_come_back() -> None:
    judged = verdict(503, (("retry-after", "7"),), b"pending request queue full")
    assert judged is not None
    assert isinstance(judged.failure, RunnerOverloaded)
    assert judged.failure.retry_after_s == 7
