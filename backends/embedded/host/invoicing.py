"""invoicing.create-manual-invoice: a draft invoice in the host application."""

from collections.abc import Iterable, Mapping
from typing import cast

from backends.embedded.host.asking import ask
from backends.embedded.host.call import Call
from backends.embedded.host.host_api import HostAnswer, HostApiFailed
from backends.embedded.host.records import (
    Malformed,
    Member,
    flag,
    json_text,
    number,
    read_record,
    refusal,
    text,
    to_json,
)

CAPABILITY = "cap:invoice.manual.create"

_INVOICE = (
    Member("invoice-id", text, optional=True),
    Member("invoice-number", text, optional=True),
    Member("status", text, optional=True),
    Member("subtotal", number, optional=True),
    Member("tax", number, optional=True),
    Member("total", number, optional=True),
)
_OUTCOME = (
    Member("success", flag),
    Member("error", text, optional=True),
    Member("field-errors", json_text, optional=True),
)
RESULT = (*_INVOICE, *_OUTCOME)


def create_manual_invoice(call: Call, wanted: Mapping[str, object]) -> dict[str, object]:
    """Create the invoice. Answers a create-manual-invoice-result, refusals included."""
    if not call.may(CAPABILITY):
        return refusal(RESULT, f"Permission denied: {CAPABILITY} not granted")
    if not call.request.context.install_id:
        return refusal(RESULT, "Permission denied: install_id missing")
    if call.services.host_api is None:
        return refusal(RESULT, "invoicing base URL not configured")
    items = cast(Iterable[Mapping[str, object]], wanted["items"])
    body = {
        "operation": "createManualInvoice",
        **to_json(wanted),
        "items": [to_json(item) for item in items],
    }
    try:
        answer = ask(call, "ext-invoicing", body)
        return _read(answer) if answer.is_success else _read_refusal(answer)
    except HostApiFailed as failure:
        return refusal(RESULT, str(failure))
    except Malformed:
        return refusal(RESULT, "invalid response")


def _read(answer: HostAnswer) -> dict[str, object]:
    """The application puts the invoice's members at the top or into "invoice"."""
    outcome = read_record(answer.document, _OUTCOME)
    document = cast(Mapping[str, object], answer.document)
    invoice = read_record(document, _INVOICE)
    nested = document.get("invoice")
    if nested is not None:
        inner = read_record(nested, _INVOICE)
        invoice = {name: inner[name] if value is None else value for name, value in invoice.items()}
    return {**invoice, **outcome}


def _read_refusal(answer: HostAnswer) -> dict[str, object]:
    said = answer.members
    error = said.get("error")
    return refusal(
        RESULT,
        error if isinstance(error, str) else f"http {answer.status}",
        said.get("fieldErrors", said.get("field_errors")),
    )
