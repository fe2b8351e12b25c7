"""What deploy/ and compose.yaml say is what Kubernetes, Knative and the gateway understand."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml  # type: ignore[import-untyped]  # it has no types
from cloudcoil.models.knative_serving.serving import v1 as knative

from gateway.settings import load
from gateway.variable_table import VARIABLES
from tests.repo.files import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = "1.33"
WAYS = ("deployment", "knative", "runner")
NOT_MANIFESTS = {"kustomization.yaml", "images.yaml"}
DEPLOYED = [*sorted(path for path in DEPLOY.rglob("*") if path.is_file()), ROOT / "compose.yaml"]
VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
NOT_SETTINGS = {
    # What the stack asks of whoever starts it,
    "APP_SESSION_SECRET", "BASE_IMAGE", "BUILD_NETWORK", "NODE_IMAGE", "RUNNER_COMMAND",
    "RUNNER_IMAGE", "STACK_APP_PORT", "STACK_IMAGE", "STACK_RUNNER_PORT", "STACK_USER",
    # and what it tells images that are not the gateway.
    "GATEWAY_URL", "HEALTHCHECK_PORT", "NEXT_TELEMETRY_DISABLED", "SESSION_SECRET",
}  # fmt: skip

Manifest = dict[str, Any]


def manifests(path: Path) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


FILES = [path for path in sorted(DEPLOY.rglob("*.yaml")) if path.name not in NOT_MANIFESTS]


def check(manifest: Manifest) -> None:
    """Raises when the manifest is not valid, or says something that nobody would read."""
    if manifest["apiVersion"].startswith("serving.knative.dev/"):
        read = knative.Service.model_validate(manifest)
        told = read.model_dump(by_alias=True, exclude_unset=True, mode="json")
        assert not list(lost(manifest, told))
    else:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def lost(said: Any, understood: Any, at: str = "") -> Iterator[str]:
    """The places that a model has not understood."""
    if isinstance(said, dict):
        for name, value in said.items():
            if not isinstance(understood, dict) or name not in understood:
                yield f"{at}.{name}"
            else:
                yield from lost(value, understood[name], f"{at}.{name}")
    elif isinstance(said, list):
        for number, (one, other) in enumerate(zip(said, understood, strict=True)):
            yield from lost(one, other, f"{at}[{number}]")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_manifest_fits_its_schema(path: Path) -> None:
    for manifest in manifests(path):
        check(manifest)


@pytest.mark.parametrize("name", ["deployment/deployment.yaml", "knative/service.yaml"])
def test_a_misspelt_field_is_found(name: str) -> None:
    (manifest,) = manifests(DEPLOY / name)
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises((AssertionError, kubernetes_validate.ValidationError)):
        check(manifest)


@pytest.mark.parametrize("way", WAYS)
def test_kustomize_puts_them_together(way: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ("kubectl", "kustomize", DEPLOY / way), capture_output=True, text=True, check=True
    )
    built = [each for each in yaml.safe_load_all(done.stdout) if each]
    for manifest in built:
        check(manifest)
        assert manifest["metadata"]["namespace"] == "extensions"
    images = [each.split()[1] for each in done.stdout.splitlines() if " image: " in each]
    assert images == ["extension-gateway:latest"]


def pods() -> list[Manifest]:
    return [
        manifest["spec"]["template"]["spec"]
        for path in FILES
        for manifest in manifests(path)
        if "template" in manifest.get("spec", {})
    ]


def test_pods_may_do_no_more_than_they_need() -> None:
    assert len(pods()) == 3
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def environ_of(pod: Manifest) -> dict[str, str]:
    told = pod["containers"][0]["env"]
    return {each["name"]: each.get("value", "a-secret-of-the-cluster") for each in told}


def test_the_gateway_takes_the_settings_that_it_is_given(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-that-is-projected")
    for pod in pods()[:2]:
        environ = environ_of(pod)
        environ["GATEWAY_ENV_FILE"] = str(DEPLOY / "base" / "gateway.env")
        # The mount is not there; the variable wins over the file.
        settings = load(environ | {"RUNNER_KNATIVE_TOKEN_FILE": str(token)})
        assert settings.unread == ()
        assert settings.env_watch_s == 5.0
        mounts = {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
        assert {"/etc/gateway", "/var/run/secrets/runner"} <= mounts


def test_runners_that_share_a_claim_keep_no_storage_on_it() -> None:
    (service,) = manifests(DEPLOY / "runner" / "service.yaml")
    settings = load(environ_of(service["spec"]["template"]["spec"]))
    assert settings.unread == ()
    scale = service["spec"]["template"]["metadata"]["annotations"]
    alone = scale["autoscaling.knative.dev/max-scale"] == "1"
    assert alone or settings.embedded.host_api is not None


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_variable_that_is_named_is_one_that_is_read(path: Path) -> None:
    named = set(VARIABLE.findall(path.read_text(encoding="utf-8")))
    assert named - set(VARIABLES) - NOT_SETTINGS == set()


def test_two_ways_to_run_it_differ_in_nothing_else() -> None:
    deployment, service = (
        manifests(DEPLOY / name)[0]["spec"]["template"]["spec"]
        for name in ("deployment/deployment.yaml", "knative/service.yaml")
    )
    assert deployment["volumes"] == service["volumes"]
    for field in ("env", "volumeMounts", "resources", "securityContext", "image"):
        assert deployment["containers"][0][field] == service["containers"][0][field], field
