"""clients.* and services.*: the same reading of two collections."""

from collections.abc import Mapping

import orjson
import pytest

from backends.embedded.host.call import Err, Ok
from backends.embedded.host.services import HostServices
from tests.backends.embedded.host.calls import ADA, ask, call_of
from tests.fakes.host_app import HostApp

CLIENT_JSON = {
    "clientId": "c1", "clientName": "Acme", "clientType": None, "isInactive": False,
    "defaultCurrencyCode": "EUR", "accountManagerId": "u1",
}  # fmt: skip
CLIENT = {
    "client-id": "c1", "client-name": "Acme", "client-type": None, "is-inactive": False,
    "default-currency-code": "EUR", "account-manager-id": "u1", "account-manager-name": None,
    "billing-email": None,
}  # fmt: skip
SERVICE_JSON = {
    "serviceId": "s1", "serviceName": "Support", "itemKind": "service", "billingMethod": "hourly",
    "serviceTypeId": "t1", "defaultRate": 95, "unitOfMeasure": "hour", "isActive": True,
}  # fmt: skip
SERVICE = {
    "service-id": "s1", "service-name": "Support", "item-kind": "service",
    "billing-method": "hourly", "service-type-id": "t1", "service-type-name": None,
    "default-rate": 95.0, "unit-of-measure": "hour", "is-active": True, "sku": None,
}  # fmt: skip

CLIENTS = ("clients", "list-clients", "get-client", CLIENT_JSON, CLIENT)
SERVICES = ("services", "list-services", "get-service", SERVICE_JSON, SERVICE)
both = pytest.mark.parametrize(("interface", "list_it", "get_it", "json", "record"), [
    CLIENTS, SERVICES,
])  # fmt: skip


def wanted(**members: object) -> dict[str, object]:
    names = ("search", "include-inactive", "page", "page-size")
    return {name: members.get(name.replace("-", "_")) for name in names}


def page_of(*items: object) -> bytes:
    return orjson.dumps({"items": items, "totalCount": len(items), "page": 1, "pageSize": 25})


@both
async def test_a_page_of_records_arrives_in_wit_words(
    services: HostServices, host_app: HostApp, interface: str, list_it: str, get_it: str,
    json: Mapping[str, object], record: Mapping[str, object],
) -> None:  # fmt: skip
    host_app.body = page_of(json)
    answer = await ask(call_of(services), interface, list_it, wanted())
    assert answer == Ok({"items": [record], "total-count": 1, "page": 1, "page-size": 25})
    (seen,) = host_app.seen
    assert seen.raw_path == f"/api/internal/ext-{interface}/install/install-1"
    assert orjson.loads(seen.body) == {
        "operation": "list",
        "input": {"page": 1, "pageSize": 25},
    }


@both
async def test_one_record_or_none(
    services: HostServices, host_app: HostApp, interface: str, list_it: str, get_it: str,
    json: Mapping[str, object], record: Mapping[str, object],
) -> None:  # fmt: skip
    call = call_of(services)
    host_app.body = orjson.dumps({"item": json})
    assert await ask(call, interface, get_it, "id-1") == Ok(record)
    host_app.body = b'{"item": null}'
    assert await ask(call, interface, get_it, "id-1") == Ok(None)
    id_name = "clientId" if interface == "clients" else "serviceId"
    assert orjson.loads(host_app.seen[0].body) == {"operation": "get", "input": {id_name: "id-1"}}


async def test_the_filters_and_the_user_travel_along(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.body = page_of()
    call = call_of(services, user=ADA)
    filters = wanted(search="ac", include_inactive=False, page=2, page_size=100)
    await ask(call, "clients", "list-clients", filters)
    assert orjson.loads(host_app.seen[0].body) == {
        "operation": "list",
        "input": {"search": "ac", "includeInactive": False, "page": 2, "pageSize": 100},
        "user": {"userId": "user-1", "userType": "internal"},
    }


@pytest.mark.parametrize(
    "page", [{"page": 0}, {"page_size": 0}, {"page_size": 101}, {"page": 1, "page_size": 2**32 - 1}]
)
async def test_a_page_out_of_bounds_is_not_asked_for(
    services: HostServices, host_app: HostApp, page: dict[str, object]
) -> None:
    answer = await ask(call_of(services), "clients", "list-clients", wanted(**page))
    assert answer == Err("invalid-input")
    assert host_app.seen == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, "not-allowed"), (403, "not-allowed"), (400, "invalid-input"),
        (404, "internal"), (500, "internal"), (302, "internal"),
    ],
)  # fmt: skip
async def test_each_status_has_its_error(
    services: HostServices, host_app: HostApp, status: int, error: str
) -> None:
    host_app.status = status
    call = call_of(services)
    assert await ask(call, "clients", "list-clients", wanted()) == Err(error)
    assert await ask(call, "services", "get-service", "s1") == Err(error)


@pytest.mark.parametrize(
    "flaw",
    [
        {"clientName": None}, {"clientName": 7}, {"isInactive": 1}, {"isInactive": None},
        {"billingEmail": ["a"]},
    ],
)  # fmt: skip
async def test_one_malformed_record_spoils_the_page(
    services: HostServices, host_app: HostApp, flaw: dict[str, object]
) -> None:
    host_app.body = page_of(CLIENT_JSON, {**CLIENT_JSON, **flaw})
    answer = await ask(call_of(services), "clients", "list-clients", wanted())
    assert answer == Err("internal")


@pytest.mark.parametrize(
    "flaw", [{"itemKind": "gift"}, {"defaultRate": "95"}, {"defaultRate": True}]
)
async def test_a_record_outside_its_enums_and_numbers_is_malformed(
    services: HostServices, host_app: HostApp, flaw: dict[str, object]
) -> None:
    host_app.body = orjson.dumps({"item": {**SERVICE_JSON, **flaw}})
    assert await ask(call_of(services), "services", "get-service", "s1") == Err("internal")


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"", b"{}", b'{"items": {}, "totalCount": 0, "page": 1, "pageSize": 25}',
        b'{"items": [], "totalCount": -1, "page": 1, "pageSize": 25}',
        b'{"items": [], "totalCount": 4294967296, "page": 1, "pageSize": 25}',
        b'{"items": [7], "totalCount": 1, "page": 1, "pageSize": 25}',
    ],
)  # fmt: skip
async def test_a_document_of_another_shape_is_internal(
    services: HostServices, host_app: HostApp, body: bytes
) -> None:
    host_app.body = body
    call = call_of(services)
    assert await ask(call, "clients", "list-clients", wanted()) == Err("internal")
    assert await ask(call, "clients", "get-client", "c1") == Err("internal")


@both
async def test_without_grant_install_or_application_reading_is_not_allowed(
    services: HostServices, lonely_services: HostServices, host_app: HostApp, interface: str,
    list_it: str, get_it: str, json: object, record: object,
) -> None:  # fmt: skip
    for call in (
        call_of(services, granted=frozenset()),
        call_of(services, install_id=None),
        call_of(services, install_id=""),
        call_of(lonely_services),
    ):
        assert await ask(call, interface, list_it, wanted()) == Err("not-allowed")
        assert await ask(call, interface, get_it, "id-1") == Err("not-allowed")
    assert host_app.seen == []
