"""Reads what the registry says about one install. Pure."""

from collections.abc import Mapping

import orjson
from pydantic import AliasGenerator, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from backends.contract import SecretEnvelope
from backends.ui_url import is_content_hash
from gateway.installs.contract import ExtensionNotInstalled, Install, RegistryUnavailable


class _Sealed(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    ciphertext_b64: str
    algorithm: str | None = None
    key_path: str | None = None
    mount: str | None = None
    version: str | None = None
    expires_at: str | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=to_camel),
        coerce_numbers_to_str=True,
    )

    tenant_id: str
    extension_slug: str | None = None
    install_id: str
    version_id: str
    version: str | None = None
    registry_id: str
    content_hash: str | None = None
    config: dict[str, object] | None = None
    providers: list[str] | None = None
    config_version: str | None = None
    secrets_version: str | None = None
    secret_envelope: _Sealed | None = None


def parse_answer(raw: bytes, tenant_id: str) -> Install:
    """Read the body of a 200 of the install-config call.

    Returns:
        The install, without endpoints and label, of which the registry says nothing. Values
        of the configuration become text: null is empty, all but text is JSON.

    Raises:
        ExtensionNotInstalled: the install has no bundle yet.
        RegistryUnavailable: this is no such answer, or it is about another tenant.
    """
    try:
        answer = _Answer.model_validate_json(raw)
    except ValidationError:
        raise RegistryUnavailable(reason="invalid_answer") from None  # it would quote secrets
    if answer.tenant_id != tenant_id:
        raise RegistryUnavailable(reason="answer_for_another_tenant")
    if not answer.content_hash:
        raise ExtensionNotInstalled("no_content_hash")
    digest = answer.content_hash.lower().removeprefix("sha256:")
    if not is_content_hash(f"sha256:{digest}"):
        raise RegistryUnavailable(reason="invalid_answer")
    sealed = answer.secret_envelope
    return Install(
        tenant_id=answer.tenant_id,
        extension_slug=answer.extension_slug,
        install_id=answer.install_id,
        registry_id=answer.registry_id,
        version_id=answer.version_id,
        version=answer.version,
        content_hash=f"sha256:{digest}",
        config=_texts(answer.config or {}),
        config_version=answer.config_version,
        secrets_version=answer.secrets_version,
        providers=tuple(answer.providers or ()),
        secret_envelope=None if sealed is None else SecretEnvelope(**sealed.model_dump()),
    )


def _texts(config: Mapping[str, object]) -> dict[str, str]:
    return {name: _text(value) for name, value in config.items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()
