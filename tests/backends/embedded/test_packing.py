"""A packed value and a lowered one are the same to the engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import _bindings as c
from wasmtime import _ffi as ffi

from backends.embedded.marshalling import BytesCodec, ListCodec, OptionCodec, RecordCodec
from backends.embedded.packing import packed, packer_for
from backends.embedded.scalars import Allowance, EnumCodec, IntCodec, StringCodec

HEADER = RecordCodec((("name", StringCodec()), ("value", StringCodec())))
CODEC = RecordCodec(
    (
        ("url", StringCodec()),
        ("headers", ListCodec(HEADER)),
        ("id", OptionCodec(StringCodec())),
        ("body", OptionCodec(BytesCodec())),
        ("method", EnumCodec(("get", "post"))),
        ("retry", IntCodec("u8", ffi.WASMTIME_COMPONENT_U8.value)),
    )
)
values = st.fixed_dictionaries(
    {
        "url": st.text(),
        "headers": st.lists(st.fixed_dictionaries({"name": st.text(), "value": st.text()})),
        "id": st.none() | st.text(),
        "body": st.none() | st.binary(),
        "method": st.sampled_from(["get", "post"]),
        "retry": st.integers(0, 255),
    }
)
GOOD: dict[str, object] = {
    "url": "",
    "headers": [],
    "id": None,
    "body": b"x",
    "method": "get",
    "retry": 1,
}


@given(values)
def test_what_is_packed_is_what_is_read(value: dict[str, object]) -> None:
    memory = packed(packer_for(CODEC), value)
    assert CODEC.lift(memory.value, Allowance()) == value
    memory.free()


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 400_000])
def test_a_value_of_any_size_has_room(size: int) -> None:
    value = GOOD | {"url": "é" * size, "headers": [{"name": "n", "value": "v"}] * (size // 1_000)}
    memory = packed(packer_for(CODEC), value)
    assert CODEC.lift(memory.value, Allowance()) == value
    memory.free()


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("url", None),
        ("url", "\ud800"),
        ("headers", ()),
        ("headers", [{"name": "n"}]),
        ("id", 1),
        ("body", "text"),
        ("method", "put"),
        ("retry", 256),
    ],
)
def test_what_does_not_fit_its_type_is_refused(field: str, wrong: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        packed(packer_for(CODEC), GOOD | {field: wrong})


def test_a_record_without_one_of_its_fields_is_refused() -> None:
    value = {name: field for name, field in GOOD.items() if name != "retry"}
    with pytest.raises(ValueError, match="field retry is missing"):
        packed(packer_for(CODEC), value)


def test_memory_of_the_engine_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[object] = []
    delete = c.wasmtime_component_val_delete

    def count(value: object) -> None:
        freed.append(value)
        delete(value)

    monkeypatch.setattr(c, "wasmtime_component_val_delete", count)
    memory = packed(packer_for(CODEC), GOOD)
    assert freed == []
    memory.free()
    memory.free()
    assert len(freed) == 3  # body, method, retry
    with pytest.raises(ValueError, match="range"):
        packed(packer_for(CODEC), GOOD | {"retry": -1})
    assert len(freed) == 6
