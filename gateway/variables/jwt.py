"""The variables of GATEWAY_AUTH=jwt, and what they come to."""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.variables.file_forms import FileVersion, read_version
from gateway.variables.forms import FieldValue, HttpUrl, Seconds, split_items
from gateway.variables.marks import Accepts, Section
from gateway.variables.problems import refuse
from middleware.caller import DevAuth, ProxyAuth
from middleware.jwt_keys import ALGORITHMS, KnownKeys, NoUsableKey, read_keys


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Callers are known by tokens that an identity provider signed."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    leeway_s: float
    tenant_claim: str
    keys: KnownKeys | str  # a str: the address they are fetched from


AuthSettings = DevAuth | ProxyAuth | JwtSettings


@dataclass(frozen=True, slots=True)
class KeyFile(FileVersion):
    """A file of keys, read."""

    keys: KnownKeys = field(compare=False, repr=False)


def _key_file(text: object) -> object:
    if not isinstance(text, str):
        return text
    version, content = read_version(text)
    try:
        keys = read_keys(content, shared_secrets=True)
    except NoUsableKey as why:
        raise refuse(f"names a file without a usable key: {why}") from None
    return KeyFile(version.path, version.fingerprint, keys)


def _algorithms(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise refuse("names no algorithm")
    if not ALGORITHMS.issuperset(words):
        raise refuse("names an algorithm that is not accepted")
    return tuple(dict.fromkeys(words))


class JwtVariables(Section):
    """Callers with tokens (GATEWAY_AUTH=jwt)"""

    gateway_jwt_issuer: Annotated[
        FieldValue | None, Field(description="The `iss` that a token must have.")
    ] = None
    gateway_jwt_audience: Annotated[
        FieldValue | None, Field(description="The `aud` that a token must have, or have among it.")
    ] = None
    gateway_jwt_jwks_url: Annotated[
        HttpUrl | None,
        Field(description="Where the issuer's keys are: a JWK Set, fetched beside the traffic."),
    ] = None
    gateway_jwt_key_file: Annotated[
        KeyFile | None,
        BeforeValidator(_key_file),
        Accepts("a file with a JWK Set, or a public key in PEM; a reload reads it again"),
        Field(description="The issuer's keys, when they are not fetched."),
    ] = None
    gateway_jwt_algorithms: Annotated[
        tuple[str, ...],
        BeforeValidator(split_items),
        AfterValidator(_algorithms),
        Accepts(f"some of {' '.join(sorted(ALGORITHMS))}; HS* with a key file only"),
        Field(description="The algorithms that a token may be signed with."),
    ] = ("RS256", "ES256")
    gateway_jwt_leeway_seconds: Annotated[
        Seconds,
        Field(le=300, description="By how much the issuer's clock may differ."),
        Accepts("whole seconds, 0 to 300"),
    ] = 30
    gateway_jwt_tenant_claim: Annotated[
        FieldValue, Field(description="The claim that holds the tenant.")
    ] = "tenant_id"
