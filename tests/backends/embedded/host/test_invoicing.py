"""invoicing.create-manual-invoice against a real host application."""

import orjson
import pytest

from backends.embedded.host.services import HostServices
from tests.backends.embedded.host.calls import ask, call_of
from tests.fakes.host_app import HostApp

ITEM = {
    "service-id": "s1", "quantity": 2.0, "description": "Work", "rate": 95.5,
    "is-discount": None, "discount-type": None, "applies-to-item-id": None,
    "applies-to-service-id": None,
}  # fmt: skip
DISCOUNT = {**ITEM, "is-discount": True, "discount-type": "fixed", "applies-to-service-id": "s1"}
INVOICE = {
    "client-id": "c1", "items": [ITEM, DISCOUNT], "invoice-date": "2026-01-01", "due-date": None,
    "po-number": None,
}  # fmt: skip
NOTHING = dict.fromkeys((
    "invoice-id", "invoice-number", "status", "subtotal", "tax", "total", "error", "field-errors",
))  # fmt: skip


async def create(services: HostServices, **call: object) -> object:
    return await ask(call_of(services, **call), "invoicing", "create-manual-invoice", INVOICE)  # type: ignore[arg-type]  # call_of checks them when it runs


async def test_what_is_absent_is_left_out_of_the_request(
    services: HostServices, host_app: HostApp
) -> None:
    await create(services)
    (seen,) = host_app.seen
    item = {"serviceId": "s1", "quantity": 2.0, "description": "Work", "rate": 95.5}
    assert seen.raw_path == "/api/internal/ext-invoicing/install/install-1"
    assert orjson.loads(seen.body) == {
        "operation": "createManualInvoice",
        "clientId": "c1",
        "items": [
            item,
            {**item, "isDiscount": True, "discountType": "fixed", "appliesToServiceId": "s1"},
        ],
        "invoiceDate": "2026-01-01",
    }


@pytest.mark.parametrize(
    "document",
    [
        {"success": True, "invoiceId": "i1", "invoiceNumber": "7", "total": 191},
        {"success": True, "invoice_id": "i1", "invoice_number": "7", "total": 191.0},
        {"success": True, "invoice": {"invoiceId": "i1", "invoice_number": "7", "total": 191}},
        {"success": True, "invoiceId": "i1", "invoice": {"invoiceNumber": "7", "total": 191}},
    ],
)
async def test_an_invoice_is_understood_in_every_spelling(
    services: HostServices, host_app: HostApp, document: object
) -> None:
    host_app.status, host_app.body = 201, orjson.dumps(document)
    created = await create(services)
    assert created == {
        **NOTHING, "success": True, "invoice-id": "i1", "invoice-number": "7", "total": 191.0,
    }  # fmt: skip


async def test_a_refusal_names_its_fields(services: HostServices, host_app: HostApp) -> None:
    host_app.status = 400
    host_app.body = b'{"success": false, "error": "Invalid", "fieldErrors": {"items": ["x"]}}'
    assert await create(services) == {
        **NOTHING, "success": False, "error": "Invalid", "field-errors": '{"items":["x"]}',
    }  # fmt: skip


async def test_a_failure_without_words_is_its_status_and_never_its_body(
    services: HostServices, host_app: HostApp
) -> None:
    host_app.status, host_app.body = 500, b"<html>stack trace</html>"
    assert await create(services) == {**NOTHING, "success": False, "error": "http 500"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[]", "invalid response"),
        (b'{"success": "yes"}', "invalid response"),
        (b'{"success": true, "invoice": 7}', "invalid response"),
        (b"<html>", "invalid JSON response"),
    ],
)
async def test_an_unreadable_outcome_is_not_a_success(
    services: HostServices, host_app: HostApp, body: bytes, error: str
) -> None:
    host_app.body = body
    assert await create(services) == {**NOTHING, "success": False, "error": error}


async def test_without_grant_install_or_application_nothing_is_asked(
    services: HostServices, lonely_services: HostServices, host_app: HostApp
) -> None:
    refusals = [
        await create(services, granted=frozenset[str]()),
        await create(services, install_id=None),
        await create(lonely_services),
    ]
    assert refusals == [
        {**NOTHING, "success": False, "error": error}
        for error in (
            "Permission denied: cap:invoice.manual.create not granted",
            "Permission denied: install_id missing",
            "invoicing base URL not configured",
        )
    ]
    assert host_app.seen == []
