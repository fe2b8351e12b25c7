"""Requests to send and answers to look at, for tests that speak to a transport directly."""

from dataclasses import dataclass

from backends.contract import Pairs
from backends.upstream.bodies import read_whole
from backends.upstream.transport import Budget, Transport, UpstreamRequest

PATIENT = Budget(connect_s=5, first_byte_s=5, idle_s=5)
"""Limits that no test runs into, unless what it tests hangs."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Pairs
    body: bytes


async def ask(
    transport: Transport,
    target: str = "/",
    *,
    method: str = "GET",
    headers: Pairs = (),
    body: bytes | None = None,
    budget: Budget = PATIENT,
) -> Answer:
    """One exchange, the whole body included."""
    request = UpstreamRequest(
        method=method, target=target, headers=headers, body=body, budget=budget
    )
    response = await transport.exchange(request)
    whole = await read_whole(response.body, max_bytes=2**26)
    return Answer(response.status, response.headers, whole)
