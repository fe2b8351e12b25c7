"""The verbs about bundles: make one, check one, install, list, remove, install on every save."""

import signal
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.verbs.output import (
    Environ,
    as_json,
    as_json_lines,
    found_wrong,
    loaded_settings,
    log_errors_only,
    print_json,
    print_json_line,
    table,
    tenant_id,
)

if TYPE_CHECKING:
    from gateway.installs.contract import Install

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_EITHER = click.Path(exists=True, path_type=Path)

_for_tenant = click.option(
    "--tenant",
    callback=tenant_id("*"),
    help="Whose install it is; * is everybody's.  [default: the dev tenant]",
)


@click.group()
def bundle() -> None:
    """Make, check, install, list and remove extension bundles; `dev` installs on every save."""


@bundle.command()
@click.argument("directory", type=_FOLDER)
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write.  [default: DIRECTORY's name with .tar.zst, here]",
)
@as_json
def pack(directory: Path, *, out: Path | None, json: bool) -> None:
    """Pack an extension's folder into one archive and print its content hash."""
    from backends.bundles.errors import BundleError
    from backends.bundles.manifest import ManifestError, parse_manifest
    from backends.bundles.pack import pack as pack_bundle

    target = out or Path(f"{directory.resolve().name}.tar.zst")
    with found_wrong(BundleError, ManifestError, OSError):
        content_hash = pack_bundle(directory, target)
        warnings = parse_manifest((directory / "manifest.json").read_bytes()).warnings
    if json:
        print_json(
            {"ok": True, "content_hash": content_hash, "file": str(target), "warnings": warnings}
        )
    else:
        click.echo(f"{content_hash}  {target}")
        _warn(warnings)


@bundle.command()
@click.argument("file", type=_FILE)
@as_json
def verify(file: Path, *, json: bool) -> None:
    """Check an archive as an install would, without installing it."""
    from backends.bundles.errors import BundleError
    from backends.bundles.manifest import ManifestError
    from backends.bundles.store import BundleStore

    with (
        tempfile.TemporaryDirectory() as scratch,
        found_wrong(BundleError, ManifestError, OSError),
    ):
        checked = BundleStore(Path(scratch)).add(file)
    if json:
        print_json(
            {
                "ok": True,
                "content_hash": checked.content_hash,
                "extension": checked.manifest.slug,
                "version": checked.manifest.version,
                "capabilities": checked.manifest.capabilities,
                "warnings": checked.manifest.warnings,
            }
        )
        return
    click.echo(f"{checked.content_hash}  {checked.manifest.slug} {checked.manifest.version}")
    _warn(checked.manifest.warnings, err=False)  # they are what was asked for


@bundle.command()
@click.argument("source", type=_EITHER)
@_for_tenant
@as_json
@click.pass_obj
def install(environ: Environ, source: Path, *, tenant: str | None, json: bool) -> None:
    """Install an archive, or a folder, which is packed first."""
    from backends.bundles.errors import BundleError
    from backends.bundles.manifest import ManifestError
    from backends.bundles.pack import pack as pack_bundle
    from gateway.installs.changes import install_bundle
    from gateway.verbs.bundle_trial import HandlerTrials

    settings = loaded_settings(environ)
    log_errors_only()
    with (
        tempfile.TemporaryDirectory() as scratch,
        found_wrong(BundleError, ManifestError, OSError, ValueError),
    ):
        archive = source
        if source.is_dir():
            archive = Path(scratch) / "bundle.tar.zst"
            pack_bundle(source, archive)
        done = install_bundle(
            settings.embedded.bundle_dir,
            archive,
            tenant=tenant or settings.variables.gateway_dev_tenant,
        )
    if not json:
        click.echo(f"installed {_line(done)}")  # before the trial, which may compile for long
    warnings = _warnings(settings.embedded.bundle_dir, done)
    warnings += HandlerTrials(settings.embedded).warnings(done.content_hash)
    if json:
        print_json({"ok": True, "install": _facts(done), "warnings": warnings})
    else:
        _warn(warnings)


