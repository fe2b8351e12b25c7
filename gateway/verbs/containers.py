"""`explain` and `logs`: what is known of the runner's containers, and what they write."""

import asyncio
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import orjson

from gateway.verbs.output import (
    Environ,
    as_json,
    as_json_lines,
    loaded_settings,
    log_errors_only,
    print_json,
    print_json_line,
    table,
)

if TYPE_CHECKING:  # `--help` must not wait for the web framework
    import aiohttp

    from backends.docker_engine.candidates import Candidate
    from backends.docker_engine.watch import ContainerWatch
    from backends.settings import DockerSettings
    from gateway.logs.stream import LogQuery
    from gateway.settings import Settings

_ANSWER_S = 30.0
_MAX_PROBLEM_BYTES = 64 * 1024
_SILENCE_S = 40.0  # more than two of the heartbeats that a gateway sends
# Whatever a container writes must not act on this terminal.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 9}


@click.command()
@as_json
@click.pass_obj
def explain(environ: Environ, *, json: bool) -> None:
    """Say where the runner's containers are, which take calls, and why the others do not."""
    settings = loaded_settings(environ)
    log_errors_only()
    sys.exit(asyncio.run(_explain(settings, json=json)))


async def _explain(settings: "Settings", *, json: bool) -> int:
    docker = _docker(settings)
    if docker.host_url is not None:
        if json:
            print_json({"ok": True, "address": docker.host_url, "why": "RUNNER_DOCKER_HOST"})
        else:
            click.echo(f"runner   {docker.host_url} (RUNNER_DOCKER_HOST: nothing is looked for)")
        return 0
    watch = await _watching(settings)
    await watch.aclose()
    snapshot = watch.snapshot
    fallback = docker.fallback_url if snapshot.is_empty else None
    is_found = bool(snapshot.taken) and not snapshot.fault
    if json:
        print_json(_document(docker, watch, fallback, is_found=is_found))
    else:
        _print_found(docker, watch)
        if fallback is not None:
            why, _ = snapshot.why_none
            click.echo(f"runner   {fallback} (RUNNER_BASE_URL, the fallback: {why})")
        elif not is_found:
            why, advice = snapshot.why_none
            click.echo(f"no runner: {why}; {advice}", err=True)
    return 0 if is_found or fallback else 1


def _document(
    docker: "DockerSettings", watch: "ContainerWatch", fallback: str | None, *, is_found: bool
) -> dict[str, object]:
    engine, snapshot = watch.address, watch.snapshot
    why, advice = snapshot.why_none
    address = {} if fallback is None else {"address": fallback, "why": "fallback"}
    return {
        "ok": is_found or fallback is not None,
        **address,
        "engine": None if engine is None else {"url": engine.url, "why": engine.why},
        "project": docker.project,
        "service": docker.service,
        "problem": None if is_found else {"reason": why, "advice": advice},
        "candidates": [asdict(each) | {"taken": each.taken} for each in snapshot.candidates],
    }


def _print_found(docker: "DockerSettings", watch: "ContainerWatch") -> None:
    engine, candidates = watch.address, watch.snapshot.candidates
    click.echo(f"engine   {f'{engine.url} ({engine.why})' if engine else 'none'}")
    click.echo(f"service  {docker.service}, project {docker.project or '(any)'}")
    if candidates:
        head = ("container", "state", "health", "address", "verdict")
        click.echo(table(head, [_row(each) for each in candidates]))


def _row(each: "Candidate") -> tuple[str, ...]:
    verdict = f"taken: {each.why}" if each.taken else f"not taken: {each.why}; {each.advice}"
    return (each.name, each.state, each.health, each.url or "-", verdict)


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with lines as they come.")
@click.option("--request", "request_id", help="Only lines that name this request.")
@click.option("--tail", type=click.IntRange(0, 1000), default=200, show_default=True)
@as_json_lines
@click.pass_obj
def logs(environ: Environ, *, follow: bool, request_id: str | None, tail: int, json: bool) -> None:
    """Show the gateway's and the runner's log lines; the runner's alone without a gateway."""
    from backends.contract import REQUEST_ID_FORM
    from gateway.logs.stream import LogQuery

    if request_id is not None and REQUEST_ID_FORM.fullmatch(request_id) is None:
        raise click.BadParameter(
            f"{request_id!r} is not 1 to 128 of A-Z a-z 0-9 . _ : -", param_hint="'--request'"
        )
    settings = loaded_settings(environ)
    log_errors_only()
    query = LogQuery(follow=follow, tail=tail, request_id=request_id)
    try:
        asyncio.run(_show(settings, query, json=json))
    except KeyboardInterrupt:  # how one stops following
        return


