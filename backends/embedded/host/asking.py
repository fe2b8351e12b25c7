"""A guest's question to the host application: whether it may be asked, and in whose name."""

from collections.abc import Mapping

from backends.embedded.host.call import Call
from backends.embedded.host.host_api import TIMEOUT_S, HostAnswer, HostApiFailed


def may_ask(call: Call, capability: str) -> bool:
    """Whether the install was granted `capability`, and there is a host application to ask."""
    return (
        call.may(capability)
        and bool(call.request.context.install_id)
        and call.services.host_api is not None
    )


def ask(call: Call, api: str, body: Mapping[str, object]) -> HostAnswer:
    """HostApi.ask for the call's install, within the call's deadline and TIMEOUT_S.

    Raises:
        HostApiFailed: as HostApi.ask; also there is no host application, or no install.
    """
    host_api, install_id = call.services.host_api, call.request.context.install_id
    if host_api is None or not install_id:
        raise HostApiFailed("host application not configured")
    return host_api.ask(api, install_id, body, timeout_s=call.remaining_s(TIMEOUT_S))
