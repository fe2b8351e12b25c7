"""The verbs. Each reads the settings, calls the module that does the work, and reports.

That module is imported inside its verb: `check` and `--help` answer without waiting for a
WebAssembly engine to load. Exit codes: 0 ok, 1 found wrong, 2 used wrong.
"""

import os
import sys
from dataclasses import asdict

import click

from gateway.verbs.bundle import bundle
from gateway.verbs.certs import certs
from gateway.verbs.containers import explain, logs
from gateway.verbs.doctor import doctor
from gateway.verbs.output import (
    Environ,
    as_json,
    loaded_settings,
    output_refused,
    print_json,
    settings_reported,
    table,
)
from gateway.verbs.parity import parity


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="extension-gateway", message="%(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """One door in front of extension runners. Without a verb: serve.

    Everything is configured by environment variables, or by NAME=value lines in .env;
    `check` lists them.
    """
    if context.invoked_subcommand is None:
        context.invoke(serve)


@cli.command()
@click.pass_obj
def serve(environ: Environ) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    SIGHUP reloads its settings; SIGUSR2 hands its port to a new instance of the program.
    """
    from gateway.start import load_and_start

    with settings_reported():
        sys.exit(load_and_start(environ))


@cli.command()
@as_json
@click.pass_obj
def check(environ: Environ, *, json: bool) -> None:
    """Validate the settings without starting, and show what counts."""
    from gateway.settings import effective
    from gateway.sockets.tls import certificate_of
    from gateway.variables.environment import mistaken_and_others, unread_warning

    settings = loaded_settings(environ)
    with settings_reported():
        certificate_of(settings.listen)
    rows = effective(settings)
    if json:
        print_json(
            {
                "ok": True,
                "env_file": None if settings.env_file is None else str(settings.env_file),
                "settings": [asdict(row) for row in rows],
                "pinned_by_environment": settings.pinned,
                "unread": settings.unread,
                "unused": [asdict(one) for one in settings.unused],
            }
        )
        return
    click.echo(
        table(
            ("variable", "value", "origin", "tier"),
            [(row.variable, row.value, row.origin, row.tier) for row in rows],
        )
    )
    for name in settings.pinned:
        click.echo(f"note: {name} in the env file is overruled by the process environment.")
    mistaken, others = mistaken_and_others(settings.unread)
    for name in mistaken:
        click.echo(f"note: {unread_warning(name)}")
    if others:
        click.echo(f"note: {unread_warning(*others)}")
    for one in settings.unused:
        click.echo(f"warning: {one}")


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port.  [default: PORT, or 8080]")
@click.pass_obj
def runner(environ: Environ, *, host: str, port: int | None) -> None:
    """Serve the embedded backend over the runner protocol, for another gateway to use."""
    from gateway.process import asking_signals

    asking_signals.remember()  # before anything that takes its time
    from gateway.variables.forms import is_host
    from gateway.variables.rules import is_loopback

    if not is_host(host):
        raise click.BadParameter(
            f"{host!r} is neither an address nor a host name", param_hint="'--host'"
        )
    settings = loaded_settings(environ)
    if settings.service_token is None and not is_loopback(host):
        raise click.UsageError(
            "Beyond loopback anybody could run extensions: set RUNNER_SERVICE_TOKEN first."
        )
    from gateway.runner_app import run_runner

    sys.exit(
        run_runner(
            settings, environ, host=host, port=settings.runner_port if port is None else port
        )
    )


cli.add_command(bundle)
cli.add_command(certs)
cli.add_command(doctor)
cli.add_command(explain)
cli.add_command(logs)
cli.add_command(parity)


def main() -> None:
    """The program with its verbs. Nothing below it and `__main__` looks at the environment."""
    try:
        cli(obj=dict(os.environ))
    except OSError as failure:
        if (refused := output_refused()) is None:
            raise
        sys.exit(f"Error: standard output takes no more: {refused.strerror or failure}")
