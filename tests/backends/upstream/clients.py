"""A runner client with a small bound on answers, for tests of what it makes of them."""

from backends.settings import Timeouts
from backends.upstream.address import RunnerAddress
from backends.upstream.http1 import Http1Transport
from backends.upstream.runner_client import RunnerClient


def open_client(
    url: str,
    *,
    max_answer_bytes: int = 2**20,
    max_connections: int = 8,
    connect_s: float = 2.0,
    first_byte_s: float = 25.0,
    health_budget_s: float = 2.0,
) -> RunnerClient:
    """Speaks to `url`; the caller closes it."""
    address = RunnerAddress.parse(url)
    return RunnerClient(
        Http1Transport(address, max_connections=max_connections),
        address,
        public_base="/runner",
        timeouts=Timeouts(connect_s=connect_s, first_byte_s=first_byte_s),
        max_answer_bytes=max_answer_bytes,
        health_budget_s=health_budget_s,
    )
