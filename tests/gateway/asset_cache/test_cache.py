"""A file is fetched once; who may have it is asked again and again."""

import asyncio
import gzip
import os

import pytest

from backends.contract import AssetResponse
from backends.errors import AssetNotFound, BackendError
from gateway.asset_cache.admission import Claim
from gateway.asset_cache.grants import LIFETIME_S
from tests.fakes.runner import HttpAnswer, UiFile
from tests.gateway.asset_cache.rig import MIB, SCRIPT, Rig, whole

LARGE = os.urandom(3 * MIB)
FORGED = HttpAnswer(
    headers={"etag": f'"sha256-{"0" * 64}"', "content-type": "text/javascript"}, body=b"evil()"
)


async def test_the_second_answer_needs_no_runner(rig: Rig) -> None:
    first = await rig.get()
    again = await rig.get()
    assert (again.status, again.body) == (200, SCRIPT) == (first.status, first.body)
    for name in ("etag", "content-type", "content-length", "x-content-type-options", "vary"):
        assert again.headers[name] == first.headers[name]
    assert rig.asked == ["GET app.js"]
    stats = rig.cache.stats()
    assert (stats.hits, stats.misses, stats.entries) == (1, 1, 1)
    assert len(SCRIPT) < stats.bytes < len(SCRIPT) + 4096


async def test_a_large_file_streams_in_and_comes_out_the_same(rig: Rig) -> None:
    rig.runner.files["big.png"] = UiFile(body=LARGE, content_type="image/png")
    first = await rig.get("big.png")
    await rig.cache.settled()
    response = await rig.open("big.png")
    assert not isinstance(response.body, bytes), "a slow client must not make a copy of it"
    again = await whole(response)
    assert first.body == again.body == LARGE
    assert "vary" not in again.headers
    assert rig.asked == ["GET big.png"]


async def test_every_spelling_of_a_path_and_any_query_is_one_file(rig: Rig) -> None:
    await rig.get("app.js")
    for spelling in ("%61pp.js", "app.j%73", "app.js/"):
        assert (await rig.get(spelling)).body == SCRIPT
    for number in range(5):
        await rig.get(query=f"v={number}")
    assert rig.asked == ["GET app.js"]
    assert rig.cache.stats().entries == 1


async def test_head_is_answered_from_what_a_get_brought(rig: Rig) -> None:
    got = await rig.get()
    told = await rig.get(method="HEAD", range="bytes=0-1")
    assert (told.status, told.body) == (200, b"")
    assert told.headers["content-length"] == got.headers["content-length"]
    assert rig.asked == ["GET app.js"]


async def test_a_tenant_who_was_not_answered_yet_is_asked_about_first(rig: Rig) -> None:
    await rig.get(tenant="tenant-1")
    rig.runner.asset_script.append(HttpAnswer(status=404))
    with pytest.raises(AssetNotFound):
        await rig.get(tenant="tenant-2")
    assert not rig.hit(tenant="tenant-2")
    assert (await rig.get(tenant="tenant-2")).body == SCRIPT
    assert rig.hit(tenant="tenant-2")
    asked = rig.runner.assets
    assert [each.headers.get("x-tenant-id") for each in asked] == [
        "tenant-1",
        "tenant-2",
        "tenant-2",
    ]
    assert [each.headers.get("if-none-match") is None for each in asked] == [True, False, False]


async def test_the_same_bundle_under_another_extension_is_asked_about_first(rig: Rig) -> None:
    await rig.get()
    await rig.get(extension="ext-2")
    await rig.get(extension="ext-2")
    assert len(rig.asked) == 2


async def test_nobody_and_a_tenant_are_two_callers(rig: Rig) -> None:
    await rig.get(tenant=None)
    rig.runner.asset_script.append(HttpAnswer(status=404))
    with pytest.raises(AssetNotFound):
        await rig.get(tenant="tenant-1")


async def test_a_tenant_who_was_revoked_reads_no_longer_than_the_grant(rig: Rig) -> None:
    await rig.get()
    rig.clock.now += LIFETIME_S - 0.1
    assert (await rig.get()).body == SCRIPT
    rig.clock.now += 0.1
    rig.runner.asset_script.extend([HttpAnswer(status=404)] * 3)
    with pytest.raises(AssetNotFound):
        await rig.get()
    with pytest.raises(AssetNotFound):
        await rig.get(if_none_match="*")
    with pytest.raises(AssetNotFound):
        await rig.get(method="HEAD")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"range": "bytes=0-6"}, 206),
        ({"range": "bytes=999999-"}, 416),
        ({"if_none_match": "*"}, 304),
        ({"method": "HEAD"}, 200),
    ],
    ids=["whole", "part", "beyond", "known", "head"],
)
async def test_a_grant_is_renewed_with_the_tag_and_without_the_bytes(
    rig: Rig, fields: dict[str, str], status: int
) -> None:
    etag = (await rig.get()).headers["etag"]
    rig.clock.now += LIFETIME_S
    answer = await rig.get(**fields)
    assert answer.status == status
    assert rig.runner.assets[1].headers["if-none-match"] == etag
    assert "range" not in rig.runner.assets[1].headers
    assert rig.hit()
    assert len(rig.asked) == 2


