import os
from pathlib import Path

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient
from structlog.testing import capture_logs

from middleware.guard import guarded
from middleware.service_auth import (
    MAX_TOKEN_FILE_BYTES,
    SERVICE_TOKEN,
    ServiceAuth,
    TokenFile,
    service_auth,
)


def test_a_token_is_read_without_the_newline_around_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    assert TokenFile(path).read() == "one"


def test_a_rewritten_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    file = TokenFile(path)
    assert file.read() == "one"
    path.write_text("second")
    assert file.read() == "second"


def test_a_file_swapped_by_its_link_is_read_again(tmp_path: Path) -> None:
    # Same length and same times: only the inode tells. This is how projected tokens rotate.
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    link = tmp_path / "token"
    link.symlink_to("old")
    file = TokenFile(link)
    assert file.read() == "old"
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(link)
    assert file.read() == "new"


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"two\nlines", b"nul\0", b"\xff", b"x" * (MAX_TOKEN_FILE_BYTES + 1)]
)
def test_what_cannot_be_a_token_does_not_replace_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_text("good")
    file = TokenFile(path)
    assert file.read() == "good"
    path.write_bytes(content)
    assert file.read() == "good"


def test_an_unreadable_file_is_reported_once_until_it_is_readable_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    file = TokenFile(path)
    with capture_logs() as logs:
        assert (file.read(), file.read()) == (None, None)
        path.write_text("good")
        assert file.read() == "good"
        path.unlink()
        assert (file.read(), file.read()) == ("good", "good")
    assert [line["event"] for line in logs] == ["service_token_unreadable"] * 2
    assert "good" not in str(logs)


def test_a_token_is_never_shown() -> None:
    assert "hidden" not in repr(ServiceAuth(token="hidden"))


async def test_every_request_gets_the_token_of_now(
    aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"from {name}")
    configs = [
        ServiceAuth(),
        ServiceAuth(token="plain"),
        ServiceAuth(token="plain", token_file=tmp_path / "a"),
        ServiceAuth(token_file=tmp_path / "b"),
    ]

    async def shown(request: web.Request) -> web.Response:
        return web.Response(text=str(request[SERVICE_TOKEN]))

    app = web.Application(middlewares=[guarded(lambda _: (service_auth(lambda: configs.pop(0)),))])
    app.router.add_get("/", shown)
    client = await aiohttp_client(app)
    seen = [await (await client.get("/")).text() for _ in range(4)]
    assert seen == ["None", "plain", "from a", "from b"]
