"""The guest's view of a call: an execute-request record, and what its answer means."""

from urllib.parse import urlencode

from backends.contract import WITHOUT_CONTENT, ExecuteRequest, ExecuteResult
from backends.embedded.failures import GuestFailed


def guest_request(request: ExecuteRequest) -> dict[str, object]:
    """The record that a handler is called with.

    Of a query or header name that repeats, the last value stands at the first one's place, as
    behind a runner: its envelope has one value per name.
    """
    context = request.context
    return {
        "context": {
            "request-id": request.request_id,
            "tenant-id": context.tenant_id,
            "extension-id": context.extension_id,
            "install-id": context.install_id,
            "version-id": context.version_id,
        },
        "http": {
            "method": request.method,
            "url": guest_url(request.path, request.query),
            "headers": [
                {"name": name, "value": value} for name, value in dict(request.headers).items()
            ],
            "body": request.body,
        },
    }


def guest_url(path: str, query: tuple[tuple[str, str], ...]) -> str:
    """The relative address that the guest sees; the query as a form encodes it, names once.

    Source:
        WHATWG URL section 5.2 (application/x-www-form-urlencoded).

    >>> guest_url("/a", (("q", "x y"), ("r", "&"), ("q", "z")))
    '/a?q=z&r=%26'
    >>> guest_url("/a?b", (("c", ""),))
    '/a?b&c='
    """
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(dict(query))}"


def guest_result(answer: object) -> ExecuteResult:
    """Read an execute-response record.

    Raises:
        GuestFailed: the status is none that a final answer can have (RFC 9110 section 15).
    """
    match answer:
        case {"status": int(status), "headers": list(headers), "body": bytes() | None as body}:
            if not 200 <= status <= 599:
                raise GuestFailed("execute_invalid_answer", f"status {status}")
            return ExecuteResult(
                status=status,
                headers=tuple((header["name"], header["value"]) for header in headers),
                body=None if status in WITHOUT_CONTENT else body,
            )
        case _:
            raise GuestFailed("execute_invalid_answer", "not an execute-response")
