"""user.get-user and user-v2.get-user: the person behind the call."""

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.never_waits import answers_at_once

CAPABILITY = "cap:user.read"


@answers_at_once
def get_user(call: Call) -> Ok | Err:
    """The user as a record. Errors: not-allowed without the capability, not-available.

    Both versions of the interface get every attribute: components differ in which of them
    their `user-data` declares, and take what they declare.
    """
    if not call.may(CAPABILITY):
        return Err("not-allowed")
    user = call.request.user
    if user is None:
        return Err("not-available")
    return Ok(
        {
            "tenant-id": call.request.context.tenant_id,
            "client-name": user.client_name,
            "user-id": user.user_id,
            "user-email": user.user_email,
            "user-name": user.user_name,
            "user-type": user.user_type,
            "client-id": user.client_id,
            "additional-fields": list(user.additional_fields.items()),
        }
    )
