"""`parity`: the same questions to every backend, and where their answers differ."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from gateway.verbs.output import (
    Environ,
    as_json,
    loaded_settings,
    log_errors_only,
    print_json,
    table,
    tenant_id,
)

if TYPE_CHECKING:
    from gateway.installs.contract import Install
    from gateway.parity.comparison import Compared
    from gateway.settings import Settings


@click.command()
@click.argument("extension", required=False)
@click.option(
    "--tenant", callback=tenant_id(), help="Whose install.  [default: GATEWAY_DEV_TENANT]"
)
@as_json
@click.pass_obj
def parity(environ: Environ, *, extension: str | None, tenant: str | None, json: bool) -> None:
    """Ask every backend the same and print where answers differ; ends with 1 when one does.

    EXTENSION is an install's id or name; without it, the first that is installed. Nothing is
    changed: files are fetched, endpoints for GET are called, and refusals are provoked. At
    least two backends have to be reachable: what the settings say of docker and knative
    counts, whichever is chosen.
    """
    settings = loaded_settings(environ)
    log_errors_only()
    tenant = tenant or settings.variables.gateway_dev_tenant
    sys.exit(asyncio.run(_parity(settings, extension, tenant, json=json)))


async def _parity(settings: "Settings", extension: str | None, tenant: str, *, json: bool) -> int:
    from gateway.parity.comparison import compare
    from gateway.parity.questions import questions
    from gateway.parity.subjects import LeftOut, described, serving

    install = await _install(settings, extension, tenant)
    origins: dict[str, str] = {}
    left_out: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        for kind, backend in described(settings).items():
            try:
                origins[kind.value] = await stack.enter_async_context(
                    serving(settings, backend, tenant=install.tenant_id)
                )
            except LeftOut as why:
                left_out[kind.value] = why.reason
        compared = await compare(origins, questions(install)) if len(origins) > 1 else []
    is_ok = bool(compared) and not any(each.differences for each in compared)
    if json:
        _print_json(install, list(origins), left_out, compared, is_ok=is_ok)
    else:
        _print(list(origins), left_out, compared)
    return 0 if is_ok else 1


async def _install(settings: "Settings", extension: str | None, tenant: str) -> "Install":
    from gateway.installs.contract import ExtensionNotInstalled, RegistryUnavailable
    from gateway.installs.factory import open_installs

    installs = open_installs(settings)
    try:
        if extension is not None:
            return await installs.resolve(tenant, extension)
        for install in await installs.all(tenant):
            return install
    except ExtensionNotInstalled as why:
        raise click.ClickException(f"{extension} is not installed ({why.reason})") from None
    except RegistryUnavailable:
        raise click.ClickException("the registry of installs does not answer") from None
    finally:
        await installs.aclose()
    raise click.ClickException("nothing is installed: name an extension, or install one first")


def _print(kinds: list[str], left_out: Mapping[str, str], compared: "list[Compared]") -> None:
    if compared:
        rows = [
            (
                each.question.name,
                *(str(each.statuses[kind] or "-") for kind in kinds),
                f"differ: {', '.join(each.differences)}" if each.differences else "alike",
            )
            for each in compared
        ]
        click.echo(table(("question", *kinds, "answers"), rows))
    for kind, why in left_out.items():
        click.echo(f"note: {kind} is left out: {why}")
    if not compared:
        click.echo("there are no two backends to compare", err=True)


def _print_json(
    install: "Install",
    kinds: list[str],
    left_out: Mapping[str, str],
    compared: "list[Compared]",
    *,
    is_ok: bool,
) -> None:
    print_json(
        {
            "ok": is_ok,
            "extension": install.extension_slug or install.registry_id,
            "compared": kinds,
            "left_out": dict(left_out),
            "questions": [
                {
                    "name": each.question.name,
                    "method": each.question.method,
                    "target": each.question.target,
                    "statuses": dict(each.statuses),
                    "differences": each.differences,
                }
                for each in compared
            ],
        }
    )
