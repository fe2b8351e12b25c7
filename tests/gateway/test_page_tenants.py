"""For which tenant a page and its files are asked: a browser's iframe sends no key."""

import json
from pathlib import Path

from yarl import URL

from gateway.callers.ui_tenants import UiTenants
from gateway.keys import UI_TENANTS
from tests.fakes.identity_provider import AUDIENCE, ISSUER, IdentityProvider
from tests.fakes.runner import FakeRunner
from tests.gateway.harness import HASH, Gateway, in_front_of, running

PAGE = f"/runner/ext-ui/registry-1/{HASH}/index.html"
SCRIPT = f"/runner/ext-ui/registry-1/{HASH}/app.js"
KEY = "a-long-enough-proxy-key"


def behind_a_proxy(runner: FakeRunner, **more: str) -> dict[str, str]:
    """The environment of a gateway whose callers are told apart by KEY."""
    return in_front_of(runner, GATEWAY_AUTH="proxy", GATEWAY_PROXY_KEY=KEY, **more)


async def test_the_runner_hears_the_tenant_of_the_gateway_and_never_the_browsers(
    gateway: Gateway, runner: FakeRunner
) -> None:
    headers = {"cookie": "session=s3cret", "x-tenant-id": "dev"}
    url = URL(f"{gateway.url}{PAGE}?path=%2F&tenant=dev", encoded=True)
    async with gateway.client.get(url, headers=headers):
        pass
    (asked,) = runner.assets
    assert asked.headers["x-tenant-id"] == "dev"
    assert asked.headers["x-runner-service-token"] == "a-service-token-for-tests"
    assert asked.target.endswith("?path=%2F&tenant=dev")
    assert "cookie" not in asked.headers
    status, problem = await gateway.problem("GET", f"{PAGE}?tenant=other")
    assert (status, problem["error"]) == (403, "tenant_mismatch")


async def _page_of(gateway: Gateway, key: str = KEY) -> URL:
    """The address of t-1's page, as the app is told it."""
    resolve = f"{gateway.url}/gateway/v1/extensions/acme.crm/ui-url?path=/a"
    headers = {"x-gateway-key": key, "x-alga-tenant": "t-1"}
    async with gateway.client.get(resolve, headers=headers) as answer:
        assert answer.status == 200
        page = (await answer.json())["url"]
    assert page.startswith("/runner/ext-ui/registry-1/sha256%3A")
    return URL(gateway.url + page, encoded=True)


async def _cookie_of(gateway: Gateway, page: URL, **headers: str) -> tuple[str, str]:
    """The cookie that comes with a page: `name=value`, and its attributes."""
    async with gateway.client.get(page, headers=headers) as answer:
        assert answer.status == 200
        (cookie,) = answer.headers.getall("set-cookie")
    pair, _, attributes = cookie.partition("; ")
    return pair, attributes


async def test_an_iframe_is_believed_by_its_signed_address_and_its_files_by_their_cookie(
    runner: FakeRunner,
) -> None:
    environ = behind_a_proxy(runner)
    async with running(environ) as gateway, running(environ) as replica:
        page = await _page_of(gateway)
        async with gateway.client.get(f"{gateway.url}{SCRIPT}?tenant=forged") as answer:
            assert answer.status == 200
        pair, attributes = await _cookie_of(gateway, page)
        folder = page.raw_path.removesuffix("index.html")
        assert attributes == f"Path={folder}; Max-Age=43200; HttpOnly; SameSite=Lax"
        # Any other process with the same key serves the page's files, and knows no more.
        among_others = {"cookie": f"session=x; {pair}; theme=dark"}
        async with replica.client.get(replica.url + SCRIPT, headers=among_others) as answer:
            assert answer.status == 200
            assert "set-cookie" not in answer.headers
        async with gateway.client.get(gateway.url + SCRIPT) as answer:
            assert answer.status == 200
        other = SCRIPT.replace("registry-1", "registry-2")
        async with gateway.client.get(gateway.url + other, headers={"cookie": pair}) as answer:
            assert answer.status == 200
        tampered = URL(str(page).replace("tenant=t-1", "tenant=t-2"), encoded=True)
        async with gateway.client.get(tampered) as answer:
            assert answer.status == 403
    forged, first, with_cookie, of_another = runner.assets
    assert "x-tenant-id" not in forged.headers
    assert "tenant" not in forged.target
    assert first.headers["x-tenant-id"] == "t-1"
    assert "_ext=" not in first.target
    assert with_cookie.headers["x-tenant-id"] == "t-1"
    assert "cookie" not in with_cookie.headers
    assert "x-tenant-id" not in of_another.headers


