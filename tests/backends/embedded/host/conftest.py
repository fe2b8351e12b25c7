"""The services of a backend with a host application, both real."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backends.embedded.host.services import HostServices, open_services
from backends.settings import EmbeddedSettings, HostApiSettings
from tests.backends.embedded.host.host_app import HostApp


@pytest.fixture
async def host_app() -> AsyncIterator[HostApp]:
    fake = HostApp()
    fake.may_answer.set()
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", fake.answer)
    async with TestServer(application, host="127.0.0.1") as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake
        fake.may_answer.set()


@pytest.fixture
async def services(tmp_path: Path, host_app: HostApp) -> AsyncIterator[HostServices]:
    opened = await open_services(
        EmbeddedSettings(
            bundle_dir=tmp_path,
            host_api=HostApiSettings(base_url=host_app.url + "/", token="runner-token"),
            ui_proxy_base_url=host_app.url,
        )
    )
    yield opened
    await opened.aclose()


@pytest.fixture
async def lonely_services(tmp_path: Path) -> AsyncIterator[HostServices]:
    """Services without a host application."""
    opened = await open_services(EmbeddedSettings(bundle_dir=tmp_path))
    yield opened
    await opened.aclose()