async def _show(settings: "Settings", query: "LogQuery", *, json: bool) -> None:
    import aiohttp

    try:
        await _print(_from_gateway(settings, query), json=json)
    except aiohttp.ClientSSLError:
        raise click.ClickException(
            f"{_origin(settings)} speaks no TLS, or shows another certificate than GATEWAY_TLS_CERT"
        ) from None
    except aiohttp.ClientConnectorError:
        click.echo(
            "note: no gateway answers here; these are the containers' lines alone.", err=True
        )
        await _print(_from_engine(settings, query), json=json)
    except (aiohttp.ClientError, TimeoutError):
        raise click.ClickException(
            f"{_origin(settings)} broke off: a gateway that stops, or one with other GATEWAY_TLS_*"
        ) from None


async def _print(events: AsyncGenerator[dict[str, Any], None], *, json: bool) -> None:
    async with aclosing(events):
        async for event in events:
            if json:
                print_json_line(event)
                continue
            text = str(event.get("text", "")).translate(_CONTROL)
            click.echo(f"{event.get('container') or event.get('source')} | {text}")


async def _from_gateway(
    settings: "Settings", query: "LogQuery"
) -> AsyncGenerator[dict[str, Any], None]:
    """The gateway that these settings describe, asked over its admin route."""
    import aiohttp

    url = f"{_origin(settings)}/gateway/v1/logs"
    params = {"follow": str(query.follow).lower(), "tail": str(query.tail)}
    if query.request_id is not None:
        params["request"] = query.request_id
    token = settings.admin_token
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=_SILENCE_S)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        async with asyncio.timeout(_ANSWER_S):
            answer = await session.get(
                url, params=params, ssl=_pinned(settings), allow_redirects=False
            )
        async with answer:
            if answer.status != 200:
                raise click.ClickException(await _refusal(answer))
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield orjson.loads(line.removeprefix(b"data: "))


def _origin(settings: "Settings") -> str:
    listen = settings.listen
    host = "127.0.0.1" if listen.host in {"0.0.0.0", "::"} else listen.host  # noqa: S104
    scheme = "http" if listen.tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listen.port}"


async def _refusal(answer: "aiohttp.ClientResponse") -> str:
    """What a problem document says of itself; whatever listens there may have written it."""
    said = f"HTTP {answer.status}"
    if answer.content_type != "application/problem+json":
        return f"{answer.url.origin()} is no gateway: it answers {said}"
    try:
        detail = str(orjson.loads(await answer.content.read(_MAX_PROBLEM_BYTES))["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway refuses: {said}"
    fix = "; see GATEWAY_ADMIN_TOKEN" if answer.status in {401, 403} else ""
    return f"the gateway refuses: {detail.translate(_CONTROL)} ({said}{fix})"


def _pinned(settings: "Settings") -> "ssl.SSLContext | bool":
    """Trust the gateway's own certificate and no other: it is rarely made out to loopback."""
    certificate = settings.listen.tls_cert
    if certificate is None:
        return True
    try:
        context = ssl.create_default_context(cafile=certificate)
    except OSError:
        raise click.ClickException("GATEWAY_TLS_CERT holds no readable certificates") from None
    context.check_hostname = False
    return context


async def _from_engine(
    settings: "Settings", query: "LogQuery"
) -> AsyncGenerator[dict[str, Any], None]:
    """The containers' lines, without a gateway between."""
    from backends.docker_engine.log_follow import follow_logs
    from middleware.redaction import Redactor

    redact = Redactor(lambda: settings.secrets_now)
    watch = await _watching(settings)
    try:
        if not watch.snapshot.candidates:
            why, advice = watch.snapshot.why_none
            raise click.ClickException(f"no runner: {why}; {advice}")
        tail = None if query.request_id else query.tail
        async with aclosing(follow_logs(watch, follow=query.follow, tail=tail)) as lines:
            async for line in lines:
                if query.request_id is None or query.request_id in line.text:
                    text = redact(None, "", {"text": line.text})["text"]
                    yield {
                        "source": "runner",
                        "ts": line.at,
                        "text": text,
                        "container": line.container,
                    }
    finally:
        await watch.aclose()


async def _watching(settings: "Settings") -> "ContainerWatch":
    from backends.docker_engine.address import find_engine
    from backends.docker_engine.candidates import Scope
    from backends.docker_engine.watch import ContainerWatch

    docker = _docker(settings)
    watch = ContainerWatch(
        lambda: find_engine(docker.engine),
        Scope(service=docker.service, project=docker.project),
        own_container=docker.engine.own_container,
    )
    await watch.start()
    return watch


def _docker(settings: "Settings") -> "DockerSettings":
    """Also while another backend is chosen: one looks before one swaps."""
    from gateway.variables.backends import docker_settings

    return docker_settings(settings.variables)
