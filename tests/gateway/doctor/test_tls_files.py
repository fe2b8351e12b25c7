"""Certificates that are too old, too new, another's, or open to everybody."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from gateway.doctor.findings import Level
from gateway.verbs.certificates import make_certificates
from tests.gateway.doctor.rig import of, the_one, visit

NOW = datetime.now(UTC)


def serve(chain: Path, key: Path) -> dict[str, str]:
    return {"GATEWAY_TLS_CERT": str(chain), "GATEWAY_TLS_KEY": str(key)}


def issued(
    folder: Path, *names: str, not_before: datetime | None = None, not_after: datetime | None = None
) -> dict[str, str]:
    leaf = trustme.CA().issue_cert(*names, not_before=not_before, not_after=not_after)
    chain, key = folder / "chain.pem", folder / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(str(chain))
    leaf.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    return serve(chain, key)


async def test_what_certs_makes_is_fine(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    (found,) = of(await visit(**serve(made.server, made.server_key)), "tls")
    assert found.level is Level.OK


@pytest.mark.parametrize(
    ("from_days", "to_days", "level", "words"),
    [
        (-10, -1, Level.FAILED, "expired on"),
        (1, 90, Level.FAILED, "not valid before"),
        (-10, 5, Level.WARNING, "expires on"),
        (-10, 90, Level.OK, "good until"),
    ],
)
async def test_the_dates_are_judged(
    tmp_path: Path, from_days: int, to_days: int, level: Level, words: str
) -> None:
    files = issued(
        tmp_path,
        "127.0.0.1",
        not_before=NOW + timedelta(days=from_days),
        not_after=NOW + timedelta(days=to_days),
    )
    (found,) = of(await visit(**files), "tls")
    assert found.level is level
    assert words in found.what


async def test_a_key_of_another_certificate_is_found(tmp_path: Path) -> None:
    one, other = make_certificates(tmp_path / "1"), make_certificates(tmp_path / "2")
    (found,) = of(await visit(**serve(one.server, other.server_key)), "tls")
    assert found.level is Level.FAILED
    assert found.what.startswith("GATEWAY_TLS_KEY is not the key of")


async def test_a_file_that_is_no_certificate_is_found(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    made.server.write_text("not PEM")
    (found,) = of(await visit(**serve(made.server, made.server_key)), "tls")
    assert found.level is Level.FAILED


async def test_a_certificate_for_another_host_is_found(tmp_path: Path) -> None:
    found = the_one(await visit(**issued(tmp_path, "app.example")), "tls", "not for 127.0.0.1")
    assert found.level is Level.WARNING


async def test_a_key_that_others_may_read_is_found(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    made.server_key.chmod(0o644)
    found = the_one(await visit(**serve(made.server, made.server_key)), "tls", "other users")
    assert "chmod 600" in found.fix
