"""What one guest may use, and the word for how it failed."""

import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from wasmtime import component as wit

from backends.contract import ExecuteContext, ExecuteRequest, ExecuteResult, Limits
from backends.embedded.deadline import Deadline
from backends.embedded.engine import WasmEngine
from backends.embedded.execution import GuestRun
from backends.embedded.failures import GuestFailed
from backends.embedded.host.call import Call
from backends.embedded.linking import HostTable
from backends.embedded.prepared import prepare
from backends.envelope.call import decode_request, encode_request
from tests.backends.embedded import wasi_guests, wat

HASH = "sha256:" + "a" * 64
FAR_S = 60.0
MEMORY_MB = 64

Run = Callable[..., ExecuteResult]


def a_request(
    *, body: bytes | None = b"hi", query: tuple[tuple[str, str], ...] = ()
) -> ExecuteRequest:
    return ExecuteRequest(
        request_id="r-1",
        context=ExecuteContext(tenant_id="t", extension_id="e", content_hash=HASH),
        method="POST",
        path="/x",
        query=query,
        headers=(("accept", "a"), ("x-request-id", "r-1"), ("accept", "b")),
        body=body,
        limits=Limits(timeout_ms=60_000),
        timeout_s=FAR_S,
    )


@pytest.fixture
def engine() -> Iterator[WasmEngine]:
    engine = WasmEngine()
    yield engine
    engine.close()


@pytest.fixture(params=["in a thread of its own", "first on the loop's thread"])
def run_guest(engine: WasmEngine, request: pytest.FixtureRequest) -> Run:
    def runner(
        text: str,
        said: ExecuteRequest | None = None,
        *,
        deadline: Deadline | None = None,
        table: HostTable | None = None,
        memory_mb: int = MEMORY_MB,
    ) -> ExecuteResult:
        guest = prepare(engine, wit.Component(engine.native, text), table or {})
        deadline = deadline or Deadline(time.monotonic() + FAR_S)
        said = said or a_request()
        # These guests' host functions need no services, which only open on an event loop.
        granted = frozenset({"cap:log.emit"})  # as every call's
        call = Call(said, granted, deadline.at, services=None)  # type: ignore[arg-type]  # see above
        run = GuestRun(guest, call, deadline, memory_mb)
        answer = run.turn() if request.param.startswith("first") else None
        return answer or run.finish()

    return runner


def failure(run_guest: Run, text: str, **given: object) -> str:
    with pytest.raises(GuestFailed) as caught:
        run_guest(text, **given)
    return caught.value.error


def test_a_guest_sees_the_request_with_each_field_once_and_in_order(run_guest: Run) -> None:
    answer = run_guest(wat.ECHO)
    assert answer == ExecuteResult(
        status=200, headers=(("accept", "b"), ("x-request-id", "r-1")), body=b"hi"
    )


@pytest.mark.parametrize("body", [None, b"", bytes(range(256)) * 1_024])
def test_no_body_an_empty_body_and_a_long_one_stay_apart(
    run_guest: Run, body: bytes | None
) -> None:
    assert run_guest(wat.ECHO, a_request(body=body)).body == body


def test_the_query_reaches_the_guest_as_a_form_encodes_it_each_name_once(run_guest: Run) -> None:
    said = a_request(query=(("q", "x y"), ("r", "1"), ("q", "ü&")))
    assert run_guest(wat.URL, said).body == b"/x?q=%C3%BC%26&r=1"


def test_a_guest_sees_what_it_would_see_behind_a_runner(run_guest: Run) -> None:
    said = a_request(query=(("a", "1"), ("b", "2"), ("a", "3")))
    sent = decode_request(encode_request(said), timeout_s=FAR_S, request_id="r-1")
    for guest in (wat.URL, wat.ECHO):
        assert run_guest(guest, said) == run_guest(guest, sent)


def test_an_endless_loop_ends_at_its_deadline(run_guest: Run) -> None:
    deadline = Deadline(time.monotonic() + 0.1)
    assert failure(run_guest, wat.ENDLESS, deadline=deadline) == "execute_timeout"
    assert time.monotonic() >= deadline.at  # late ticks may end it later, never earlier


def test_a_guest_that_starts_after_its_deadline_does_not_run(run_guest: Run) -> None:
    assert failure(run_guest, wat.ECHO, deadline=Deadline(time.monotonic())) == "execute_timeout"


def test_an_interrupted_guest_stops_long_before_its_deadline(run_guest: Run) -> None:
    deadline = Deadline(time.monotonic() + FAR_S)
    entered = threading.Event()

    def log_info(_call: Call, _message: str) -> None:
        entered.set()

    table = {"logging": {"log-info": log_info}}
    text = wat.calling_log_info(then="(loop $forever (br $forever))")

    def stop() -> None:
        entered.wait()
        deadline.interrupt()

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert failure(run_guest, text, deadline=deadline, table=table) == "execute_interrupted"
    stopper.join()


def test_a_trap_is_told_apart(run_guest: Run) -> None:
    assert failure(run_guest, wat.TRAP) == "execute_trapped"


def test_endless_recursion_is_a_trap(run_guest: Run) -> None:
    assert failure(run_guest, wat.RECURSION) == "execute_trapped"


def test_memory_stops_growing_at_the_limit_and_the_guest_may_answer(run_guest: Run) -> None:
    assert run_guest(wat.HUNGRY).status == 507


