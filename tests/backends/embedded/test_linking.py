"""Which imports a component may have, and how values cross in both directions."""

import ctypes
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from wasmtime import _bindings as c
from wasmtime import component as wit

from backends.contract import ExecuteContext, ExecuteRequest, Limits
from backends.embedded.deadline import Deadline
from backends.embedded.engine import WasmEngine
from backends.embedded.failures import raise_if_failed
from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.never_waits import answers_at_once
from backends.embedded.linking import LinkRefused, link
from backends.embedded.marshalling import codec_for
from backends.embedded.scalars import MAX_TEXT_BYTES, MAX_VALUES, Allowance
from backends.embedded.session import Session, entered
from tests.backends.embedded import wat

_ENTRY = (
    ("bytes", "(list u8)"),
    (
        "entry",
        """(record (field "namespace" string) (field "value" $bytes)
          (field "revision" (option u64)))""",
    ),
    ("failure", '(enum "missing" "internal")'),
)
_PEOPLE = (
    (
        "person",
        """(record (field "name" string) (field "age" u8) (field "score" f64)
          (field "alive" bool) (field "tags" (list (tuple string s32))))""",
    ),
    ("failure", '(enum "not-allowed" "internal")'),
)


class Probe:
    """A guest that hands a host function's arguments and answer through."""

    def __init__(self, text: str, *, waits: bool = False, on_loop: bool = False) -> None:
        self._on_loop = on_loop
        self.turns = 0
        self.heard: tuple[object, ...] = ()
        self.answer: object = None
        self.engine = WasmEngine()
        self._component = wit.Component(self.engine.native, text)

        def host(_call: Call, *args: object) -> object:
            return self._host(*args)

        function = host if waits else answers_at_once(host)
        self._linked = link(self.engine, self._component, {"probed": {"f": function}})

    def _host(self, *args: object) -> object:
        self.heard = args
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def __call__(self, *args: object) -> object:
        """Call the guest's export with plain values, and return what it returned."""
        session = Session(a_call(), Deadline(time.monotonic() + 60))
        session.turn_ends_s = math.inf if self._on_loop else None
        with wasmtime.Store(self.engine.native) as store, entered(session):
            store.set_epoch_deadline(1_000_000)
            instance = self._instance(store, session)
            function = instance.get_func(store, "probe")
            assert function is not None
            kind = function.type(store)
            given = (c.wasmtime_component_val_t * len(args))()
            for target, (_, declared), value in zip(given, kind.params, args, strict=True):
                codec_for(declared).lower(value, target)
            answer = c.wasmtime_component_val_t()
            error = ctypes.POINTER(c.wasmtime_error_t)()
            try:
                self._end(
                    c.wasmtime_component_func_call_async(
                        function._func, store._context(), given, len(args), answer, 1, error
                    ),
                    error,
                    session,
                )
                return codec_for(kind.result).lift(answer, Allowance())
            finally:
                for target in given:
                    c.wasmtime_component_val_delete(ctypes.byref(target))
                c.wasmtime_component_val_delete(ctypes.byref(answer))

    def _instance(self, store: wasmtime.Store, session: Session) -> wit.Instance:
        raw = c.wasmtime_component_instance_t()
        error = ctypes.POINTER(c.wasmtime_error_t)()
        linker, component = self._linked.linker.ptr(), self._component.ptr()
        self._end(
            c.wasmtime_component_linker_instantiate_async(
                linker, store._context(), component, raw, error
            ),
            error,
            session,
        )
        return wit.Instance._from_raw(raw)

    def _end(self, future: object, error: object, session: Session) -> None:
        while not c.wasmtime_call_future_poll(future):
            self.turns += 1
            session.turn_ends_s = None
        c.wasmtime_call_future_delete(future)
        raise_if_failed(error)


def a_call() -> Call:
    request = ExecuteRequest(
        request_id="r",
        context=ExecuteContext(tenant_id="t", extension_id="e", content_hash="sha256:" + "a" * 64),
        method="GET",
        path="/",
        limits=Limits(timeout_ms=1_000),
        timeout_s=1.0,
    )
    # These host functions are the test's own and need no services.
    return Call(request, frozenset(), time.monotonic() + 1, services=None)  # type: ignore[arg-type]  # see above


WAYS = [
    pytest.param({"waits": False, "on_loop": False}, id="at once"),
    pytest.param({"waits": True, "on_loop": False}, id="waits in a thread"),
    pytest.param({"waits": True, "on_loop": True}, id="waits, called on the loop's thread"),
]


