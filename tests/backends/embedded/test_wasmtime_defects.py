"""Defects of the engine's Python binding that the engine room works around.

Each test fails once the library is mended: then the workaround named in it may go.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import wasmtime
from wasmtime import component as wit
from wasmtime.component import _enter

from tests.backends.embedded import wat

_FAILURE = ("failure", '(enum "missing" "internal")')
_PERSON = ("person", '(record (field "name" string))')

_READS_CLOCK = """(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $m (import "host" "now" (func $now (result i64)))
    (func (export "probe") (result i64) (call $now)))
  (core instance $host (export "now" (func $now)))
  (core instance $m (instantiate $m (with "host" (instance $host))))
  (func (export "probe") (result u64) (canon lift (core func $m "probe"))))"""


@pytest.fixture
def engine() -> Iterator[wasmtime.Engine]:
    with wasmtime.Engine() as engine:
        yield engine


def probe(engine: wasmtime.Engine, text: str, host: object) -> object:
    """Call `probe("x")` through the binding's own conversion."""
    linker = wit.Linker(engine)
    with linker.root() as root, root.add_instance("alga:extension/probed") as instance:
        instance.add_func("f", lambda _store, *_args: host() if callable(host) else host)
    with wasmtime.Store(engine) as store:
        store.set_wasi(wasmtime.WasiConfig())
        function = linker.instantiate(store, wit.Component(engine, text)).get_func(store, "probe")
        assert function is not None
        return function(store, "x")


def text(result: str, *types: tuple[str, str]) -> str:
    return wat.passthrough(
        "f", types=types, params='(param "id" string)', core_params="i32 i32", result=result
    )


def test_the_error_of_an_optional_record_cannot_be_expressed(engine: wasmtime.Engine) -> None:
    # Why marshalling.py exists.
    shape = text("(result (option $person) (error $failure))", _PERSON, _FAILURE)
    assert probe(engine, shape, None) is None
    with pytest.raises(ValueError, match="not valid for this variant"):
        probe(engine, shape, "missing")


def test_a_result_of_two_texts_needs_a_tag_where_others_must_not_have_one(
    engine: wasmtime.Engine,
) -> None:
    # Why marshalling.py has Ok and Err for every result.
    tagged = text("(result string (error $failure))", _FAILURE)
    assert probe(engine, tagged, wit.Variant("err", "missing")) == wit.Variant("err", "missing")
    with pytest.raises(TypeError, match="expected Variant"):
        probe(engine, tagged, "missing")


def test_an_exception_of_a_host_function_waits_in_a_global_for_any_thread(
    engine: wasmtime.Engine,
) -> None:
    # Why trampoline.py enters host functions by itself.
    other = ValueError("another thread's")
    seen: list[BaseException] = []

    def fail() -> None:
        _enter.LAST_EXCEPTION = other  # what a raising host function of that thread does
        raise wasmtime.WasmtimeError("mine")

    def call() -> None:
        try:
            probe(engine, text("$person", _PERSON), fail)
        except (ValueError, wasmtime.WasmtimeError) as error:
            seen.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert seen == [other]


def test_a_guest_that_calls_wasi_without_its_context_aborts_the_process() -> None:
    # Why execution.py always sets one.
    script = (
        "import wasmtime, wasmtime.component as wit\n"
        "engine = wasmtime.Engine()\n"
        "linker = wit.Linker(engine)\n"
        "linker.add_wasip2()\n"
        "store = wasmtime.Store(engine)\n"
        f"component = wit.Component(engine, {_READS_CLOCK!r})\n"
        "linker.instantiate(store, component).get_func(store, 'probe')(store)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], timeout=60, check=False, capture_output=True
    )
    assert ended.returncode == -signal.SIGABRT, ended.stderr.decode()[-500:]


def test_more_than_about_two_mebibytes_cannot_leave_a_guest(engine: wasmtime.Engine) -> None:
    # Why failures.py has a class for it, and the documentation a limit.
    large = wat.guest(wat.answering(200, body_bytes=3 << 20), pages=64)
    with wasmtime.Store(engine) as store:
        instance = wit.Linker(engine).instantiate(store, wit.Component(engine, large))
        function = instance.get_func(store, "handler")
        assert function is not None
        context = record(
            **{"request-id": None, "tenant-id": "", "extension-id": ""},
            **{"install-id": None, "version-id": None},
        )
        http = record(method="GET", url="/", headers=[], body=None)
        with pytest.raises(wasmtime.WasmtimeError, match="too much data is being copied"):
            function(store, record(context=context, http=http))


def record(**fields: object) -> wit.Record:
    made = wit.Record()
    for name, value in fields.items():
        setattr(made, name, value)
    return made
