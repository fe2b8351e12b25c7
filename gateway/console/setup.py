"""Puts the console into an application: its page, files, the observer and the feed."""

from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.console.feed import Feed
from gateway.console.observer import Observer
from gateway.console.page import Page
from gateway.console.sections import Document
from gateway.http.static_files import STATIC, add_files
from middleware.access_log import Sink

_TEMPLATES = Path(__file__).parent.parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What the console's routes use."""

    page: Page
    document: Document
    feed: Feed


CONSOLE = web.AppKey("console", Console)


def add_console(app: web.Application, sink: Sink) -> Sink:
    """Let the console know of `app`. Returns the access log's sink to use instead of `sink`."""
    add_files(app, "/gateway/static/console", STATIC / "console")
    observer = Observer()
    document = Document(app, observer)
    page = Page(_TEMPLATES)
    app[CONSOLE] = Console(page=page, document=document, feed=Feed(document.sections))

    async def stop(app: web.Application) -> None:
        # Before the server waits for its connections: a stream would keep it waiting.
        app[CONSOLE].feed.stop()

    app.on_shutdown.append(stop)
    return observer.around(sink)
