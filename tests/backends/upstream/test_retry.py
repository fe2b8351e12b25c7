"""Once more, and only when the first attempt provably changed nothing."""

import pytest
from structlog.testing import capture_logs

from backends.errors import RunnerProtocolError, RunnerUnreachable
from backends.upstream.retry import RetryOnce
from backends.upstream.transport import (
    ConnectionLost,
    TransportStats,
    UpstreamRequest,
    UpstreamResponse,
)
from tests.backends.upstream.exchanges import PATIENT


class Lossy:
    """Fails every exchange in one way. Whether bytes left cannot be staged from outside."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.exchanges = 0

    async def exchange(self, request: UpstreamRequest, /) -> UpstreamResponse:
        self.exchanges += 1
        raise self.failure

    def stats(self) -> TransportStats:
        return TransportStats(in_flight=0, idle=0, opened=0, reused=0)

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    ("method", "reused", "sent", "exchanges"),
    [
        ("GET", True, True, 2),
        ("HEAD", True, True, 2),
        ("GET", False, True, 1),
        ("POST", True, True, 1),
        ("POST", True, False, 2),
        ("POST", False, False, 1),
    ],
)
async def test_a_lost_connection_is_tried_again_by_the_rule(
    method: str, reused: bool, sent: bool, exchanges: int
) -> None:
    transport = Lossy(ConnectionLost(reused=reused, sent=sent))
    retrying = RetryOnce(transport)
    request = UpstreamRequest(
        method=method, target="/s3cret", own=(("x-request-id", "r-1"),), budget=PATIENT
    )
    with capture_logs() as logs, pytest.raises(ConnectionLost):
        await retrying.exchange(request)
    assert transport.exchanges == exchanges
    assert retrying.stats().retries == exchanges - 1
    told = [(entry["event"], entry["request_id"]) for entry in logs]
    assert told == [("upstream_retried", "r-1")] * (exchanges - 1)
    assert "s3cret" not in str(logs)


@pytest.mark.parametrize(
    "failure",
    [
        RunnerUnreachable("connection_refused"),
        RunnerProtocolError("truncated_answer", phase=ConnectionLost(reused=True, sent=True).phase),
    ],
)
async def test_every_other_failure_is_told_at_once(failure: Exception) -> None:
    transport = Lossy(failure)
    with pytest.raises(type(failure)):
        await RetryOnce(transport).exchange(
            UpstreamRequest(method="GET", target="/", budget=PATIENT)
        )
    assert transport.exchanges == 1
