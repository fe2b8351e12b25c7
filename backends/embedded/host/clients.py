"""clients.list-clients and clients.get-client: the host application's clients."""

from collections.abc import Mapping

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.read_api import ReadApi
from backends.embedded.host.records import Member, flag, text

_CLIENTS = ReadApi(
    api="ext-clients",
    capability="cap:client.read",
    summary=(
        Member("client-id", text),
        Member("client-name", text),
        Member("client-type", text, optional=True),
        Member("is-inactive", flag),
        Member("default-currency-code", text, optional=True),
        Member("account-manager-id", text, optional=True),
        Member("account-manager-name", text, optional=True),
        Member("billing-email", text, optional=True),
    ),
)


def list_clients(call: Call, wanted: Mapping[str, object]) -> Ok | Err:
    """One page of clients (a clients-list-result). Errors: see ReadApi.list_page."""
    return _CLIENTS.list_page(call, wanted)


def get_client(call: Call, client_id: str) -> Ok | Err:
    """One client (a client-summary) or none. Errors: see ReadApi.list_page."""
    return _CLIENTS.get(call, "client-id", client_id)
