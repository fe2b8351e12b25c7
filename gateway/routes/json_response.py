"""Answers with a JSON document."""

import orjson
from aiohttp import web


def json_response(document: object, *, status: int = 200) -> web.Response:
    """`document` as JSON."""
    return web.Response(
        body=orjson.dumps(document, default=str), status=status, content_type="application/json"
    )
