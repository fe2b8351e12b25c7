"""Fields of a client's that are sent on as they are."""

from aiohttp import web

from middleware.errors import InvalidRequest

MAX_CHARACTERS = 255


def plain_field(request: web.Request, name: str) -> str | None:
    """The value of a field; None when it is absent or empty.

    Raises:
        InvalidRequest: it is too long, or holds more than printable ASCII.
    """
    value = request.headers.get(name)
    if not value:
        return None
    if len(value) > MAX_CHARACTERS or not (value.isascii() and value.isprintable()):
        word = name.removeprefix("x-").replace("-", "_")
        raise InvalidRequest(f"invalid_{word}", field=name)
    return str(value)
