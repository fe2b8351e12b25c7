"""UI files of real bundles, asked for in part or only if they have changed."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.bundles.extracted import Bundle
from backends.bundles.store import BundleStore
from backends.embedded.assets import DEFAULT_CONTENT_SECURITY_POLICY
from tests.backends.embedded.asset_calls import APP, LARGE, ask, asset_files, body_of, fetch


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_the_client_has_is_not_sent_again(
    store: BundleStore, bundle: Bundle, form: str, method: str
) -> None:
    etag = dict((await fetch(store, bundle, "index.html")).headers)["etag"]
    response = await fetch(
        store, bundle, "index.html", method, if_none_match=form.format(etag), range="bytes=0-1"
    )
    assert (response.status, response.body) == (304, b"")
    headers = dict(response.headers)
    assert headers["etag"] == etag
    assert headers["content-security-policy"] == DEFAULT_CONTENT_SECURITY_POLICY
    assert "content-length" not in headers


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, len(LARGE) + 5), length=st.integers(1, len(LARGE)))
async def test_every_range_is_the_bytes_it_names(
    store: BundleStore, bundle: Bundle, first: int, length: int
) -> None:
    response = await fetch(store, bundle, "large.wasm", range=f"bytes={first}-{first + length - 1}")
    headers = dict(response.headers)
    wanted = LARGE[first : first + length]
    assert await body_of(response) == wanted
    assert headers["content-length"] == str(len(wanted))
    if wanted:
        last = first + len(wanted) - 1
        assert response.status == 206
        assert headers["content-range"] == f"bytes {first}-{last}/{len(LARGE)}"
    else:
        assert response.status == 416
        assert headers["content-range"] == f"bytes */{len(LARGE)}"


async def test_a_range_of_a_small_file_is_answered_too(store: BundleStore, bundle: Bundle) -> None:
    response = await fetch(store, bundle, "app.js", range="bytes=-4")
    assert (response.status, response.body) == (206, APP[-4:])


async def test_several_ranges_are_answered_with_the_whole(
    store: BundleStore, bundle: Bundle
) -> None:
    response = await fetch(store, bundle, "app.js", range="bytes=0-1,3-4")
    assert (response.status, response.body) == (200, APP)


async def test_ranges_in_two_fields_are_several_ranges(store: BundleStore, bundle: Bundle) -> None:
    fields = (("range", "bytes=0-1"), ("range", "bytes=3-4"))
    request = replace(ask(bundle, "app.js"), headers=fields)
    assert (await asset_files(store).fetch(request)).status == 200


async def test_a_range_of_an_older_file_is_answered_with_the_whole(
    store: BundleStore, bundle: Bundle
) -> None:
    response = await fetch(store, bundle, "app.js", range="bytes=0-1", if_range='"older"')
    assert (response.status, response.body) == (200, APP)


async def test_head_tells_of_the_whole_and_sends_nothing(
    store: BundleStore, bundle: Bundle
) -> None:
    for path, size in (("app.js", len(APP)), ("large.wasm", len(LARGE)), ("empty.css", 0)):
        response = await fetch(store, bundle, path, "HEAD", range="bytes=0-1")
        assert (response.status, response.body) == (200, b"")
        assert dict(response.headers)["content-length"] == str(size)
