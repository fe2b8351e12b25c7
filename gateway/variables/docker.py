"""The variables of the docker backend, those of the docker command itself included."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from gateway.variables.forms import HttpUrl, RunnerUrl, Tenant
from gateway.variables.marks import Accepts, Otherwise, Section


def _without_credentials(address: str) -> str:
    user, at, _ = address.removeprefix("ssh://").rpartition("@")
    if at and (":" in user or not address.startswith("ssh://")):  # ssh://me@host holds no secret
        raise PydanticCustomError("refused", "holds a user name or a password")
    return address


class DockerVariables(Section):
    """The docker backend"""

    runner_docker_host: Annotated[
        RunnerUrl | None,
        Otherwise("found by compose labels, else `RUNNER_BASE_URL`"),
        Field(description="The port that the runner's container publishes."),
    ] = None
    runner_docker_project: Annotated[
        Tenant | None,
        Otherwise("the gateway's own project in a container, else the only one there is"),
        Field(description="The compose project in which the runner is looked for."),
    ] = None
    runner_docker_service: Annotated[
        Tenant, Field(description="The compose service that is the runner.")
    ] = "extension-runner"
    runner_docker_public_url: Annotated[
        HttpUrl | None,
        Otherwise("none: pages come through the gateway"),
        Field(description="Where browsers fetch extension pages past the gateway."),
    ] = None
    docker_host: Annotated[
        str | None,
        AfterValidator(_without_credentials),
        Accepts("unix:///path or tcp://host:port"),
        Otherwise("the current context, else a well-known socket"),
        Field(description="The Docker engine that is asked for the runner."),
    ] = None
    docker_context: Annotated[
        str | None,
        Accepts("a name that `docker context ls` shows"),
        Field(description="The Docker context that is meant, when `DOCKER_HOST` is not set."),
    ] = None
    docker_config: Annotated[
        Path | None,
        Accepts("a folder"),
        Otherwise("`~/.docker`"),
        Field(description="Where contexts are described."),
    ] = None
    docker_cert_path: Annotated[
        Path | None,
        Accepts("a folder"),
        Otherwise("`DOCKER_CONFIG`"),
        Field(description="Where `ca.pem`, `cert.pem` and `key.pem` for the engine are."),
    ] = None
    docker_tls_verify: Annotated[
        str | None,
        Accepts("any text"),
        Field(description="Set: the engine that `DOCKER_HOST` names is spoken to over TLS."),
    ] = None
    xdg_runtime_dir: Annotated[
        Path | None,
        Accepts("a folder"),
        Field(description="Where rootless engines listen."),
    ] = None