@bundle.command()
@click.argument("directory", type=_FOLDER)
@_for_tenant
@as_json_lines
@click.pass_obj
def dev(environ: Environ, directory: Path, *, tenant: str | None, json: bool) -> None:
    """Install a folder, and again whenever its files change, until Ctrl-C.

    With EXT_UI_RELOAD=true the gateway tells open pages, and they go to the new bundle.
    """
    from gateway.verbs.bundle_dev import NotInstalled, installs_of
    from gateway.verbs.bundle_trial import HandlerTrials

    settings = loaded_settings(environ)
    log_errors_only()
    trials = HandlerTrials(settings.embedded)
    if not settings.ui_reload:
        click.echo("note: open pages reload by themselves with EXT_UI_RELOAD=true", err=True)
    stop = threading.Event()
    # Not by KeyboardInterrupt: raised while something is being finalized, it would be lost.
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    states = installs_of(
        directory,
        settings.embedded.bundle_dir,
        tenant=tenant or settings.variables.gateway_dev_tenant,
        stop=stop,
    )
    for state in states:
        if isinstance(state, NotInstalled):
            if json:
                print_json_line({"ok": False, "problem": state.problem})
            else:
                click.echo(f"not installed: {state.problem}")
            continue
        if not json:  # before the trial, which may compile for long
            click.echo(f"installed {_line(state)}: {state.content_hash}")
        warnings = _warnings(settings.embedded.bundle_dir, state)
        warnings += trials.warnings(state.content_hash)
        if json:
            print_json_line({"ok": True, "install": _facts(state), "warnings": warnings})
        else:
            _warn(warnings)


@bundle.command("list")
@as_json
@click.pass_obj
def list_(environ: Environ, *, json: bool) -> None:
    """List what is installed."""
    from backends.bundles.errors import BundleError
    from gateway.installs.changes import list_installs

    settings = loaded_settings(environ)
    with found_wrong(BundleError, OSError, ValueError):
        installs = list_installs(settings.embedded.bundle_dir)
    if json:
        print_json({"ok": True, "installs": [_facts(one) for one in installs]})
    elif not installs:
        click.echo(f"nothing is installed in {settings.embedded.bundle_dir}")
    else:
        rows = [
            (one.tenant_id, one.extension_slug or "", one.version or "", one.content_hash)
            for one in installs
        ]
        click.echo(table(("tenant", "extension", "version", "content hash"), rows))


@bundle.command()
@click.argument("which")
@as_json
@click.pass_obj
def remove(environ: Environ, which: str, *, json: bool) -> None:
    """Remove an install: WHICH is its id, registry id or publisher.name."""
    from backends.bundles.errors import BundleError
    from gateway.installs.changes import remove_install
    from gateway.installs.contract import ExtensionNotInstalled

    settings = loaded_settings(environ)
    with found_wrong(BundleError, OSError, ValueError):
        try:
            gone = remove_install(settings.embedded.bundle_dir, which)
        except ExtensionNotInstalled:
            raise ValueError(f"nothing called {which} is installed") from None
    if json:
        print_json({"ok": True, "removed": _facts(gone)})
    else:
        click.echo(f"removed {_line(gone)}")


def _warnings(bundle_dir: Path, install: "Install") -> tuple[str, ...]:
    """What in the manifest of an installed bundle does not work as it is meant."""
    from backends.bundles.errors import BundleError
    from backends.bundles.store import BundleStore

    with suppress(BundleError):  # somebody has removed it since
        return BundleStore(bundle_dir).open(install.content_hash).manifest.warnings_here
    return ()


def _warn(warnings: Iterable[str], *, err: bool = True) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}", err=err)


def _line(install: "Install") -> str:
    return f"{install.extension_slug} {install.version} for {install.tenant_id}"


def _facts(install: "Install") -> Mapping[str, object]:
    return {
        "tenant": install.tenant_id,
        "extension": install.extension_slug,
        "version": install.version,
        "install_id": install.install_id,
        "registry_id": install.registry_id,
        "content_hash": install.content_hash,
        "granted": install.providers,
    }
