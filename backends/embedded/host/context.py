"""context.get-context: which bundle runs, and for whom."""

from backends.embedded.host.call import Call
from backends.embedded.host.never_waits import answers_at_once


@answers_at_once
def get_context(call: Call) -> dict[str, object]:
    """A context-data record. Always answered: the guest's own request carries the same facts."""
    context = call.request.context
    return {
        "request-id": call.request.request_id,
        "tenant-id": context.tenant_id,
        "extension-id": context.extension_id,
        "install-id": context.install_id,
        "version-id": context.version_id,
    }