async def test_a_page_that_browsers_take_for_foreign_gets_a_cookie_that_they_send(
    runner: FakeRunner,
) -> None:
    environ = behind_a_proxy(runner, RUNNER_PUBLIC_BASE="/runner")
    async with running(environ) as gateway:
        page = await _page_of(gateway)
        _, framed_elsewhere = await _cookie_of(gateway, page, **{"Sec-Fetch-Site": "cross-site"})
    assert framed_elsewhere.endswith("HttpOnly; SameSite=None; Secure; Partitioned")


async def test_a_sandboxed_pages_files_are_known_without_a_cookie(runner: FakeRunner) -> None:
    environ = behind_a_proxy(runner, EXT_UI_SANDBOX="true")
    other = SCRIPT.replace("registry-1", "registry-2")
    async with running(environ) as gateway:
        await _cookie_of(gateway, await _page_of(gateway))
        for path in (SCRIPT, other):
            async with gateway.client.get(gateway.url + path) as answer:
                assert answer.status == 200
    _, script, of_another = runner.assets
    assert script.headers["x-tenant-id"] == "t-1"
    assert "x-tenant-id" not in of_another.headers


async def test_where_a_proxy_renames_the_path_the_cookie_has_the_name_that_browsers_see(
    runner: FakeRunner,
) -> None:
    environ = behind_a_proxy(runner, RUNNER_PUBLIC_BASE="https://app.example/extensions")
    headers = {"x-gateway-key": KEY, "x-alga-tenant": "t-1"}
    async with running(environ) as gateway:
        resolve = f"{gateway.url}/gateway/v1/extensions/acme.crm/ui-url"
        async with gateway.client.get(resolve, headers=headers) as answer:
            page = (await answer.json())["url"]
        inside = page.replace("https://app.example/extensions", f"{gateway.url}/runner")
        async with gateway.client.get(URL(inside, encoded=True)) as answer:
            cookies = answer.headers.getall("set-cookie")
    folder = f"ext-ui/registry-1/{HASH.replace(':', '%3A')}/"
    assert [cookie.split("; ")[1] for cookie in cookies] == [
        f"Path=/runner/{folder}",
        f"Path=/extensions/{folder}",
    ]


async def test_a_key_that_is_taken_away_is_followed_too(runner: FakeRunner, tmp_path: Path) -> None:
    provider, keys = IdentityProvider(), tmp_path / "keys.json"
    keys.write_text(json.dumps(provider.document))
    environ = in_front_of(
        runner,
        GATEWAY_AUTH="jwt",
        GATEWAY_JWT_ISSUER=ISSUER,
        GATEWAY_JWT_AUDIENCE=AUDIENCE,
        GATEWAY_JWT_KEY_FILE=str(keys),
        GATEWAY_PROXY_KEY=KEY,
    )
    async with running(environ) as gateway:
        del gateway.environ["GATEWAY_PROXY_KEY"]
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            assert (await answer.json())["outcome"] == "switched"
        of_a_thief = UiTenants(KEY)
        known = gateway.app[UI_TENANTS]
        signed = known.sign("t-1", "registry-1", HASH)
        assert of_a_thief.verify(signed, "registry-1", HASH) is None


async def test_a_new_gateway_key_signs_at_once_and_what_the_old_one_signed_still_counts(
    runner: FakeRunner,
) -> None:
    new_key = "another-proxy-key-for-these-tests"
    environ = behind_a_proxy(runner)
    async with running(environ) as gateway:
        old_pair, _ = await _cookie_of(gateway, await _page_of(gateway))
        gateway.environ["GATEWAY_PROXY_KEY"] = new_key
        async with gateway.client.post(f"{gateway.url}/gateway/v1/reload") as answer:
            assert (await answer.json())["outcome"] == "switched"
        new_pair, _ = await _cookie_of(gateway, await _page_of(gateway, new_key))
        async with gateway.client.get(gateway.url + SCRIPT, headers={"cookie": old_pair}):
            pass
    # A replica that was started with the new key believes the new one alone.
    async with running(environ | {"GATEWAY_PROXY_KEY": new_key}) as replica:
        for pair in (old_pair, new_pair):
            async with replica.client.get(replica.url + SCRIPT, headers={"cookie": pair}):
                pass
    *_, by_old, old_at_replica, new_at_replica = runner.assets
    assert by_old.headers["x-tenant-id"] == "t-1"
    assert "x-tenant-id" not in old_at_replica.headers
    assert new_at_replica.headers["x-tenant-id"] == "t-1"
