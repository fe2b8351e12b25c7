"""The services of a backend with a host application, both real."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.embedded.host.services import HostServices, open_services
from backends.settings import EmbeddedSettings, HostApiSettings
from tests.fakes.host_app import TOKEN, HostApp, serving


@pytest.fixture
async def host_app() -> AsyncIterator[HostApp]:
    async with serving() as fake:
        yield fake


@pytest.fixture
async def services(tmp_path: Path, host_app: HostApp) -> AsyncIterator[HostServices]:
    opened = await open_services(
        EmbeddedSettings(
            bundle_dir=tmp_path,
            host_api=HostApiSettings(base_url=host_app.url + "/", token=TOKEN),
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