@pytest.fixture(scope="module", params=WAYS)
def storage(request: pytest.FixtureRequest) -> Iterator[Probe]:
    probe = Probe(
        wat.passthrough(
            "f",
            types=_ENTRY,
            params='(param "entry" $entry)',
            core_params="i32 i32 i32 i32 i32 i64",
            result="(result $entry (error $failure))",
        ),
        **request.param,
    )
    yield probe
    probe.engine.close()


@pytest.fixture(scope="module", params=WAYS)
def person(request: pytest.FixtureRequest) -> Iterator[Probe]:
    probe = Probe(
        wat.passthrough(
            "f",
            types=_PEOPLE,
            params='(param "id" string)',
            core_params="i32 i32",
            result="(result (option $person) (error $failure))",
        ),
        **request.param,
    )
    yield probe
    probe.engine.close()


entries = st.fixed_dictionaries(
    {
        "namespace": st.text(),
        "value": st.binary(max_size=70_000),
        "revision": st.none() | st.integers(0, 2**64 - 1),
    }
)
people = st.fixed_dictionaries(
    {
        "name": st.text(),
        "age": st.integers(0, 255),
        "score": st.floats(allow_nan=False),
        "alive": st.booleans(),
        "tags": st.lists(st.tuples(st.text(), st.integers(-(2**31), 2**31 - 1))),
    }
)


@given(said=entries, answered=entries.map(Ok) | st.sampled_from([Err("missing"), Err("internal")]))
def test_records_cross_in_both_directions(storage: Probe, said: object, answered: object) -> None:
    storage.answer = answered
    assert storage(said) == answered
    assert storage.heard == (said,)


@given(name=st.text(), answered=(st.none() | people).map(Ok) | st.just(Err("not-allowed")))
def test_an_optional_record_an_absent_one_and_an_error_stay_apart(
    person: Probe, name: str, answered: object
) -> None:
    person.answer = answered
    assert person(name) == answered
    assert person.heard == (name,)


@pytest.mark.parametrize(
    ("result", "types", "answer"),
    [
        ("(result string (error $failure))", _PEOPLE[1:], Ok("secret")),
        ("(result string (error $failure))", _PEOPLE[1:], Err("internal")),
        ("(result (error $failure))", _PEOPLE[1:], Ok(None)),
        ("(result (error $failure))", _PEOPLE[1:], Err("internal")),
        ("(result (list u8) (error $failure))", _PEOPLE[1:], Ok(b"\0\xff")),
        ("(result (list string) (error $failure))", _PEOPLE[1:], Ok(["a", ""])),
        ("(list string)", (), []),
        ("(tuple u64 s64 char)", (), (2**64 - 1, -(2**63), "\U0001f600")),
    ],
)
def test_every_shape_of_the_world_comes_back_as_it_was_given(
    result: str, types: tuple[tuple[str, str], ...], answer: object
) -> None:
    text = wat.passthrough(
        "f", types=types, params='(param "x" u32)', core_params="i32", result=result
    )
    probe = Probe(text)
    probe.answer = answer
    assert probe(7) == answer
    probe.engine.close()


def test_a_record_without_one_of_its_fields_does_not_cross(storage: Probe) -> None:
    with pytest.raises(ValueError, match="field value is missing"):
        storage({"namespace": "n"})


def test_a_record_may_hold_more_than_the_component_declares(person: Probe) -> None:
    known = {"name": "n", "age": 1, "score": 1.5, "alive": True, "tags": []}
    person.answer = Ok(known | {"client-id": "newer than this component"})
    assert person("x") == Ok(known)


@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("a guest's data"),
        "no result",
        Ok({"name": "half a record"}),
        Ok({"name": "n", "age": 256, "score": 1.5, "alive": True, "tags": []}),
        Ok({"name": "n", "age": 1, "score": 1.5, "alive": True, "tags": ["no tuple"]}),
        Err("no such word"),
    ],
)
def test_a_host_function_that_fails_becomes_the_errors_own_word(
    person: Probe, answer: object
) -> None:
    person.answer = answer
    with capture_logs() as logs:
        assert person("x") == Err("internal")
    assert [(entry["event"], entry["tenant"]) for entry in logs] == [("host_function_failed", "t")]
    assert "a guest's data" not in repr(logs)


