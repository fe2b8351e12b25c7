"""Toward an ingress with a private authority, and one that wants to know who calls."""

import ssl
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from backends.errors import BackendError, RunnerUnreachable
from backends.knative import open_knative
from backends.settings import KnativeSettings, KnativeTls
from tests.backends.calls import execute_request
from tests.fakes.raw_runner import RawRunner, response, send

HOST = "runner.extensions.example.com"
ANSWER = b'{"status":200,"headers":{},"body_b64":null,"error":null}'


@dataclass(frozen=True, slots=True)
class Files:
    ca: Path
    cert: Path
    key: Path


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Files:
    own = authority.issue_cert("gateway.extensions.example.com")
    files = Files(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    authority.cert_pem.write_to_path(str(files.ca))
    own.cert_chain_pems[0].write_to_path(str(files.cert))
    own.private_key_pem.write_to_path(str(files.key))
    return files


@pytest.fixture
async def ingress(authority: trustme.CA) -> AsyncIterator[RawRunner]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    async with RawRunner(send(response(ANSWER)), tls=tls) as ingress:
        yield ingress


async def test_files_are_not_read_on_the_loops_thread(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(
        "backends.knative.client_context", lambda _: looked.append(threading.get_ident())
    )
    tls = KnativeTls(ca_file=files.ca)
    backend = await open_knative(KnativeSettings(base_url="https://ingress.invalid", tls=tls))
    await backend.aclose()
    assert len(looked) == 1
    assert threading.get_ident() not in looked


async def test_each_proves_to_the_other_who_it_is(ingress: RawRunner, files: Files) -> None:
    tls = KnativeTls(ca_file=files.ca, client_cert=files.cert, client_key=files.key)
    backend = await open_knative(KnativeSettings(base_url=ingress.url, host=HOST, tls=tls))
    result = await backend.execute(execute_request())
    await backend.aclose()
    assert result.status == 200


async def test_without_the_authority_the_ingress_is_not_believed(ingress: RawRunner) -> None:
    backend = await open_knative(KnativeSettings(base_url=ingress.url, host=HOST))
    with pytest.raises(RunnerUnreachable, match="tls_failed"):
        await backend.execute(execute_request())
    await backend.aclose()


async def test_without_a_certificate_the_ingress_sends_us_away(
    ingress: RawRunner, files: Files
) -> None:
    tls = KnativeTls(ca_file=files.ca)
    backend = await open_knative(KnativeSettings(base_url=ingress.url, host=HOST, tls=tls))
    with pytest.raises(BackendError):
        await backend.execute(execute_request())
    await backend.aclose()


@pytest.mark.parametrize("broken", ["ca", "cert"])
async def test_a_file_that_is_no_certificate_is_refused_without_its_content(
    files: Files, broken: str
) -> None:
    getattr(files, broken).write_text("hush-hush")
    tls = KnativeTls(ca_file=files.ca, client_cert=files.cert, client_key=files.key)
    with pytest.raises(ValueError, match="usable") as caught:
        await open_knative(KnativeSettings(base_url="https://ingress.example", tls=tls))
    assert "hush" not in str(caught.value)
