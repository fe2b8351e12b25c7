"""http.fetch against a real site on loopback, with and without the loopback's permission."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable

import orjson
import pytest
from aiohttp.test_utils import TestServer

from backends.embedded.host.addresses import Address, is_public
from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.egress import MAX_RESPONSE_BYTES, EgressClient, EgressPolicy
from backends.embedded.host.services import HostServices
from tests.backends.embedded.host.calls import ask, call_of
from tests.backends.embedded.host.site import NameBook, Site
from tests.fakes.raw_runner import RawRunner, response, send

Open = Callable[..., Call]


def anything(_: Address) -> bool:
    return True


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    visited = Site()
    async with TestServer(visited.application(), host="127.0.0.1", shutdown_timeout=0.1) as server:
        assert server.port is not None
        visited.port = server.port
        yield visited


@pytest.fixture
async def names() -> NameBook:
    return NameBook({"site.test": [["127.0.0.1"]]})


@pytest.fixture
async def open_call(services: HostServices, names: NameBook) -> AsyncIterator[Open]:
    """Makes calls whose way out is `allow` (names) and `may_reach` (addresses)."""
    opened: list[EgressClient] = []

    def open_call(
        allow: tuple[str, ...] = ("site.test",),
        may_reach: Callable[[Address], bool] = anything,
        within_s: float = 20.0,
        granted: bool = True,
    ) -> Call:
        opened.append(EgressClient(EgressPolicy(allow, may_reach), resolver=names))
        outward = dataclasses.replace(services, egress=opened[-1])
        grants = frozenset({"cap:http.fetch"} if granted else set[str]())
        return call_of(outward, within_s=within_s, granted=grants)

    yield open_call
    for client in opened:
        await client.aclose()


async def fetch(
    call: Call,
    url: str,
    *,
    method: str = "GET",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes | None = None,
) -> object:
    record = {
        "method": method,
        "url": url,
        "headers": [{"name": name, "value": value} for name, value in headers],
        "body": body,
    }
    return await ask(call, "http", "fetch", record)


def value_of(answer: object) -> dict[str, object]:
    assert isinstance(answer, Ok)
    assert isinstance(answer.value, dict)
    return answer.value


def body_of(answer: object) -> bytes:
    body = value_of(answer)["body"]
    assert isinstance(body, bytes)
    return body


async def test_a_site_gets_what_the_guest_wrote_and_nothing_more(
    open_call: Open, site: Site
) -> None:
    answer = await fetch(
        open_call(),
        f"http://site.test:{site.port}/a%2Fb/../c?q=%20+%2f&sig=%2B#part",
        method="PUT",
        headers=(("X-One", "1"), ("X-Two", "gr\u00fc\u00df")),
        body=b"payload",
    )
    assert value_of(answer)["status"] == 418
    assert orjson.loads(body_of(answer)) == {
        "method": "PUT",
        "target": "/a%2Fb/../c?q=%20+%2f&sig=%2B",
        "body": "payload",
        "headers": [
            ["host", f"site.test:{site.port}"],
            ["x-one", "1"],
            ["x-two", "gr\u00fc\u00df"],
            ["content-length", "7"],
            ["connection", "close"],
        ],
    }


async def test_a_guest_cannot_speak_for_the_connection_or_another_host(
    open_call: Open, site: Site
) -> None:
    headers = (
        ("Host", "intranet.test"),
        ("Connection", "upgrade"),
        ("Upgrade", "h2c"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "1"),
        ("Expect", "100-continue"),
        ("Proxy-Authorization", "x"),
        ("TE", "trailers"),
    )
    answer = await fetch(
        open_call(), f"http://site.test:{site.port}/", method="POST", headers=headers, body=b"four"
    )
    assert orjson.loads(body_of(answer))["headers"] == [
        ["host", f"site.test:{site.port}"],
        ["content-length", "4"],
        ["connection", "close"],
    ]


async def test_a_redirect_is_handed_over_and_not_followed(open_call: Open, site: Site) -> None:
    answer = await fetch(open_call(), f"http://site.test:{site.port}/moved")
    assert value_of(answer)["status"] == 302
    assert site.visits == ["/moved"]


async def test_cookies_are_not_kept_for_the_next_call(open_call: Open, site: Site) -> None:
    call = open_call()
    for _ in range(2):
        assert body_of(await fetch(call, f"http://site.test:{site.port}/cookie")) == b"none"


async def test_header_names_are_lower_case_and_odd_values_are_blank(
    open_call: Open, site: Site
) -> None:
    answer = await fetch(open_call(), f"http://site.test:{site.port}/cookie")
    headers = value_of(answer)["headers"]
    assert isinstance(headers, list)
    assert {"name": "set-cookie", "value": "a=1"} in headers
    assert {"name": "x-word", "value": ""} in headers


async def test_repeated_headers_all_arrive(open_call: Open, site: Site) -> None:
    answer = await fetch(open_call(), f"http://site.test:{site.port}/repeated")
    headers = value_of(answer)["headers"]
    assert isinstance(headers, list)
    assert [header["value"] for header in headers if header["name"] == "x-twice"] == ["1", "2"]


async def test_a_packed_body_stays_packed(open_call: Open, site: Site) -> None:
    body = body_of(await fetch(open_call(), f"http://site.test:{site.port}/gzip"))
    assert body.startswith(b"\x1f\x8b")


async def test_an_answer_without_a_body_has_an_empty_one(open_call: Open, site: Site) -> None:
    answer = await fetch(open_call(), f"http://site.test:{site.port}/", method="HEAD")
    assert body_of(answer) == b""


async def test_a_length_is_no_body_where_none_comes(open_call: Open, site: Site) -> None:
    announced = MAX_RESPONSE_BYTES + 1
    answer = await fetch(open_call(), f"http://site.test:{site.port}/large", method="HEAD")
    headers = value_of(answer)["headers"]
    assert isinstance(headers, list)
    assert {"name": "content-length", "value": str(announced)} in headers
    assert body_of(answer) == b""
    for status in ("204 No Content", "304 Not Modified"):
        async with RawRunner(send(response(status=status, length=announced))) as sloppy:
            answer = await fetch(open_call(), f"http://site.test:{sloppy.port}/")
        assert body_of(answer) == b""


async def test_the_largest_body_comes_whole(open_call: Open, site: Site) -> None:
    body = body_of(await fetch(open_call(), f"http://site.test:{site.port}/largest"))
    assert len(body) == MAX_RESPONSE_BYTES


@pytest.mark.parametrize("path", ["large", "endless", "broken"])
async def test_a_body_that_does_not_fit_or_breaks_off_is_internal(
    open_call: Open, site: Site, path: str
) -> None:
    answer = await fetch(open_call(), f"http://site.test:{site.port}/{path}")
    assert answer == Err("internal")


async def test_nothing_is_allowed_by_default(
    lonely_services: HostServices, open_call: Open, site: Site
) -> None:
    call = call_of(lonely_services)
    assert await fetch(call, f"http://127.0.0.1:{site.port}/") == Err("not-allowed")
    assert await fetch(call, "http://example.com/") == Err("not-allowed")
    assert site.visits == []


async def test_without_the_capability_nothing_is_looked_up(
    open_call: Open, names: NameBook
) -> None:
    answer = await fetch(open_call(granted=False), "http://site.test/")
    assert answer == Err("not-allowed")
    assert names.asked == []


async def test_a_host_off_the_list_is_not_looked_up(open_call: Open, names: NameBook) -> None:
    for host in ("other.test", "notsite.test", "site.test.evil.test", "site.test.."):
        assert await fetch(open_call(), f"http://{host}/") == Err("not-allowed")
    assert names.asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["8.8.8.8", "10.0.0.1"],
        ["2606:4700::1", "::ffff:127.0.0.1"],
        ["169.254.169.254"],
    ],
)
async def test_a_name_that_leads_to_even_one_private_address_is_refused(
    open_call: Open, names: NameBook, site: Site, addresses: list[str]
) -> None:
    names.answers["site.test"] = [addresses]
    answer = await fetch(open_call(may_reach=is_public), f"http://site.test:{site.port}/")
    assert answer == Err("not-allowed")
    assert names.asked == ["site.test"]
    assert site.visits == []


async def test_one_forbidden_address_spoils_a_permitted_one_before_it(
    open_call: Open, names: NameBook, site: Site
) -> None:
    names.answers["site.test"] = [["127.0.0.1", "10.255.255.1"]]
    call = open_call(may_reach=lambda address: str(address) == "127.0.0.1")
    assert await fetch(call, f"http://site.test:{site.port}/") == Err("not-allowed")
    assert site.visits == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1]"])
async def test_a_private_address_written_into_the_url_is_refused_though_listed(
    open_call: Open, names: NameBook, site: Site, host: str
) -> None:
    call = open_call(allow=(host,), may_reach=is_public)
    assert await fetch(call, f"http://{host}:{site.port}/") == Err("not-allowed")
    assert site.visits == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "0177.0.0.1", "127.0.0.1."])
async def test_other_spellings_of_loopback_lead_nowhere(
    open_call: Open, names: NameBook, site: Site, host: str
) -> None:
    names.answers[host] = [["127.0.0.1"]]  # as the C library would resolve it
    call = open_call(allow=(host,), may_reach=is_public)
    assert isinstance(await fetch(call, f"http://{host}:{site.port}/"), Err)
    assert site.visits == []


async def test_a_listed_address_can_be_fetched_from(open_call: Open, site: Site) -> None:
    answer = await fetch(open_call(allow=("127.0.0.1",)), f"http://127.0.0.1:{site.port}/")
    assert value_of(answer)["status"] == 418


async def test_a_name_is_looked_up_once_so_it_cannot_be_rebound(
    open_call: Open, names: NameBook, site: Site
) -> None:
    # The second answer is the attack: after the check, the name points inside.
    names.answers["site.test"] = [["127.0.0.1"], ["10.255.255.1"]]
    vetted: list[str] = []

    def only_the_first(address: Address) -> bool:
        vetted.append(str(address))
        return str(address) == "127.0.0.1"

    answer = await fetch(open_call(may_reach=only_the_first), f"http://site.test:{site.port}/")
    assert value_of(answer)["status"] == 418
    assert names.asked == ["site.test"]
    assert set(vetted) == {"127.0.0.1"}


async def test_the_machines_own_names_are_vetted_too(services: HostServices, site: Site) -> None:
    url = f"http://localhost:{site.port}/"
    for may_reach, answered in ((anything, True), (is_public, False)):
        client = EgressClient(EgressPolicy(("localhost",), may_reach))
        answer = await fetch(call_of(dataclasses.replace(services, egress=client)), url)
        await client.aclose()
        assert isinstance(answer, Ok) is answered
    assert len(site.visits) == 1


async def test_every_call_looks_the_name_up_anew(
    open_call: Open, names: NameBook, site: Site
) -> None:
    names.answers["site.test"] = [["127.0.0.1"], ["10.255.255.1"]]
    call = open_call(may_reach=lambda address: str(address) == "127.0.0.1")
    assert isinstance(await fetch(call, f"http://site.test:{site.port}/"), Ok)
    assert await fetch(call, f"http://site.test:{site.port}/") == Err("not-allowed")


@pytest.mark.parametrize(
    "url",
    [
        "", "/relative", "site.test/", "//site.test/", "ftp://site.test/", "file:///etc/passwd",
        "http:///path", "http://site.test:99999/", "http://user:pw@site.test/",
        "http://site.test\\@evil.test/", "http://[::1", "data:text/plain,x",
    ],
)  # fmt: skip
async def test_what_is_no_absolute_http_address_is_an_invalid_url(
    open_call: Open, url: str
) -> None:
    assert await fetch(open_call(), url) == Err("invalid-url")


async def test_a_malformed_method_or_header_is_refused(open_call: Open, site: Site) -> None:
    call, url = open_call(), f"http://site.test:{site.port}/"
    assert await fetch(call, url, method="GET /x HTTP/1.1\r\n") == Err("invalid-url")
    assert await fetch(call, url, method="") == Err("invalid-url")
    assert await fetch(call, url, headers=(("a b", "1"),)) == Err("invalid-url")
    assert await fetch(call, url, headers=(("a", "1\r\nb: 2"),)) == Err("invalid-url")
    assert site.visits == []


@pytest.mark.parametrize("method", ["CONNECT", "trace"])
async def test_tunnels_are_not_allowed(open_call: Open, site: Site, method: str) -> None:
    answer = await fetch(open_call(), f"http://site.test:{site.port}/", method=method)
    assert answer == Err("not-allowed")
    assert site.visits == []


async def test_control_characters_in_a_url_are_escaped_on_the_wire(
    open_call: Open, site: Site
) -> None:
    await fetch(open_call(), f"http://site.test:{site.port}/a b\u00e9?c=\x7f d")
    assert site.visits == ["/a%20b%C3%A9?c=%7F+d"]


async def test_an_unknown_name_and_a_closed_port_are_transport_errors(
    open_call: Open, unused_tcp_port: int
) -> None:
    assert await fetch(open_call(allow=("gone.test",)), "http://gone.test/") == Err("transport")
    answer = await fetch(open_call(), f"http://site.test:{unused_tcp_port}/")
    assert answer == Err("transport")


async def test_a_silent_site_costs_no_more_than_the_calls_time(open_call: Open) -> None:
    hung_up = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answer = await fetch(open_call(within_s=1.0), f"http://site.test:{port}/")
        await hung_up.wait()  # the request was cancelled, not left behind
    assert answer == Err("transport")


async def test_a_call_out_of_time_sends_nothing(open_call: Open, site: Site) -> None:
    answer = await fetch(open_call(within_s=-1), f"http://site.test:{site.port}/")
    assert answer == Err("transport")
    assert site.visits == []


async def test_closing_the_client_ends_a_running_fetch(open_call: Open, site: Site) -> None:
    call = open_call()
    running = asyncio.create_task(fetch(call, f"http://site.test:{site.port}/silent"))
    await site.asked.wait()
    await call.services.egress.aclose()
    assert await running == Err("transport")
    assert await fetch(call, f"http://site.test:{site.port}/") == Err("transport")


async def test_the_environments_proxy_is_not_used(
    open_call: Open, site: Site, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    answer = await fetch(open_call(), f"http://site.test:{site.port}/")
    assert value_of(answer)["status"] == 418
