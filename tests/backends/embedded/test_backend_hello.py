"""The sample extension, JavaScript in QuickJS, against every part of the embedded backend."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from backends.bundles.pack import pack
from backends.bundles.store import BundleStore
from backends.contract import ExecuteContext, ExecuteRequest, ExecuteResult, Limits, User
from backends.embedded.backend import EmbeddedBackend
from backends.settings import EmbeddedSettings, HostApiSettings
from tests.fakes.host_app import TOKEN, HostApp, serving

SAMPLE = Path(__file__).parents[3] / "examples" / "hello"


class Sample:
    def __init__(self, backend: EmbeddedBackend, content_hash: str) -> None:
        self._backend = backend
        self._hash = content_hash
        self._install = uuid4().hex  # the tests share a storage file

    async def ask(
        self,
        method: str,
        path: str,
        *,
        install: str | None = None,
        body: bytes | None = None,
        user: User | None = None,
        providers: tuple[str, ...] = ("cap:storage.kv",),
        memory_mb: int | None = None,
    ) -> ExecuteResult:
        context = ExecuteContext(
            tenant_id="acme",
            extension_id="ext",
            content_hash=self._hash,
            install_id=install or self._install,
        )
        return await self._backend.execute(
            ExecuteRequest(
                request_id="r-7",
                context=context,
                method=method,
                path=path,
                body=body,
                user=user,
                providers=providers,
                limits=Limits(timeout_ms=20_000, memory_mb=memory_mb),
                timeout_s=30.0,
            )
        )

    async def facts(self) -> Mapping[str, object]:
        return await self._backend.metadata()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests, so that the sample is compiled once."""
    root = tmp_path_factory.mktemp("bundles")
    pack(SAMPLE, root / "hello.tar.zst")
    return root


@asynccontextmanager
async def opened(settings: EmbeddedSettings) -> AsyncIterator[Sample]:
    bundles = settings.bundle_dir
    content_hash = BundleStore(bundles).add(bundles / "hello.tar.zst").content_hash
    backend = await EmbeddedBackend.open(settings)
    yield Sample(backend, content_hash)
    await backend.aclose()


@pytest.fixture
async def sample(bundles: Path) -> AsyncIterator[Sample]:
    async with opened(EmbeddedSettings(bundle_dir=bundles)) as sample:
        yield sample


@pytest.fixture
async def host_app() -> AsyncIterator[HostApp]:
    async with serving() as fake:
        yield fake


@pytest.fixture
async def served_sample(bundles: Path, host_app: HostApp) -> AsyncIterator[Sample]:
    """The sample where a host application keeps what extensions store."""
    host_api = HostApiSettings(base_url=host_app.url, token=TOKEN)
    async with opened(EmbeddedSettings(bundle_dir=bundles, host_api=host_api)) as sample:
        yield sample


async def test_the_sample_greets_whoever_calls(sample: Sample) -> None:
    ada = User(user_id="u1", user_email="a@example.test", user_name="Ada", user_type="internal")
    stranger, known = await sample.ask("GET", "/hello"), await sample.ask("GET", "/hello", user=ada)
    assert orjson.loads(stranger.body or b"")["greeting"] == "Hello, stranger!"
    said = orjson.loads(known.body or b"")
    assert (said["greeting"], said["tenant"], said["requestId"]) == ("Hello, Ada!", "acme", "r-7")


async def test_visits_are_counted_once_each_and_apart_for_each_install(sample: Sample) -> None:
    counted = [await sample.ask("POST", "/visits") for _ in range(3)]
    assert [orjson.loads(answer.body or b"")["visits"] for answer in counted] == [1, 2, 3]
    other = await sample.ask("GET", "/visits", install="another")
    assert orjson.loads(other.body or b"") == {"visits": 0}


async def test_visits_that_come_together_are_never_lost(sample: Sample) -> None:
    first = await sample.ask("POST", "/visits")  # has no revision to name, so it comes alone
    others = await asyncio.gather(*[sample.ask("POST", "/visits") for _ in range(8)])
    counted = sum(answer.status == 200 for answer in (first, *others))
    seen = await sample.ask("GET", "/visits")
    assert orjson.loads(seen.body or b"") == {"visits": counted}


async def test_visits_that_the_application_keeps_are_never_lost(
    served_sample: Sample, host_app: HostApp
) -> None:
    await served_sample.ask("POST", "/visits", install="i")
    more = [served_sample.ask("POST", "/visits", install="i") for _ in range(3)]
    counted = 1 + sum(answer.status == 200 for answer in await asyncio.gather(*more))
    seen = await served_sample.ask("GET", "/visits", install="i")
    assert orjson.loads(seen.body or b"") == {"visits": counted}
    assert host_app.storage is not None
    assert (await served_sample.facts())["storage"] == "application"
    row = host_app.storage.installs["i"]["hello"]["visits"]
    assert (row.value, row.revision) == (base64.b64encode(b"%d" % counted).decode(), counted)


async def test_visits_that_the_application_keeps_can_be_forgotten(served_sample: Sample) -> None:
    await served_sample.ask("POST", "/visits")
    forgotten = [await served_sample.ask("DELETE", "/visits") for _ in range(2)]
    assert [answer.status for answer in forgotten] == [204, 204]
    seen = await served_sample.ask("GET", "/visits")
    assert orjson.loads(seen.body or b"") == {"visits": 0}


@pytest.mark.parametrize(
    ("status", "becomes", "error"),
    [(401, 403, "storage_denied"), (500, 503, "storage_unavailable")],
)
async def test_a_real_guest_meets_the_applications_refusal_as_a_value(
    served_sample: Sample, host_app: HostApp, status: int, becomes: int, error: str
) -> None:
    host_app.says(status, {"error": "no"})
    answer = await served_sample.ask("POST", "/visits")
    assert (answer.status, orjson.loads(answer.body or b"")) == (becomes, {"error": error})


async def test_a_withheld_capability_is_the_guests_own_problem(sample: Sample) -> None:
    answer = await sample.ask("POST", "/visits", providers=())
    assert answer.error is None
    assert answer.status >= 400


async def test_a_body_crosses_a_real_guest_unchanged(sample: Sample) -> None:
    body = bytes(range(256)) * 2_048
    assert (await sample.ask("POST", "/echo", body=body)).body == body


async def test_a_real_guest_without_memory_for_its_work_is_told_apart(sample: Sample) -> None:
    answer = await sample.ask("GET", "/hello", memory_mb=1)
    assert (answer.status, answer.error) == (500, "execute_out_of_memory")
