"""The program's own files, and what is said when one of them is asked for wrongly."""

import pytest
from aiohttp import web

from gateway.http.static_files import STATIC
from gateway.problems import problem_for
from tests.gateway.harness import Gateway

PAGE = "/gateway/problems/bad_gateway.html"
PATHS = sorted(
    f"{prefix}/{path.name}"
    for prefix, folder in (
        ("/gateway/problems", STATIC / "problems"),
        ("/gateway/static/console", STATIC / "console"),
    )
    for path in folder.iterdir()
)
TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_of_the_program_is_sent_whole(gateway: Gateway, path: str) -> None:
    folder = path.split("/")[-2]
    async with gateway.client.get(gateway.url + path) as answer:
        assert answer.status == 200
        assert answer.content_type == TYPES[path.rpartition(".")[2]]
        body = await answer.read()
    assert body == (STATIC / folder / path.rpartition("/")[2]).read_bytes()


@pytest.mark.parametrize("path", ["/gateway/problems", "/gateway/problems/"])
async def test_the_folder_of_problems_leads_to_its_index(gateway: Gateway, path: str) -> None:
    async with gateway.client.get(gateway.url + path) as answer:
        assert answer.url.path == "/gateway/problems/"  # its links are relative to that
        assert await answer.read() == (STATIC / "problems" / "index.html").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/gateway/problems/nope.html",
        "/gateway/problems/nope/nope.html",
        "/gateway/static/console/nope.css",
        "/gateway/static/console/",
        "/gateway/static/console",
    ],
)
async def test_what_is_no_file_is_a_problem_document(gateway: Gateway, path: str) -> None:
    status, problem = await gateway.problem("GET", path)
    assert (status, problem["error"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_file_that_the_client_has_is_not_sent_again(gateway: Gateway, method: str) -> None:
    async with gateway.client.request(method, gateway.url + PAGE) as first:
        assert first.status == 200
        assert first.content_length == (STATIC / "problems" / "bad_gateway.html").stat().st_size
        etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for asked in (
        {"If-None-Match": etag},
        {"If-None-Match": f'"other", W/{etag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": modified},
    ):
        async with gateway.client.request(method, gateway.url + PAGE, headers=asked) as again:
            assert (again.status, again.headers["ETag"]) == (304, etag), asked
    for asked in (
        {"If-None-Match": '"other"', "If-Modified-Since": modified},
        {"If-Match": etag},
        {"If-Unmodified-Since": modified},
        {"Range": "bytes=999999-"},
    ):
        async with gateway.client.request(method, gateway.url + PAGE, headers=asked) as again:
            assert again.status == 200, asked


@pytest.mark.parametrize(
    "asked",
    [{"If-Match": '"x"'}, {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:01 GMT"}],
    ids=["tag", "date"],
)
async def test_a_precondition_that_fails_is_a_problem_document(
    gateway: Gateway, asked: dict[str, str]
) -> None:
    status, problem = await gateway.problem("GET", PAGE, headers=asked)
    assert (status, problem["error"]) == (412, "precondition_failed")


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (web.HTTPForbidden(), 403),
        (web.HTTPPreconditionFailed(), 412),
        (web.HTTPGone(), 400),
        (web.HTTPRequestRangeNotSatisfiable(), 400),
    ],
)
def test_what_the_library_blames_on_the_client_is_no_failure_of_ours(
    failure: web.HTTPException, status: int
) -> None:
    assert problem_for(failure).status == status
