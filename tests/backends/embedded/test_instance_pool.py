"""Memory that is used again holds nothing of who used it before."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from wasmtime import component as wit

from backends.contract import ExecuteContext, ExecuteRequest, Limits
from backends.embedded.deadline import Deadline
from backends.embedded.engine import WasmEngine
from backends.embedded.execution import GuestRun
from backends.embedded.host.call import Call
from backends.embedded.prepared import PreparedGuest, prepare
from tests.backends.embedded import wat

GUESTS = 2
IN_A_SMALL_ADDRESS_SPACE = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
from backends.embedded.engine import WasmEngine
engine = WasmEngine(max_guests=64)
engine.probe()
print(engine.fingerprint)
"""


@pytest.fixture
def engine() -> Iterator[WasmEngine]:
    engine = WasmEngine(max_guests=GUESTS)
    yield engine
    engine.close()


def marking(address: int, *, grown_by: int = 0) -> str:
    """Answers 200 and what it finds at `address`, where it leaves a 7."""
    return wat.guest(
        f"""(drop (memory.grow (i32.const {grown_by})))
      (i32.store16 (i32.const 64)
        (i32.add (i32.const 200) (i32.load8_u (i32.const {address}))))
      (i32.store8 (i32.const {address}) (i32.const 7))
      (i32.const 64)""",
        pages=64,
    )


def status(guest: PreparedGuest) -> int:
    request = ExecuteRequest(
        request_id="r",
        context=ExecuteContext(tenant_id="t", extension_id="e", content_hash="sha256:" + "a" * 64),
        method="GET",
        path="/",
        limits=Limits(timeout_ms=60_000),
        timeout_s=60.0,
    )
    deadline = Deadline(time.monotonic() + 60)
    # These guests have no host functions, which would need services.
    call = Call(request, frozenset(), deadline.at, services=None)  # type: ignore[arg-type]  # see above
    return GuestRun(guest, call, deadline, 64).finish().status


@pytest.mark.parametrize(
    ("address", "grown_by"), [(100, 0), (1_000_000, 0), (4_000_000, 0), (4_500_000, 16)]
)
def test_a_guest_finds_nothing_of_the_one_before(
    engine: WasmEngine, address: int, grown_by: int
) -> None:
    text = marking(address, grown_by=grown_by)
    guests = [prepare(engine, wit.Component(engine.native, text), {}) for _ in range(2)]
    seen = {status(guest) for _ in range(10) for guest in guests}
    assert seen == {200}


def test_as_many_guests_as_were_announced_run_at_once(engine: WasmEngine) -> None:
    guest = prepare(engine, wit.Component(engine.native, marking(100)), {})
    with ThreadPoolExecutor(GUESTS) as threads:
        assert set(threads.map(status, [guest] * 200)) == {200}


def test_a_machine_without_room_for_the_pool_does_without(engine: WasmEngine) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_SMALL_ADDRESS_SPACE], capture_output=True, text=True, check=True
    )
    assert "guest_memory_not_pooled" in done.stdout
    assert engine.fingerprint not in done.stdout  # what one compiled is not for the other
