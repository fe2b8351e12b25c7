"""The docker backend: which engine, which containers, and why not the others."""

from collections.abc import Iterator, Sequence

from backends.docker_engine.address import EngineNotFound, find_engine
from backends.docker_engine.candidates import Scope
from backends.docker_engine.watch import ContainerWatch, Snapshot
from backends.settings import DockerSettings
from gateway.doctor.case import Case, shown_address
from gateway.doctor.findings import Finding, failed, ok, warning


async def check(case: Case) -> Sequence[Finding]:
    docker = case.settings.backend
    if not isinstance(docker, DockerSettings):
        return []
    if docker.host_url is not None:
        named = shown_address(docker.host_url)
        return [ok("docker", f"RUNNER_DOCKER_HOST names {named}: no engine is asked")]
    try:
        engine = find_engine(docker.engine)
    except EngineNotFound as missing:
        return [_without(docker.fallback_url, missing.reason, missing.detail)]
    watch = ContainerWatch(
        lambda: engine,
        Scope(service=docker.service, project=docker.project),
        own_container=docker.engine.own_container,
    )
    await watch.start()
    await watch.aclose()
    found = ok("docker", f"engine {engine.url} ({engine.why})")
    return [found, *_containers(docker, watch.snapshot)]


def _containers(docker: DockerSettings, snapshot: Snapshot) -> Iterator[Finding]:
    for each in snapshot.candidates:
        if each.taken:
            yield ok("docker", f"{each.name} takes calls at {each.url} ({each.why})")
        elif snapshot.taken:
            why = "calls go to the others"
            yield warning(
                "docker", f"{each.name} takes no calls: {each.why}", why, _fix(each.advice)
            )
    if not snapshot.taken:
        reason, advice = snapshot.why_none
        yield _without(docker.fallback_url if snapshot.is_empty else None, reason, advice)


def _without(fallback_url: str | None, reason: str, advice: str) -> Finding:
    if fallback_url is not None:
        why = f"RUNNER_BASE_URL ({shown_address(fallback_url)}) is used instead"
        return warning("docker", f"no container: {reason}", why, _fix(advice))
    why = "calls are refused"
    return failed("docker", f"no container takes calls: {reason}", why, _fix(advice))


def _fix(advice: str) -> str:
    return advice or "python -m gateway explain says more"
