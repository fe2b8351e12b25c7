"""What a reload replaces, in one place: settings, policies, installs, and the slot."""

from dataclasses import dataclass

from backends.slot import Generation, Slot
from gateway.callers.auth import CallerAuth
from gateway.installs.contract import Installs
from gateway.settings import Settings
from middleware.admin import AdminAuth
from middleware.backend_tag import ServedBy
from middleware.body_limit import BodyLimit
from middleware.caller import Auth
from middleware.cors import Cors
from middleware.isolation import Isolation
from middleware.load_shed import LoadShed


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The configuration of every middleware, made once per committed settings."""

    body_limit: BodyLimit
    envelope_limit: BodyLimit
    load_shed: LoadShed
    cors: Cors
    isolation: Isolation
    auth: Auth
    admin: AdminAuth


def policies_of(settings: Settings, auth: Auth) -> Policies:
    """Translate settings into what each middleware is configured with."""
    limit = BodyLimit(max_bytes=settings.max_body_bytes, idle_s=settings.listen.body_idle_s)
    return Policies(
        body_limit=limit,
        envelope_limit=limit.of_an_envelope(),
        load_shed=LoadShed(limit=settings.max_in_flight),
        cors=Cors(allowed_origins=settings.allowed_origins),
        isolation=Isolation(
            sandbox=settings.ui_sandbox, frame_ancestors=settings.ui_frame_ancestors
        ),
        auth=auth,
        admin=AdminAuth(token=settings.admin_token, loopback_listener=settings.listen.is_loopback),
    )


class Live:
    """The committed state. Readers take what they need once and keep it for their request."""

    def __init__(
        self, settings: Settings, slot: Slot, installs: Installs, auth: CallerAuth
    ) -> None:
        self.slot = slot
        self._tag = _tag_of(slot.current)
        self.commit(settings, installs, auth)

    @property
    def served_by(self) -> ServedBy:
        """The current backend, as answers that no backend had a part in name it."""
        current = self.slot.current
        if self._tag.generation != current.number:
            self._tag = _tag_of(current)
        return self._tag

    def commit(self, settings: Settings, installs: Installs, auth: CallerAuth) -> None:
        """Replace everything but the slot. Synchronous: no request sees a half of it."""
        self.settings = settings
        self.policies = policies_of(settings, auth.policy)
        self.installs = installs
        self.auth = auth


class LiveRef:
    """Where an application's Live is: not there before the application has started."""

    __slots__ = ("now",)

    now: Live


def _tag_of(generation: Generation) -> ServedBy:
    # The plain word: a member of an enumeration is slow to hash, and metrics do so.
    return ServedBy(generation.identity.kind.value, generation.number)
