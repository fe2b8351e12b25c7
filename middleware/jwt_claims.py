"""From the claims of a genuine token to a tenant and a person."""

from backends.contract import User, is_identifier
from middleware.errors import Unauthenticated
from middleware.jwt_tokens import INVALID, Claims


def tenant_of(claims: Claims, claim: str) -> str:
    """The tenant.

    Raises:
        Unauthenticated: the token names none, or something that is no tenant id.
    """
    tenant = claims.get(claim)
    if not isinstance(tenant, str) or not is_identifier(tenant):
        raise Unauthenticated("token_without_tenant", challenge=INVALID)
    return tenant


def user_of(claims: Claims) -> User | None:
    """The person, when the token names one whole: the runner protocol knows no half of it.

    >>> user_of({"sub": "u1", "email": "ada@example.com", "name": "Ada"}) is None
    True
    >>> user_of({"sub": "u1", "email": "a@b.c", "name": "Ada", "user_type": "client"}).user_id
    'u1'
    """
    told = [claims.get(claim) for claim in ("sub", "email", "name", "user_type")]
    match told:
        case [str(user_id), str(email), str(name), str(user_type)]:
            client_id, client_name = claims.get("client_id"), claims.get("client_name")
            return User(
                user_id=user_id,
                user_email=email,
                user_name=name,
                user_type=user_type,
                client_id=client_id if isinstance(client_id, str) else None,
                client_name=client_name if isinstance(client_name, str) else "",
            )
    return None
