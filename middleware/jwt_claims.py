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

    Half a surrogate pair, which JSON can spell, is no text: nobody could be told it.

    >>> user_of({"sub": "u1", "email": "ada@example.com", "name": "Ada"}) is None
    True
    >>> user_of({"sub": "u1", "email": "a@b.c", "name": "Ada", "user_type": "client"}).user_id
    'u1'
    """
    told = [_text(claims.get(claim)) for claim in ("sub", "email", "name", "user_type")]
    match told:
        case [str(user_id), str(email), str(name), str(user_type)]:
            return User(
                user_id=user_id,
                user_email=email,
                user_name=name,
                user_type=user_type,
                client_id=_text(claims.get("client_id")),
                client_name=_text(claims.get("client_name")) or "",
            )
    return None


def _text(claim: object) -> str | None:
    if not isinstance(claim, str):
        return None
    try:
        claim.encode()
    except UnicodeEncodeError:
        return None
    return claim
