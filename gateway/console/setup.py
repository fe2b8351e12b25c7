"""Puts the console into an application: its page, files, the observer and the feed."""

from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.console.feed import Feed
from gateway.console.observer import Observer
from gateway.console.page import Page
from gateway.console.sections import Document
from middleware.access_log import Sink

_ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What the console's routes use."""

    page: Page
    document: Document
    feed: Feed


CONSOLE = web.AppKey("console", Console)


def add_console(app: web.Application, sink: Sink) -> Sink:
    """Let the console know of `app`. Returns the access log's sink to use instead of `sink`."""
    app.router.add_static("/gateway/static/console", _ROOT / "static" / "console")
    observer = Observer()
    document = Document(app, observer)
    page = Page(_ROOT / "gateway" / "templates")
    app[CONSOLE] = Console(page=page, document=document, feed=Feed(document.sections))

    async def stop(app: web.Application) -> None:
        # Before the server waits for its connections: a stream would keep it waiting.
        app[CONSOLE].feed.stop()

    app.on_shutdown.append(stop)
    return observer.around(sink)
