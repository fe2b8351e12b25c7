"""`certs`: HTTPS on this machine, in one command and one act of trust."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.verbs.output import as_json, found_wrong, print_json

if TYPE_CHECKING:  # `--help` must not wait for the cryptography library
    from gateway.verbs.certificates import Certificates


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".gateway/tls"),
    show_default=True,
    help="The folder for the files; an authority that is there is used again.",
)
@as_json
def certs(*, out: Path, json: bool) -> None:
    """Make a certificate for localhost, 127.0.0.1 and ::1, and say how to trust it."""
    from gateway.verbs.certificates import CertificatesUnusable, make_certificates

    with found_wrong(CertificatesUnusable, OSError):
        made = make_certificates(out)
    if json:
        print_json(
            {
                "ok": True,
                "authority": str(made.authority),
                "authority_is_new": made.authority_is_new,
                "expires_at": made.expires_at,
                "settings": _settings(made),
            }
        )
        return
    click.echo(f"{made.server}: localhost, 127.0.0.1, ::1, until {made.expires_at:%Y-%m-%d}\n")
    click.echo("Serve it:")
    for name, value in _settings(made).items():
        click.echo(f"  {name}={value}")
    known = "" if made.authority_is_new else " (not again: it is the one from before)"
    click.echo(f"\nTrust its authority, once{known}:")
    for where, command in _ways_to_trust(made.authority):
        click.echo(f"  {where:<18} {command}")


def _settings(made: "Certificates") -> dict[str, str]:
    return {"GATEWAY_TLS_CERT": str(made.server), "GATEWAY_TLS_KEY": str(made.server_key)}


def _ways_to_trust(authority: Path) -> list[tuple[str, str]]:
    file = f'"{authority.resolve()}"'
    return [
        (
            "Debian, Ubuntu",
            f"sudo cp {file} /usr/local/share/ca-certificates/extension-gateway.crt"
            " && sudo update-ca-certificates",
        ),
        ("Fedora", f"sudo trust anchor {file}"),
        (
            "macOS",
            "security add-trusted-cert -r trustRoot"
            f" -k ~/Library/Keychains/login.keychain-db {file}",
        ),
        ("Windows", f"certutil -user -addstore Root {file}"),
        (
            "Chromium on Linux",
            f'certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n "extension gateway" -i {file}',
        ),
        ("Firefox", "Settings, Certificates, Authorities, Import"),
        ("Node.js, Next.js", f"NODE_EXTRA_CA_CERTS={file}"),
        ("curl", f"curl --cacert {file} https://localhost:8787/healthz"),
    ]
