"""The sample extension's handler, packed, opened and called by the embedded backend."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from backends.bundles.pack import pack
from backends.bundles.store import BundleStore
from backends.contract import ExecuteContext, ExecuteRequest, ExecuteResult, Limits, User
from backends.embedded.backend import EmbeddedBackend
from backends.settings import EmbeddedSettings

HELLO = Path(__file__).parents[2] / "examples" / "hello"
GRANTED = ("cap:storage.kv",)
ADA = User(user_id="u-1", user_email="ada@example.org", user_name="Ada", user_type="internal")

Call = Callable[..., Awaitable[ExecuteResult]]


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests: the component is compiled once."""
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def content_hash(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    archive = tmp_path_factory.mktemp("packed") / "hello.tar.zst"
    pack(HELLO, archive)
    return BundleStore(bundle_dir).add(archive).content_hash


@pytest.fixture
async def call(bundle_dir: Path, content_hash: str) -> AsyncIterator[Call]:
    """Calls the handler for an install of this test's own, so that its storage is empty."""
    backend = await EmbeddedBackend.open(EmbeddedSettings(bundle_dir=bundle_dir))
    context = ExecuteContext(
        tenant_id="acme",
        extension_id="example.hello",
        content_hash=content_hash,
        install_id=str(uuid.uuid4()),
    )

    async def send(
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        granted: tuple[str, ...] = GRANTED,
        user: User | None = None,
    ) -> ExecuteResult:
        return await backend.execute(
            ExecuteRequest(
                request_id="request-1",
                context=context,
                method=method,
                path=path,
                body=body,
                limits=Limits(timeout_ms=20_000),
                timeout_s=30.0,
                providers=granted,
                user=user,
            )
        )

    try:
        yield send
    finally:
        await backend.aclose()


def json_of(result: ExecuteResult) -> object:
    assert result.body is not None
    return orjson.loads(result.body)


async def test_a_known_user_is_greeted_by_name_and_told_who_is_served(call: Call) -> None:
    result = await call("GET", "/hello", user=ADA)

    assert (result.status, result.error) == (200, None)
    answer = json_of(result)
    assert isinstance(answer, dict)
    assert answer["greeting"] == "Hello, Ada!"
    assert answer["tenant"] == "acme"
    assert answer["extension"] == "example.hello"
    assert answer["requestId"] == "request-1"
    assert answer["user"] == {"id": "u-1", "name": "Ada", "type": "internal"}
    assert "x-ext-warning" not in dict(result.headers)


async def test_without_a_user_the_greeting_says_stranger_and_warns_once(call: Call) -> None:
    result = await call("GET", "/hello")

    answer = json_of(result)
    assert isinstance(answer, dict)
    assert (answer["greeting"], answer["user"]) == ("Hello, stranger!", None)
    assert [name for name, _ in result.headers].count("x-ext-warning") == 1


async def test_visits_made_at_once_are_all_counted_after_the_first(call: Call) -> None:
    await call("POST", "/visits", b"")  # the first write has no revision to defend itself with

    results = await asyncio.gather(*(call("POST", "/visits", b"") for _ in range(8)))

    assert {result.status for result in results} <= {200, 409}
    counted = [result for result in results if result.status == 200]
    assert json_of(await call("GET", "/visits")) == {"visits": 1 + len(counted)}


async def test_forgetting_starts_again_at_nothing_and_may_be_repeated(call: Call) -> None:
    await call("POST", "/visits", b"")

    forgotten = [await call("DELETE", "/visits", b"") for _ in range(2)]

    assert [(result.status, result.body) for result in forgotten] == [(204, None), (204, None)]
    assert json_of(await call("GET", "/visits")) == {"visits": 0}


async def test_an_echo_is_byte_for_byte_and_never_a_page(call: Call) -> None:
    body = bytes(range(256)) + "<script>ü</script>".encode()

    result = await call("POST", "/echo", body)

    assert result.body == body
    assert dict(result.headers)["content-type"] == "application/octet-stream"


async def test_without_the_storage_capability_counting_is_refused(call: Call) -> None:
    result = await call("POST", "/visits", b"", granted=())

    assert (result.status, json_of(result)) == (403, {"error": "storage_denied"})


@pytest.mark.parametrize("path", ["/nowhere", "/"])
async def test_an_unknown_path_is_the_extensions_own_404(call: Call, path: str) -> None:
    result = await call("GET", path)

    assert (result.status, json_of(result)) == (404, {"error": "no_such_path"})


@pytest.mark.parametrize("method", ["PATCH", "toString"])
async def test_a_wrong_method_is_told_the_right_ones(call: Call, method: str) -> None:
    result = await call(method, "/visits", b"")

    assert (result.status, json_of(result)) == (405, {"error": "method_not_allowed"})
    assert dict(result.headers)["allow"] == "GET, POST, DELETE"