def test_a_result_record_says_that_it_failed_when_its_host_function_does() -> None:
    types = (("done", '(record (field "success" bool) (field "error" (option string)))'),)
    probe = Probe(
        wat.passthrough(
            "f", types=types, params='(param "x" u32)', core_params="i32", result="$done"
        )
    )
    probe.answer = RuntimeError()
    assert probe(1) == {"success": False, "error": "internal error"}
    probe.engine.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_type_without_room_for_an_error_traps_instead_of_lying(way: dict[str, bool]) -> None:
    text = wat.passthrough(
        "f", types=(), params='(param "x" u32)', core_params="i32", result="(tuple string string)"
    )
    probe = Probe(text, **way)
    probe.answer = RuntimeError()
    with pytest.raises(wasmtime.WasmtimeError):
        probe(1)
    probe.engine.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "most", "one_more"),
    [
        ("string", "x" * MAX_TEXT_BYTES, "x"),
        ("(list string)", [""] * MAX_VALUES, [""]),
        ("(list (tuple u8 u8))", [(1, 2)] * (MAX_VALUES // 3), [(1, 2)]),
    ],
)
def test_a_guest_that_hands_over_too_much_never_reaches_the_host(
    way: dict[str, bool], kind: str, most: str | list[object], one_more: str | list[object]
) -> None:
    text = wat.passthrough(
        "f",
        types=_PEOPLE[1:],
        params=f'(param "x" {kind})',
        core_params="i32 i32",
        result="(result (error $failure))",
    )
    probe = Probe(text, **way)
    probe.answer = Ok()
    with capture_logs() as logs:
        assert probe(most + one_more) == Err("internal")  # type: ignore[operator]  # alike
    assert not probe.heard
    assert [entry["error"] for entry in logs] == ["TooMuch"]

    assert probe(most) == Ok()
    assert probe.heard == (most,)
    probe.engine.close()


@pytest.mark.parametrize(
    ("waits", "on_loop", "turns"),
    [(False, True, 0), (True, True, 1), (True, False, 0)],
)
def test_only_a_function_that_may_wait_sends_its_guest_away_and_only_from_the_loop(
    waits: bool, on_loop: bool, turns: int
) -> None:
    text = wat.passthrough(
        "f", types=(), params='(param "x" u32)', core_params="i32", result="string"
    )
    probe = Probe(text, waits=waits, on_loop=on_loop)
    probe.answer = "answer"
    assert probe(7) == "answer"
    assert (probe.heard, probe.turns) == ((7,), turns)
    probe.engine.close()


def test_a_failing_host_function_harms_no_other_threads_call(person: Probe, storage: Probe) -> None:
    person.answer = RuntimeError()
    storage.answer = Ok({"namespace": "n", "value": b"v", "revision": 1})
    with ThreadPoolExecutor(8) as threads, capture_logs():
        failing = [threads.submit(person, "x") for _ in range(200)]
        working = [threads.submit(storage, storage.answer.value) for _ in range(200)]
    assert {call.result() == Err("internal") for call in failing} == {True}
    assert {call.result() == storage.answer for call in working} == {True}


@pytest.mark.parametrize(
    ("interface", "functions"),
    [
        ("wasi:http/outgoing-handler@0.2.0", ""),
        ("wasi:io/poll@0.3.0", ""),
        ("other:package/thing", ""),
        ("alga:extension/filesystem", '(export "read" (func))'),
        ("alga:extension/logging", '(export "log-debug" (func))'),
        ("alga:extension/logging", '(export "log-info" (func (param "m" (flags "a" "b"))))'),
    ],
)
def test_an_import_that_is_not_in_the_world_is_refused(interface: str, functions: str) -> None:
    if "flags" in functions:
        functions = """(type $f-t (flags "a" "b")) (export "f" (type $f (eq $f-t)))
          (export "log-info" (func (param "m" $f)))"""
    engine = WasmEngine()
    component = wit.Component(engine.native, wat.importing(interface, functions))
    with pytest.raises(LinkRefused):
        link(engine, component, {"logging": {"log-info": print}})
    engine.close()


def test_a_type_that_grows_with_each_line_is_refused_before_it_is_planned() -> None:
    pairs = "(type $t0 (tuple u8 u8))" + "".join(
        f"(type $t{level + 1} (tuple $t{level} $t{level}))" for level in range(15)
    )
    function = f'{pairs} (export "log-info" (func (param "m" $t15)))'
    engine = WasmEngine()
    component = wit.Component(engine.native, wat.importing("alga:extension/logging", function))
    with pytest.raises(LinkRefused, match="type of more than 1000 parts"):
        link(engine, component, {"logging": {"log-info": print}})
    engine.close()


def test_a_function_import_outside_an_interface_is_refused() -> None:
    engine = WasmEngine()
    component = wit.Component(engine.native, '(component (import "f" (func)))')
    with pytest.raises(LinkRefused, match="no interface"):
        link(engine, component, {})
    engine.close()
