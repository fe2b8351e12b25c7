"""The console's page, made from its templates when somebody opens it."""

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from jinja2 import Environment


class Page:
    """One page without data, the same for everybody.

    Args:
        templates: the folder that they are in.
    """

    def __init__(self, templates: Path) -> None:
        self._templates = templates
        self._environment: Environment | None = None
        self._making = threading.Lock()

    async def html(self) -> str:
        """The page as it is now: templates that have changed are read again."""
        # The first time takes a while; and files are read every time.
        return await asyncio.to_thread(self._render)

    def _render(self) -> str:
        with self._making:
            if self._environment is None:
                self._environment = _environment(self._templates)
            return self._environment.get_template("console.html").render()


def _environment(templates: Path) -> "Environment":
    # Imported here: most gateways never show their console, and the engine takes 1.5 MiB.
    import aiohttp_jinja2
    import jinja2

    # Its own application: the one that serves has long been frozen.
    return aiohttp_jinja2.setup(web.Application(), loader=jinja2.FileSystemLoader(templates))
