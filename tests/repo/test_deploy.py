"""What deploy/ and compose.yaml say is what Kubernetes, Knative and the gateway understand."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml  # type: ignore[import-untyped]  # it has no types
from cloudcoil.models.knative_serving.serving import v1 as knative

from gateway.settings import RegistryInstallsSettings, load
from gateway.variables.environment import read_sources
from gateway.variables.table import VARIABLES
from tests.repo.files import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = "1.33"
WAYS = ("deployment", "installer", "knative", "runner")
NOT_MANIFESTS = {
    "kustomization.yaml", "images.yaml", "mount.yaml", "rules.yaml", "rules_test.yaml",
}  # fmt: skip
GATEWAYS = ("deployment/deployment.yaml", "knative/service.yaml")
RUNNER = "runner/service.yaml"
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
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


def built(folder: Path) -> list[Manifest]:
    """What is applied; every manifest of it is valid."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ("kubectl", "kustomize", folder), capture_output=True, text=True, check=True
    )
    made = [each for each in yaml.safe_load_all(done.stdout) if each]
    for manifest in made:
        check(manifest)
    return made


@pytest.mark.parametrize("way", WAYS)
def test_kustomize_puts_them_together(way: str) -> None:
    made = built(DEPLOY / way)
    assert {each["metadata"]["namespace"] for each in made} == {"extensions"}
    containers = [each for manifest in made for each in spec_of(manifest).get("containers", ())]
    assert [each["image"] for each in containers] == ["extension-gateway:latest"]


