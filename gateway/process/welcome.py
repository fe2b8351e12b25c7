"""What a developer reads after `python -m gateway`: what to open, and what to curl."""

import os
import shlex
import sys
from contextlib import suppress
from typing import Final

from aiohttp import web

from gateway.http.page_address import served_here
from gateway.installs.contract import Install, RegistryUnavailable
from gateway.keys import LIVE
from gateway.settings import DirectoryInstallsSettings, Settings
from middleware.caller import DevAuth

_UNIX: Final = "unix:"  # how a Unix socket is named, which no browser opens


async def welcome(origin: str, settings: Settings, app: web.Application) -> None:
    """Print the way in, on standard output: the log has standard error to itself.

    In production this says one line. Developers are told where the console is, and which
    installed extensions they can use: not those of other tenants, as whom nobody calls here.
    """
    live = app[LIVE]
    words = f"Extension gateway on {origin} (backend: {live.served_by.kind})\n"
    if isinstance(settings.auth, DevAuth):
        if not origin.startswith(_UNIX):
            words += f"  console    {origin}/gateway/\n"
        if isinstance(settings.installs, DirectoryInstallsSettings):
            try:
                for install in await live.installs.all(settings.auth.tenant):
                    words += _about(origin, app, install)
            except RegistryUnavailable:  # calls are told so, until the folder is mended
                words += "\n  What is installed cannot be read: the log says why.\n"
    say(words)


def say(words: str) -> None:
    """Print `words`, if anybody reads them: whoever does not is served all the same."""
    if sys.stdout is not None:
        with suppress(OSError):  # past its buffer, which would be tried again at the exit
            os.write(sys.stdout.fileno(), words.encode())


def _about(origin: str, app: web.Application, install: Install) -> str:
    live = app[LIVE]
    page = live.slot.current.backend.resolve_ui_url(
        install.registry_id, install.content_hash, tenant_id=install.tenant_id
    )
    page = served_here(page, live.settings.public_base)
    if page.startswith("/"):
        page = origin + page
    slug = install.extension_slug or install.registry_id
    first = next((one.path for one in install.endpoints or () if one.method == "GET"), "/")
    words = f"\n  {slug} {install.version or ''}\n"
    if origin.startswith(_UNIX):
        scheme = "https" if live.settings.listen.tls_cert else "http"
        socket = shlex.quote(origin.removeprefix(_UNIX))
        origin = f"--unix-socket {socket} {scheme}://localhost"
    else:
        words += f"    page     {page}\n"
    return words + f"    handler  curl -i {origin}/api/ext/{slug}{first}\n"
