"""Which of the runner's containers take calls, where, and why not the others: a pure choice.

The same documents give the same answer, whatever their order; every container of the service
gets a word, so that `explain` can say why one was not taken.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from backends.docker_engine.documents import Document, count, instant, section, text
from backends.docker_engine.reachability import Found, Viewpoint, find_address

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
ONEOFF: Final = "com.docker.compose.oneoff"
NUMBER: Final = "com.docker.compose.container-number"

_ON_THEIR_WAY: Final = frozenset({
    "container_created", "container_restarting", "container_starting", "container_paused",
})  # fmt: skip
_NEAREST_FIRST: Final = (
    "port_not_published", "published_elsewhere", "no_port", "no_address", "several_projects",
    "container_starting", "container_unhealthy", "container_paused", "container_restarting",
    "container_created",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One container of the service, and the verdict on it."""

    container_id: str
    name: str
    project: str
    service: str
    number: int
    image: str
    digest: str
    state: str  # the engine's word: created, running, paused, restarting, exited, dead
    health: str  # healthy, unhealthy, starting; "none" without a health check
    started_at: str
    ports: tuple[str, ...]
    tty: bool
    url: str | None  # None: not taken
    why: str  # one machine word, for either verdict
    advice: str = ""

    @property
    def taken(self) -> bool:
        """Whether calls go there."""
        return self.url is not None

    @property
    def running(self) -> bool:
        """Whether its process lives, ready or not."""
        return self.state in ("running", "paused")

    @property
    def coming(self) -> bool:
        """Whether it may well be ready soon without anybody doing anything."""
        return self.why in _ON_THEIR_WAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which containers are the runner's."""

    service: str
    project: str | None  # None: there must be one only

    @property
    def labels(self) -> tuple[str, ...]:
        """As the engine filters by them."""
        service = f"{SERVICE}={self.service}"
        return (service, PROJECT if self.project is None else f"{PROJECT}={self.project}")


def choose(
    documents: Iterable[Document],
    scope: Scope,
    view: Viewpoint,
    owners: Mapping[str, Document] | None = None,
) -> tuple[Candidate, ...]:
    """A verdict on every container of the service.

    Args:
        documents: what the engine says of each container.
        owners: the containers whose network others use, by the name that those use.

    Returns:
        In the order of project, number, name and id. One-off containers (`compose run`) and
        containers of other services are not among them.
    """
    known = owners or {}
    judged = sorted(
        (_judge(each, view, known) for each in documents if _in_scope(each, scope)),
        key=lambda each: (each.project, each.number, each.name, each.container_id),
    )
    projects = {each.project for each in judged if each.taken}
    if len(projects) < 2:
        return tuple(judged)
    advice = "set RUNNER_DOCKER_PROJECT to one of them"
    return tuple(
        replace(each, url=None, why="several_projects", advice=advice) if each.taken else each
        for each in judged
    )


def nearest(candidates: Iterable[Candidate]) -> tuple[str, str]:
    """Why none is taken: the word and advice of the one that comes closest to it."""
    advice: dict[str, str] = defaultdict(str)
    for each in candidates:
        advice.setdefault(each.why, each.advice)
    if not advice:
        return "no_container", "start the runner: docker compose up"
    why = next((word for word in _NEAREST_FIRST if word in advice), next(iter(advice)))
    return why, advice[why]


def _in_scope(document: Document, scope: Scope) -> bool:
    labels = section(document, "Config", "Labels")
    project = text(labels.get(PROJECT))
    return (
        bool(text(document.get("Id")))
        and text(labels.get(SERVICE)) == scope.service
        and project != ""
        and scope.project in (None, project)
        and text(labels.get(ONEOFF)).lower() != "true"
    )


def _judge(document: Document, view: Viewpoint, owners: Mapping[str, Document]) -> Candidate:
    config, state = section(document, "Config"), section(document, "State")
    labels = section(config, "Labels")
    found = _refusal(state) or find_address(document, view, owners)
    return Candidate(
        container_id=text(document.get("Id")),
        name=text(document.get("Name")).lstrip("/"),
        project=text(labels.get(PROJECT)),
        service=text(labels.get(SERVICE)),
        number=count(labels.get(NUMBER)) or 0,
        image=text(config.get("Image")),
        digest=text(document.get("Image")),
        state=_status(state),
        health=_health(state),
        started_at=instant(state.get("StartedAt")),
        ports=tuple(sorted(_ports(document))),
        tty=config.get("Tty") is True,
        url=found.url,
        why=found.why,
        advice=found.advice,
    )


def _refusal(state: Document) -> Found | None:
    status, health = _status(state), _health(state)
    if status != "running":
        known = status in ("created", "paused", "restarting")
        why = f"container_{status}" if known else "container_not_running"
        paused = status == "paused"
        advice = "docker compose unpause" if paused else "docker compose up, or wait for it"
        return Found(url=None, why=why, advice=advice)
    if health == "starting":
        return Found(url=None, why="container_starting", advice="its health check has yet to pass")
    if health == "unhealthy":
        return Found(url=None, why="container_unhealthy", advice="see its log: logs -f")
    return None


def _status(state: Document) -> str:
    for flag in ("Restarting", "Paused", "Dead"):  # Running stays true under the first two
        if state.get(flag) is True:
            return flag.lower()
    return text(state.get("Status")).lower() or "unknown"


def _health(state: Document) -> str:
    said = text(section(state, "Health").get("Status")).lower()
    # A word that nobody knows is no proof of health.
    return {"": "none", "none": "none", "healthy": "healthy", "starting": "starting"}.get(
        said, "unhealthy"
    )


def _ports(document: Document) -> Iterable[str]:
    """As `docker ps` writes them: 127.0.0.1:32768->8080/tcp, or 8080/tcp alone."""
    for inner, bindings in section(document, "NetworkSettings", "Ports").items():
        outer = [
            each
            for each in (bindings if isinstance(bindings, list) else ())
            if isinstance(each, Mapping)
        ]
        if not outer:
            yield text(inner)
        for each in outer:
            yield f"{text(each.get('HostIp')) or '*'}:{text(each.get('HostPort'))}->{text(inner)}"