@pytest.mark.parametrize("way", ["deployment", "knative"])
def test_the_gateway_may_read_the_bundles_that_a_runner_runs(way: str, tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    kustomization = tmp_path / "deploy" / way / "kustomization.yaml"
    text = kustomization.read_text(encoding="utf-8")
    commented = "#components:\n#  - ../bundles\n"
    assert commented in text
    kustomization.write_text(text.replace(commented, commented.replace("#", "")))
    (pod,) = [each for each in map(spec_of, built(kustomization.parent)) if "containers" in each]
    ours, runners = mounted(pod, "/data/bundles"), mounted(pod_of(RUNNER), "/data/bundles")
    assert ours["claimName"] == runners["claimName"]
    assert ours["readOnly"] is True
    environ = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    assert environ["RUNNER_BUNDLE_DIR"] == "/data/bundles"


def spec_of(manifest: Manifest) -> Manifest:
    """The specification of its pods; empty when it has none."""
    spec: Manifest = manifest.get("spec", {})
    inside: Manifest = spec if manifest["kind"] == "Pod" else spec.get("template", {}).get("spec")
    return inside or {}


def pod_of(name: str) -> Manifest:
    (manifest,) = manifests(DEPLOY / name)
    return spec_of(manifest)


def pods() -> list[Manifest]:
    every = [spec_of(manifest) for path in FILES for manifest in manifests(path)]
    return [each for each in every if each]


def mounted(pod: Manifest, folder: str) -> Manifest:
    """The claim that is mounted there."""
    (name,) = [
        each["name"] for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == folder
    ]
    (claim,) = [each["persistentVolumeClaim"] for each in pod["volumes"] if each["name"] == name]
    return dict(claim)


def environment(pod: Manifest) -> dict[str, Manifest]:
    return {each["name"]: each for each in pod["containers"][0].get("env", ())}


def test_pods_may_do_no_more_than_they_need() -> None:
    assert len(pods()) == 4
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
    for pod in map(pod_of, GATEWAYS):
        environ = environ_of(pod)
        environ["GATEWAY_ENV_FILE"] = str(DEPLOY / "base" / "gateway.env")
        # The mount is not there; the variable wins over the file.
        settings = load(environ | {"RUNNER_KNATIVE_TOKEN_FILE": str(token)})
        assert settings.unread == ()
        assert settings.env_watch_s == 5.0
        assert isinstance(settings.installs, RegistryInstallsSettings)
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
    deployment, service = map(pod_of, GATEWAYS)
    assert deployment["volumes"] == service["volumes"]
    for field in ("env", "volumeMounts", "resources", "securityContext", "image"):
        assert deployment["containers"][0][field] == service["containers"][0][field], field


def test_gateway_and_runner_have_their_service_token_from_one_place() -> None:
    told = [environment(pod_of(name))["RUNNER_SERVICE_TOKEN"] for name in (*GATEWAYS, RUNNER)]
    assert told == [told[0]] * 3


def test_every_secret_that_a_pod_needs_is_made_on_the_page() -> None:
    made = {
        (name, key)
        for name, rest in re.findall(r"create secret generic (\S+) (.*?)(?<!\\)\n", PAGE, re.DOTALL)
        for key in re.findall(r"--from-literal=([\w-]+)=", rest)
    }
    refs = [
        variable["valueFrom"]["secretKeyRef"]
        for pod in pods()
        for variable in environment(pod).values()
        if "valueFrom" in variable
    ]
    assert {(each["name"], each["key"]) for each in refs} <= made


def test_who_writes_to_a_claim_may_and_nobody_else_changes_its_owner() -> None:
    writers = [
        pod for pod in pods() if any("persistentVolumeClaim" in volume for volume in pod["volumes"])
    ]
    assert len(writers) == 2  # the runner, and the installer
    for pod in pods():
        group = pod["securityContext"].get("fsGroup")
        assert group == (pod["securityContext"]["runAsGroup"] if pod in writers else None)


@pytest.mark.parametrize("way", ["knative", "runner"])
def test_features_of_knative_that_are_off_are_named_where_the_operator_reads(way: str) -> None:
    pod = pod_of(f"{way}/service.yaml")
    claims = [each.get("persistentVolumeClaim") for each in pod["volumes"]]
    needed = {"securitycontext"} if "securityContext" in pod else set()
    if any(claims):
        needed |= {"persistent-volume-claim", "persistent-volume-write"}
    kustomization = (DEPLOY / way / "kustomization.yaml").read_text(encoding="utf-8")
    for text in (kustomization, PAGE):
        (patch,) = re.findall(r"--patch \\\n\W*'(\{.*\})'\n", text)
        on = {name for name, value in json.loads(patch)["data"].items() if value == "enabled"}
        assert {f"kubernetes.podspec-{each}" for each in needed} <= on


def test_the_image_is_set_wherever_there_is_one() -> None:
    folders = {path.parent for path in FILES for each in manifests(path) if spec_of(each)}
    for folder in folders:
        text = (folder / "kustomization.yaml").read_text(encoding="utf-8")
        assert "#   kustomize edit set image extension-gateway=" in text
    (parts,) = re.findall(r"for part in ([a-z ]+); do", PAGE)
    assert {*parts.split(), "knative"} == {folder.name for folder in folders}


def rules(name: str, direction: str) -> list[tuple[set[str], set[int]]]:
    """Whom a policy lets in or out, by namespace (none: anybody), and to which ports."""
    (policy,) = manifests(DEPLOY / name)
    return [
        (
            {
                value
                for peer in rule.get("from", rule.get("to", ()))
                for value in peer["namespaceSelector"]["matchLabels"].values()
            },
            {each["port"] for each in rule["ports"]},
        )
        for rule in policy["spec"][direction]
    ]


@pytest.mark.parametrize(
    ("name", "ports"), [("RUNNER_BASE_URL", {8080, 8081}), ("REGISTRY_BASE_URL", {3000})]
)
def test_the_gateway_may_reach_what_its_settings_name(name: str, ports: set[int]) -> None:
    """A policy sees the ports of pods, which a service in front of them may translate."""
    sources = read_sources({"GATEWAY_ENV_FILE": str(DEPLOY / "base" / "gateway.env")})
    host = urlsplit(sources.texts[name]).hostname or ""
    namespace = host.split(".")[1]
    allowed = [
        may for whom, may in rules("base/network-policy.yaml", "egress") if namespace in whom
    ]
    assert any(ports <= may for may in allowed)


def test_knative_reaches_the_gateway_and_its_figures() -> None:
    in_front = rules("knative/network-policy.yaml", "ingress")
    for namespace, port in (
        ("kourier-system", 8012),
        ("knative-serving", 8012),
        ("knative-serving", 9090),
    ):
        assert any(namespace in whom and port in ports for whom, ports in in_front)


def test_the_autoscaler_keeps_pods_at_what_the_page_plans() -> None:
    (autoscaler,) = manifests(DEPLOY / "deployment" / "horizontal-pod-autoscaler.yaml")
    (metric,) = autoscaler["spec"]["metrics"]
    container = pod_of(GATEWAYS[0])["containers"][0]
    cores = int(container["resources"]["requests"]["cpu"].removesuffix("m")) / 1000
    planned = float(re.findall(r"planned +=  ([\d.]+) x that", PAGE)[0])
    assert metric["resource"]["target"]["averageUtilization"] / 100 * cores == planned
    assert "cpu" not in container["resources"]["limits"]


def test_whoever_ends_a_gateway_gives_it_time_to_drain() -> None:
    drain_s = load({}).drain_s
    stack = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert float(stack["services"]["gateway"]["stop_grace_period"].removesuffix("s")) > drain_s
    (deployment,) = manifests(DEPLOY / "deployment" / "deployment.yaml")
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > drain_s