async def test_a_runner_that_answers_the_same_tag_with_200_has_given_its_leave(rig: Rig) -> None:
    etag = (await rig.get()).headers["etag"]
    rig.clock.now += LIFETIME_S
    rig.runner.asset_script.append(HttpAnswer(headers={"etag": etag}))
    assert (await rig.get(range="bytes=0-2")).body == SCRIPT[:3]
    assert rig.asked == ["GET app.js", "HEAD app.js"]


async def test_a_304_about_another_tag_gives_no_leave(rig: Rig) -> None:
    await rig.get()
    rig.clock.now += LIFETIME_S
    rig.runner.asset_script.append(HttpAnswer(status=304, headers={"etag": '"other"'}))
    assert (await rig.get()).body == SCRIPT
    assert rig.asked == ["GET app.js"] * 3
    assert "if-none-match" not in rig.runner.assets[2].headers


async def test_a_reload_lets_the_new_runner_decide_about_everyone(rig: Rig) -> None:
    await rig.get()
    rig.cache.reconfigure(max_bytes=64 * MIB, folder=None)
    assert not rig.hit()
    assert (await rig.get()).body == SCRIPT
    assert "if-none-match" in rig.runner.assets[1].headers, "the bytes stayed"


async def test_leave_from_the_runner_of_before_counts_for_nothing_after_a_reload(rig: Rig) -> None:
    rig.runner.may_answer.clear()
    asking = asyncio.create_task(rig.get())
    await rig.runner.asked.get()
    rig.cache.reconfigure(max_bytes=64 * MIB, folder=None)
    rig.runner.may_answer.set()
    assert (await asking).body == SCRIPT
    assert not rig.hit()


async def test_new_content_under_the_address_replaces_the_old(rig: Rig) -> None:
    await rig.get(tenant="tenant-1")
    rig.runner.files["app.js"] = UiFile(body=b"changed()", content_type="text/javascript")
    assert (await rig.get(tenant="tenant-2")).body == b"changed()"
    assert not rig.hit(tenant="tenant-1")
    assert (await rig.get(tenant="tenant-1")).body == b"changed()"
    assert rig.cache.stats().entries == 1


@pytest.mark.parametrize("fields", [{"range": "bytes=0-2"}, {"method": "HEAD"}], ids=str)
async def test_new_content_is_noticed_by_those_who_want_less_than_all(
    rig: Rig, fields: dict[str, str]
) -> None:
    await rig.get()
    rig.clock.now += LIFETIME_S
    rig.runner.files["app.js"] = UiFile(body=b"changed()", content_type="text/javascript")
    answer = await rig.get(**fields)
    assert answer.body == (b"cha" if "range" in fields else b"")
    assert rig.cache.stats().entries == 0


async def test_bytes_that_do_not_match_their_tag_are_passed_on_and_never_kept(rig: Rig) -> None:
    rig.runner.asset_script.append(FORGED)
    assert (await rig.get()).body == b"evil()"
    assert rig.cache.stats().rejected == 1
    assert rig.cache.stats().entries == 0
    assert (await rig.get()).body == SCRIPT


async def test_a_large_forgery_is_not_kept_either(rig: Rig) -> None:
    answer = HttpAnswer(headers={**FORGED.headers, "content-type": "image/png"}, body=LARGE)
    rig.runner.asset_script.append(answer)
    assert (await rig.get("big.png")).body == LARGE
    await rig.cache.settled()
    assert (rig.cache.stats().rejected, rig.cache.stats().entries) == (1, 0)


@pytest.mark.parametrize(
    "file",
    [
        UiFile(body=SCRIPT, content_type="text/html; charset=utf-8"),
        UiFile(body=SCRIPT, content_type="text/css", headers={"content-encoding": "x-odd"}),
        UiFile(body=SCRIPT, content_type="text/css", headers={"vary": "accept-language"}),
        UiFile(body=SCRIPT, content_type="text/css", headers={"content-security-policy": "x"}),
        UiFile(body=SCRIPT, content_type="text/css", headers={"etag": '"v1"'}),
        UiFile(body=SCRIPT, content_type="text/css", headers={"etag": 'W/"sha256-1"'}),
    ],
    ids=["html", "encoded", "varies", "policy", "other-tag", "weak-tag"],
)
async def test_what_may_not_be_kept_is_asked_for_every_time(rig: Rig, file: UiFile) -> None:
    rig.runner.files["app.js"] = file
    assert (await rig.get()).body == SCRIPT
    assert (await rig.get()).body == SCRIPT
    assert rig.asked == ["GET app.js"] * 2
    assert rig.cache.stats().entries == 0


async def test_a_page_under_the_name_of_a_script_is_not_kept(rig: Rig) -> None:
    headers = {"etag": rig.runner.files["app.js"].etag, "content-type": "Text/HTML"}
    rig.runner.asset_script.append(HttpAnswer(headers=headers, body=SCRIPT))
    assert (await rig.get()).body == SCRIPT
    assert rig.cache.stats().entries == 0


