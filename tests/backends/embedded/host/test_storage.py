"""storage.* as a guest meets it: the same in a file and at the host application."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.entry_store import MAX_VALUE_BYTES, PAGE_BYTES, PAGE_ENTRIES
from backends.embedded.host.services import HostServices, open_services
from backends.settings import EmbeddedSettings, HostApiSettings
from tests.backends.embedded.host.calls import ask, call_of
from tests.fakes.host_app import TOKEN, HostApp


@pytest.fixture(params=["file", "application"])
async def services(
    request: pytest.FixtureRequest, tmp_path: Path, host_app: HostApp
) -> AsyncIterator[HostServices]:
    application = HostApiSettings(base_url=host_app.url, token=TOKEN)
    settings = EmbeddedSettings(
        bundle_dir=tmp_path, host_api=application if request.param == "application" else None
    )
    opened = await open_services(settings)
    yield opened
    await opened.aclose()


def entry(
    key: str, value: bytes = b"v", *, namespace: str = "n", revision: int | None = None
) -> dict[str, object]:
    return {"namespace": namespace, "key": key, "value": value, "revision": revision}


async def put(call: Call, wanted: dict[str, object]) -> object:
    return await ask(call, "storage", "put", wanted)


async def test_an_entry_is_written_read_listed_and_removed(services: HostServices) -> None:
    call = call_of(services)
    written = Ok(entry("k", b"\x00\xff", revision=1))
    assert await put(call, entry("k", b"\x00\xff")) == written
    assert await ask(call, "storage", "get", "n", "k") == written
    assert await ask(call, "storage", "list-entries", "n", None) == Ok([written.value])
    assert await ask(call, "storage", "list-entries", "n", "k") == Ok([])
    assert await ask(call, "storage", "delete", "n", "k") == Ok(None)
    assert await ask(call, "storage", "get", "n", "k") == Err("missing")
    assert await ask(call, "storage", "delete", "n", "k") == Err("conflict")


async def test_a_stale_revision_is_a_conflict(services: HostServices) -> None:
    call = call_of(services)
    await put(call, entry("k", b"first"))
    assert await put(call, entry("k", b"second", revision=1)) == Ok(
        entry("k", b"second", revision=2)
    )
    assert await put(call, entry("k", b"late", revision=1)) == Err("conflict")
    assert await put(call, entry("absent", revision=1)) == Err("conflict")


async def sees_nothing(stranger: Call) -> bool:
    return (
        await ask(stranger, "storage", "get", "n", "k") == Err("missing")
        and await ask(stranger, "storage", "list-entries", "n", None) == Ok([])
        and await ask(stranger, "storage", "delete", "n", "k") == Err("conflict")
    )


async def test_one_install_never_sees_another(services: HostServices) -> None:
    await put(call_of(services), entry("k"))
    assert await sees_nothing(call_of(services, install_id="install-2"))


async def test_in_the_file_not_even_one_of_the_same_id(lonely_services: HostServices) -> None:
    await put(call_of(lonely_services), entry("k"))
    assert await sees_nothing(call_of(lonely_services, tenant_id="tenant-2"))


async def keys_of_page(call: Call, cursor: str | None) -> list[str]:
    page = await ask(call, "storage", "list-entries", "n", cursor)
    assert isinstance(page, Ok)
    assert isinstance(page.value, list)
    return [each["key"] for each in page.value]


async def test_pages_follow_each_other_until_an_empty_one(services: HostServices) -> None:
    call = call_of(services)
    keys = [f"{number:03}" for number in range(PAGE_ENTRIES + 31)]
    for key in keys:
        await put(call, entry(key))
    assert await keys_of_page(call, None) == keys[:PAGE_ENTRIES]
    assert await keys_of_page(call, keys[PAGE_ENTRIES - 1]) == keys[PAGE_ENTRIES:]
    assert await keys_of_page(call, keys[-1]) == []


async def test_a_page_may_begin_where_no_entry_is(services: HostServices) -> None:
    call = call_of(services)
    for key in ("a", "c"):
        await put(call, entry(key))
    assert await keys_of_page(call, "b") == ["c"]
    assert await keys_of_page(call, "") == ["a", "c"]


async def test_a_page_of_large_values_ends_early(services: HostServices) -> None:
    call = call_of(services)
    keys = [f"{number:02}" for number in range(30)]
    for key in keys:
        await put(call, entry(key, bytes(48_000)))
    first = await keys_of_page(call, None)
    assert len(first) == -(-PAGE_BYTES // 48_000)
    assert first + await keys_of_page(call, first[-1]) == keys


@pytest.mark.parametrize(
    ("namespace", "key"),
    [("", "k"), ("n" * 129, "k"), ("n", ""), ("n", "k" * 257), ("n", "a/b")],
)
async def test_a_malformed_name_is_refused(
    services: HostServices, namespace: str, key: str
) -> None:
    call = call_of(services)
    assert await put(call, entry(key, namespace=namespace)) == Err("internal")
    assert await ask(call, "storage", "get", namespace, key) == Err("internal")
    assert await ask(call, "storage", "delete", namespace, key) == Err("internal")


async def test_the_longest_names_are_accepted(services: HostServices) -> None:
    wanted = entry("\u00e9" * 256, namespace="\u00e9" * 128)
    assert isinstance(await put(call_of(services), wanted), Ok)


async def test_a_value_past_the_quota_is_denied(services: HostServices) -> None:
    assert await put(call_of(services), entry("k", bytes(MAX_VALUE_BYTES + 1))) == Err("denied")


async def test_without_capability_or_install_storage_is_denied(services: HostServices) -> None:
    for call in (
        call_of(services, granted=frozenset()),
        call_of(services, install_id=None),
        call_of(services, install_id=""),
    ):
        assert await put(call, entry("k")) == Err("denied")
        assert await ask(call, "storage", "get", "n", "k") == Err("denied")
        assert await ask(call, "storage", "delete", "n", "k") == Err("denied")
        assert await ask(call, "storage", "list-entries", "n", None) == Err("denied")


async def test_a_call_out_of_time_is_told_internal(services: HostServices) -> None:
    late = call_of(services, within_s=-1)
    assert await put(late, entry("k")) == Err("internal")


async def test_a_file_held_by_someone_else_fails_the_call_and_not_the_next_one(
    lonely_services: HostServices, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "storage.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with capture_logs() as lines:
        assert await put(call_of(lonely_services, within_s=0.05), entry("k")) == Err("internal")
    other.execute("ROLLBACK")
    other.close()
    # The guest cannot mend it, so whoever runs the gateway has to hear why.
    assert [(line["event"], line["tenant"], line["function"], line["error"]) for line in lines] == [
        ("host_function_failed", "tenant-1", "storage", "SQLITE_BUSY")
    ]
    assert isinstance(await put(call_of(lonely_services), entry("k")), Ok)