def test_a_guest_that_starts_larger_than_its_limit_is_out_of_memory(run_guest: Run) -> None:
    assert failure(run_guest, wat.LARGE_FROM_THE_START) == "execute_out_of_memory"
    assert run_guest(wat.LARGE_FROM_THE_START, memory_mb=256).status == 200


def test_an_allocator_that_gives_up_by_name_is_out_of_memory(run_guest: Run) -> None:
    assert failure(run_guest, wat.OUT_OF_MEMORY) == "execute_out_of_memory"


def test_a_sleep_in_the_engines_clock_is_refused_since_no_deadline_would_reach_it(
    run_guest: Run,
) -> None:
    assert failure(run_guest, wat.SLEEPER) == "execute_trapped"


def test_the_engines_clock_may_be_read(run_guest: Run) -> None:
    assert run_guest(wat.READS_CLOCK).status == 200


def test_there_is_no_environment_no_folder_and_no_name_service_behind_wasi(run_guest: Run) -> None:
    assert os.environ
    seen = run_guest(wasi_guests.LOOKS_AROUND).body or b""
    lists = wasi_guests.ENVIRONMENT_AT, wasi_guests.ARGUMENTS_AT, wasi_guests.DIRECTORIES_AT
    assert [struct.unpack_from("<4xI", seen, at) for at in lists] == [(0,)] * 3
    assert (seen[wasi_guests.CWD_AT], seen[wasi_guests.LOOKUP_AT]) == (0, 1)  # none; an error


def test_a_guest_reads_nothing_of_the_programs_input(run_guest: Run) -> None:
    ours, theirs = os.dup(0), os.pipe()
    os.write(theirs[1], b"s3cret")
    os.dup2(theirs[0], 0)
    try:
        seen = run_guest(wasi_guests.READS_STDIN).body or b""
    finally:
        os.dup2(ours, 0)
        for descriptor in (ours, *theirs):
            os.close(descriptor)
    assert seen[wasi_guests.READ_AT] == 1  # an error: it is closed


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_a_guest_prints_is_in_the_log_alone(
    run_guest: Run, stream: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with capture_logs() as logs:
        assert run_guest(wasi_guests.printing(stream)).status == 200
    assert capfd.readouterr() == ("", "")
    (line,) = logs
    assert (line["event"], line["stream"], line["message"]) == ("guest_printed", stream, "leaked")
    assert line["request_id"] == "r-1"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_guest_makes_no_socket(run_guest: Run, kind: str) -> None:
    assert failure(run_guest, wasi_guests.opening(kind)) == "execute_trapped"


@pytest.mark.parametrize("text", [wat.NO_HANDLER, wat.OTHER_HANDLER, wat.OTHER_ANSWER])
def test_a_component_without_a_handler_of_the_world_is_refused(run_guest: Run, text: str) -> None:
    assert failure(run_guest, text) == "execute_no_handler"


def test_an_answer_of_a_mebibyte_comes_out(run_guest: Run) -> None:
    answer = run_guest(wat.guest(wat.answering(200, body_bytes=1 << 20), pages=32))
    assert answer.body is not None
    assert len(answer.body) == 1 << 20


def test_an_answer_larger_than_the_engine_moves_has_a_word_of_its_own(run_guest: Run) -> None:
    text = wat.guest(wat.answering(200, body_bytes=3 << 20), pages=64)
    assert failure(run_guest, text) == "execute_invalid_answer"


@pytest.mark.parametrize("status", [0, 100, 199, 600, 65_535])
def test_a_status_that_ends_no_exchange_is_an_invalid_answer(run_guest: Run, status: int) -> None:
    assert failure(run_guest, wat.guest(wat.answering(status))) == "execute_invalid_answer"


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_that_may_have_no_body_loses_it(run_guest: Run, status: int) -> None:
    assert run_guest(wat.guest(wat.answering(status, body_bytes=5))).body is None


def test_what_is_no_text_cannot_enter_a_guest(run_guest: Run) -> None:
    said = replace(a_request(), path="/\ud800")
    assert failure(run_guest, wat.ECHO, said=said) == "execute_failed"


def test_an_engine_probes_itself(engine: WasmEngine) -> None:
    engine.probe()
    assert engine.fingerprint.startswith(f"wasmtime-{engine.version}-")


def test_a_failure_keeps_the_engines_words_for_the_log_and_bounds_them() -> None:
    failed = GuestFailed("execute_trapped", "x" * 10_000)
    assert str(failed) == "execute_trapped"
    assert len(failed.detail) == 2_000


MANY = range(1_001)
HANDLER = '(export "handler" (func $handler))'


@pytest.mark.parametrize(
    ("before", "instead", "error"),
    [
        (
            "(component",
            "(component" + "".join(f'(import "wasi:io/a{n}@0.2.0" (instance))' for n in MANY),
            "execute_link_failed",
        ),
        (
            "(component",
            '(component (import "wasi:io/poll@0.2.0" (instance'
            + "".join(f'(export "f{n}" (func))' for n in MANY)
            + "))",
            "execute_link_failed",
        ),
        (
            HANDLER,
            HANDLER + "".join(f'(export "e{n}" (func $handler))' for n in MANY),
            "execute_no_handler",
        ),
    ],
    ids=["interfaces", "functions", "exports"],
)
def test_names_without_end_are_refused_before_they_are_listed(
    engine: WasmEngine, before: str, instead: str, error: str
) -> None:
    component = wit.Component(engine.native, wat.ECHO.replace(before, instead, 1))
    with pytest.raises(GuestFailed) as caught:
        prepare(engine, component, {})
    assert caught.value.error == error
    assert caught.value.detail.startswith("more than 1000 names are ")