def test_a_head_that_says_two_things_is_not_believed() -> None:
    fields = (("etag", f'"sha256-{"0" * 64}"'), ("content-type", "a/b"), ("content-length", "1"))
    assert Claim.of(AssetResponse(status=200, headers=fields), largest=1) is not None
    for field in fields:
        twice = AssetResponse(status=200, headers=(*fields, field))
        assert Claim.of(twice, largest=1) is None


async def test_a_page_is_never_kept_nor_counted(rig: Rig) -> None:
    for path in ("index.html", "some/route", "index.html"):
        await rig.get(path)
    assert len(rig.asked) == 3
    assert (rig.cache.stats().misses, rig.cache.stats().entries) == (0, 0)


async def test_a_file_beyond_the_bound_passes_through(rig: Rig) -> None:
    rig.runner.files["big.png"] = UiFile(body=LARGE, content_type="image/png")
    rig.cache.reconfigure(max_bytes=8 * MIB, folder=None)  # a quarter of it is less than the file
    for _ in range(2):
        assert (await rig.get("big.png")).body == LARGE
    assert rig.asked == ["GET big.png"] * 2
    assert rig.cache.stats().bytes == 0


async def test_the_cache_can_be_turned_off_while_it_runs(rig: Rig) -> None:
    await rig.get()
    rig.cache.reconfigure(max_bytes=0, folder=None)
    assert not rig.hit()
    await rig.get(accept_encoding="gzip")
    stats = rig.cache.stats()
    assert (stats.entries, stats.bytes, stats.misses) == (0, 0, 1)
    assert rig.runner.assets[1].headers["accept-encoding"] == "gzip", "nothing is changed"


async def test_what_a_client_has_already_is_kept_when_the_runner_sends_it_anyway(rig: Rig) -> None:
    answer = await rig.get(if_none_match='"sha256-old"')
    assert (answer.status, answer.body) == (200, SCRIPT)
    assert rig.hit()


async def test_a_client_that_has_it_before_the_cache_does_gets_304_from_the_runner(
    rig: Rig,
) -> None:
    answer = await rig.get(if_none_match=rig.runner.files["app.js"].etag)
    assert (answer.status, answer.body) == (304, b"")
    assert rig.cache.stats().entries == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"if_match": '"a"'},
        {"if_unmodified_since": "Sat, 29 Oct 1994 19:43:31 GMT"},
        {"if_modified_since": "Sat, 29 Oct 1994 19:43:31 GMT"},
    ],
    ids=str,
)
async def test_rare_preconditions_are_left_to_the_runner(rig: Rig, fields: dict[str, str]) -> None:
    await rig.get()
    await rig.get(**fields)
    name, value = next(iter(fields.items()))
    assert rig.runner.assets[1].headers[name.replace("_", "-")] == value


async def test_a_compressed_form_is_made_once_and_given_to_those_who_take_it(rig: Rig) -> None:
    plain = await rig.get()
    before = rig.cache.stats().bytes
    assert "content-encoding" not in (await rig.get(accept_encoding="gzip")).headers
    await rig.cache.settled()
    assert rig.cache.stats().bytes > before
    packed = await rig.get(accept_encoding="gzip, identity;q=0.5")
    assert gzip.decompress(packed.body) == SCRIPT
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-length"] == str(len(packed.body))
    assert packed.headers["etag"] == plain.headers["etag"][:-1] + '-gzip"'
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert packed.headers["content-type"] == plain.headers["content-type"]
    assert (await rig.get()).body == SCRIPT
    known = await rig.get(accept_encoding="gzip", if_none_match=packed.headers["etag"])
    assert (known.status, known.headers["etag"]) == (304, packed.headers["etag"])
    assert rig.asked == ["GET app.js"]


async def test_bytes_that_come_again_keep_their_compressed_forms(rig: Rig) -> None:
    await rig.get()
    await rig.get(accept_encoding="gzip")
    await rig.cache.settled()
    rig.clock.now += LIFETIME_S
    file = rig.runner.files["app.js"]
    headers = {"etag": file.etag, "content-type": file.content_type}
    headers["x-content-type-options"] = "nosniff"
    rig.runner.asset_script.append(HttpAnswer(headers=headers, body=SCRIPT))
    assert (await rig.get()).body == SCRIPT, "this runner ignores If-None-Match"
    assert (await rig.get(accept_encoding="gzip")).headers["content-encoding"] == "gzip"
    assert len(rig.asked) == 2


async def test_the_runner_is_asked_for_plain_bytes(rig: Rig) -> None:
    await rig.get(accept_encoding="gzip, br", accept_language="de")
    (asked,) = rig.runner.assets
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["accept-language"] == "de"


async def test_a_runner_that_fails_fails_the_call_and_nothing_else(rig: Rig) -> None:
    rig.runner.asset_script.append(HttpAnswer(status=500))
    with pytest.raises(BackendError):
        await rig.get()
    assert (await rig.get()).body == SCRIPT
