"""The variables of the knative backend, those by which kubectl finds its cluster included."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.variables.file_forms import (
    PemFile,
    SecretFile,
)
from gateway.variables.forms import (
    Authority,
    DnsLabel,
    FieldValue,
    Milliseconds,
    RunnerUrl,
    Word,
)
from gateway.variables.marks import Accepts, Otherwise, Section


class KnativeVariables(Section):
    """The knative backend"""

    runner_base_url: Annotated[
        RunnerUrl | None,
        Field(description="The runner's address; required by knative, a fallback for docker."),
    ] = None
    runner_knative_host: Annotated[
        Authority | None,
        Field(description="`Host` and server name, when the base URL is the ingress."),
    ] = None
    runner_knative_token_file: Annotated[
        SecretFile | None, Field(description="Projected token, sent as `Authorization: Bearer`.")
    ] = None
    runner_knative_token_audience: Annotated[
        FieldValue | None,
        Otherwise("any but the Kubernetes API's"),
        Field(description="Whom that token must be for, when it is a JWT."),
    ] = None
    runner_knative_namespace: Annotated[
        DnsLabel | None, Field(description="The namespace of the runner's Knative service.")
    ] = None
    runner_knative_service: Annotated[
        DnsLabel | None,
        Field(description="Its name: the Serving API is read for its address and state."),
    ] = None
    runner_knative_cold_start_ms: Annotated[
        Milliseconds | None,
        Otherwise("none: whoever meets no runner is told at once"),
        Field(description="How long a call may wait for a runner to start."),
    ] = None
    runner_knative_warm_on_page: Annotated[
        Literal["true", "false"],
        Word,
        Accepts("true or false"),
        Field(description="Whether fetching an extension's page warms its handler."),
    ] = "false"
    runner_knative_ca_file: Annotated[
        PemFile | None,
        Otherwise("the system's authorities"),
        Field(description="Authorities that the ingress's certificate may come from, PEM."),
    ] = None
    runner_knative_client_cert: Annotated[
        PemFile | None, Field(description="Certificate shown to the ingress, PEM.")
    ] = None
    runner_knative_client_key: Annotated[
        PemFile | None, Field(description="Its private key, PEM.")
    ] = None
    kubeconfig: Annotated[
        str | None,
        Accepts("names of files, as kubectl reads them"),
        Otherwise("the pod's own service account"),
        Field(description="Files that say how to reach the Serving API from outside the cluster."),
    ] = None
    kubernetes_service_host: Annotated[
        FieldValue | None, Field(description="The Kubernetes API; set in every pod.")
    ] = None
    kubernetes_service_port: Annotated[
        FieldValue | None, Field(description="Its port; set in every pod.")
    ] = None
