"""What the Serving API says of one Knative service, read into one value. Pure.

Missing is unknown and never an error: every field here is written by controllers, piece by
piece, and an older Knative leaves some of them out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_MAX_SCALE: Final = ("autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale")

_MOST: Final = 2**63 - 1

Object = Mapping[str, Any]
"""One object of the API, parsed: any JSON may be in there."""


@dataclass(frozen=True, slots=True)
class Target:
    """One part of the traffic split."""

    revision: str
    percent: int
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """One Knative service, as it was when the API last spoke of it.

    Attributes:
        url: where the service is, by its own word.
        ready: the condition Ready; None: unknown, which it is during a rollout.
        routes_ready: the condition RoutesReady.
        current: the status speaks of the newest specification.
        replicas: pods of the latest ready revision; None: unknown.
        container_concurrency: calls at once in one pod; 0: no bound.
        max_scale: pods at most; 0: no bound.
    """

    url: str | None = None
    ready: bool | None = None
    reason: str = ""
    routes_ready: bool | None = None
    current: bool = False
    generation: int = 0
    latest_ready: str | None = None
    traffic: tuple[Target, ...] = ()
    replicas: int | None = None
    container_concurrency: int = 0
    max_scale: int = 0
    timeout_s: float | None = None
    response_start_s: float | None = None
    idle_s: float | None = None

    @property
    def asleep(self) -> bool | None:
        """Scaled to zero: healthy, and the next call waits for a pod. None: unknown."""
        return None if self.replicas is None else self.replicas == 0

    @property
    def serving(self) -> bool:
        """Some revision takes traffic, though a newer one may be rolling out or have failed."""
        if self.ready and self.current:
            return True
        return (
            self.latest_ready is not None
            and self.routes_ready is not False
            and any(target.percent for target in self.traffic)
        )

    def facts(self) -> dict[str, object]:
        """What an operator wants to see of it."""
        return {
            "url": self.url,
            "ready": self.ready,
            "reason": self.reason,
            "generation": self.generation,
            "generation_observed": self.current,
            "latest_ready_revision": self.latest_ready,
            "traffic": [
                {"revision": each.revision, "percent": each.percent, "tag": each.tag}
                for each in self.traffic
            ],
            "replicas": self.replicas,
            "container_concurrency": self.container_concurrency,
            "timeouts": {
                "total_s": self.timeout_s,
                "response_start_s": self.response_start_s,
                "idle_s": self.idle_s,
            },
        }


def read_service(service: Object, revisions: Iterable[Object] = ()) -> ServiceState:
    """Read a serving.knative.dev/v1 Service and those of its Revisions that are known.

    Concurrency, timeouts and scale are those of the latest ready revision, which serves; the
    service's template may describe one that is not ready yet.
    """
    status, meta = _part(service, "status"), _part(service, "metadata")
    latest = _text(status.get("latestReadyRevisionName"))
    revision = next(
        (each for each in revisions if _part(each, "metadata").get("name") == latest), None
    )
    template = _part(_part(service, "spec"), "template")
    described = revision if revision is not None else template
    spec, annotations = _part(described, "spec"), _part(_part(described, "metadata"), "annotations")
    ready, reason = _condition(status, "Ready")
    generation = _whole(meta.get("generation"))
    return ServiceState(
        url=_text(status.get("url")),
        ready=ready,
        reason=reason,
        routes_ready=_condition(status, "RoutesReady")[0],
        current=generation != 0 and _whole(status.get("observedGeneration")) == generation,
        generation=generation,
        latest_ready=latest,
        traffic=tuple(
            Target(
                revision=_text(each.get("revisionName")) or "",
                percent=_whole(each.get("percent")),
                tag=_text(each.get("tag")),
            )
            for each in _objects(status.get("traffic"))
        ),
        replicas=None if revision is None else _replicas(revision),
        container_concurrency=_whole(spec.get("containerConcurrency")),
        max_scale=next(
            (_digits(annotations[name]) for name in _MAX_SCALE if name in annotations), 0
        ),
        timeout_s=_seconds(spec.get("timeoutSeconds")),
        response_start_s=_seconds(spec.get("responseStartTimeoutSeconds")),
        idle_s=_seconds(spec.get("idleTimeoutSeconds")),
    )


def _replicas(revision: Object) -> int | None:
    status = _part(revision, "status")
    if "actualReplicas" in status:
        return _whole(status["actualReplicas"])
    active, _ = _condition(status, "Active")
    # An absent count is zero in the API's JSON; Active tells it from "nobody knows yet".
    return 0 if active is False else None


def _condition(status: Object, kind: str) -> tuple[bool | None, str]:
    """(True, False or unknown; the reason). A severity says that it is no failure."""
    for each in _objects(status.get("conditions")):
        if each.get("type") == kind and not each.get("severity"):
            told = {"True": True, "False": False}.get(str(each.get("status")))
            return told, _text(each.get("reason")) or ""
    return None, ""


def _part(whole: Object, name: str) -> Object:
    part = whole.get(name)
    return part if isinstance(part, dict) else {}


def _objects(value: object) -> Iterable[Object]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: object) -> int:
    """A number that the API's own type, an int32 or int64 that is not negative, can hold."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return value
    return 0


def _digits(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return 0


def _seconds(value: object) -> float | None:
    """A limit; None for 0, which means none, and for what is no number of seconds."""
    return float(value) if isinstance(value, int | float) and 0 < value <= _MOST else None
