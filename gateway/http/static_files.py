"""The program's own files: the pages about problems, the console's scripts and styles.

Small, and all of one folder. aiohttp's own static route answers folders, unknown names and
failed preconditions by itself, with no word about why.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiohttp import ETag, web

STATIC: Final = Path(__file__).parents[2] / "static"

_TYPES: Final = MappingProxyType({
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
})  # fmt: skip


def add_files(app: web.Application, prefix: str, folder: Path, *, index: str | None = None) -> None:
    """Serve the files of `folder` below `prefix`; which ones they are is settled now.

    Args:
        prefix: a path without a slash at its end.
        index: the file that answers for the folder itself, where one does.
    """
    files = _Files(folder)
    app.router.add_get(f"{prefix}/{{name}}", files.named)
    if index is None:
        return

    async def folder_itself(request: web.Request) -> web.Response:
        return await files.answer(request, index)

    async def into_folder(_: web.Request) -> web.Response:
        # What the page links to is relative to it. So is this: only the browser knows the whole.
        raise web.HTTPFound(f"{prefix.rpartition('/')[2]}/")

    app.router.add_get(f"{prefix}/", folder_itself)
    app.router.add_get(prefix, into_folder)


class _Files:
    def __init__(self, folder: Path) -> None:
        self._paths = {path.name: path for path in folder.iterdir() if path.suffix in _TYPES}

    async def named(self, request: web.Request) -> web.Response:
        return await self.answer(request, request.match_info["name"])

    async def answer(self, request: web.Request, name: str) -> web.Response:
        """The whole file, or 304; a Range is ignored (RFC 9110 section 14.2).

        Raises:
            HTTPNotFound: there is no such file.
            HTTPPreconditionFailed: the request is about another version of it.
        """
        path = self._paths.get(name)
        if path is None:
            raise web.HTTPNotFound
        body, etag, modified = await asyncio.to_thread(_read, path)
        if _is_about_another(request, etag, modified):
            raise web.HTTPPreconditionFailed
        response = web.Response(content_type=_TYPES[path.suffix])
        response.etag, response.last_modified = etag, modified
        if _is_known(request, etag, modified):
            response.set_status(304)
        else:
            response.body = body
        return response


def _read(path: Path) -> tuple[bytes, str, datetime]:
    """Its bytes, entity tag, and when it was changed, to the second."""
    body, stat = path.read_bytes(), path.stat()
    changed = datetime.fromtimestamp(int(stat.st_mtime), UTC)
    return body, f"{stat.st_mtime_ns:x}-{stat.st_size:x}", changed


def _is_about_another(request: web.Request, etag: str, modified: datetime) -> bool:
    """Whether If-Match or, without it, If-Unmodified-Since fails (RFC 9110 section 13.2.2)."""
    wanted, since = request.if_match, request.if_unmodified_since
    if wanted is not None:
        return not _names(tuple(tag for tag in wanted if not tag.is_weak), etag)
    return since is not None and modified > since


def _is_known(request: web.Request, etag: str, modified: datetime) -> bool:
    """Whether If-None-Match or, without it, If-Modified-Since says that the client has it."""
    known, since = request.if_none_match, request.if_modified_since
    if known is not None:
        return _names(known, etag)
    return since is not None and modified <= since


def _names(tags: tuple[ETag, ...], etag: str) -> bool:
    return any(tag.value in ("*", etag) for tag in tags)
