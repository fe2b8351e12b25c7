"""From variables to what the knative backend is opened with."""

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from backends.settings import KnativeSettings, ServingApi
from gateway.settings import SettingsError, changed, load

BASE = {"RUNNER_BASE_URL": "http://ingress.example"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a developer's own .env must not decide a test


def knative(**variables: str) -> KnativeSettings:
    backend = load({**BASE, **variables}, on_terminal=False).backend
    assert isinstance(backend, KnativeSettings)
    return backend


def test_a_service_is_looked_up_where_the_pod_or_the_kubeconfig_says() -> None:
    named = {"RUNNER_KNATIVE_NAMESPACE": "extensions", "RUNNER_KNATIVE_SERVICE": "runner"}
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert knative(**named, **inside).serving == ServingApi(
        namespace="extensions", service="runner", api_host="10.0.0.1", api_port="443"
    )
    outside = knative(**named, KUBECONFIG="/a:/b").serving
    assert outside == ServingApi(namespace="extensions", service="runner", kubeconfig="/a:/b")


def test_a_cluster_around_the_gateway_changes_nothing_by_itself() -> None:
    assert knative(KUBERNETES_SERVICE_HOST="10.0.0.1", KUBECONFIG="/nowhere") == knative()


def test_the_budget_for_starts_is_part_of_the_calls() -> None:
    assert knative(RUNNER_KNATIVE_COLD_START_MS="2500").cold_start_s == 2.5
    with pytest.raises(SettingsError, match="RUNNER_KNATIVE_COLD_START_MS"):
        knative(RUNNER_KNATIVE_COLD_START_MS="30001")


@pytest.mark.parametrize(
    ("given", "blamed"),
    [
        ({"RUNNER_KNATIVE_SERVICE": "runner"}, "RUNNER_KNATIVE_NAMESPACE"),
        ({"RUNNER_KNATIVE_NAMESPACE": "extensions"}, "RUNNER_KNATIVE_SERVICE"),
        (
            {"RUNNER_KNATIVE_NAMESPACE": "a/../b", "RUNNER_KNATIVE_SERVICE": "runner"},
            "RUNNER_KNATIVE_NAMESPACE",
        ),
    ],
)
def test_half_a_name_or_a_strange_one_is_refused(given: dict[str, str], blamed: str) -> None:
    with pytest.raises(SettingsError, match=blamed):
        knative(**given)


def test_a_renewed_certificate_is_a_change_that_a_reload_sees(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    variables = {**BASE, "RUNNER_KNATIVE_CA_FILE": str(ca)}
    before = load(variables, on_terminal=False)
    assert not changed(before, load(variables, on_terminal=False))
    trustme.CA().cert_pem.write_to_path(str(ca))
    assert changed(before, load(variables, on_terminal=False))


def test_files_that_tls_cannot_be_spoken_with_are_blamed(tmp_path: Path) -> None:
    mine = trustme.CA().issue_cert("gateway.example")
    other_key = trustme.CA().issue_cert("gateway.example").private_key_pem.bytes()
    locked_key = load_pem_private_key(mine.private_key_pem.bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush-hush")
    )
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    ca.write_text("hush-hush")
    mine.cert_chain_pems[0].write_to_path(str(cert))
    client = {"RUNNER_KNATIVE_CLIENT_CERT": str(cert), "RUNNER_KNATIVE_CLIENT_KEY": str(key)}
    with pytest.raises(SettingsError, match="RUNNER_KNATIVE_CA_FILE") as refused:
        knative(RUNNER_KNATIVE_CA_FILE=str(ca))
    assert "hush" not in str(refused.value)
    for unusable in (other_key, locked_key, b"no key"):
        key.write_bytes(unusable)
        with pytest.raises(SettingsError, match="RUNNER_KNATIVE_CLIENT_CERT"):
            knative(**client)
    mine.private_key_pem.write_to_path(str(key))
    assert knative(**client).tls.client_key == key
