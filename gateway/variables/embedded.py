"""The variables of the embedded backend, which the `runner` verb serves, too."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from gateway.variables.file_forms import (
    Folder,
)
from gateway.variables.forms import (
    Bytes,
    EgressHosts,
    FieldValue,
    HttpUrl,
    Megabytes,
    Milliseconds,
    Port,
    ProcessCount,
    QueueLength,
    Threads,
    Token,
)
from gateway.variables.marks import Otherwise, Section, Static


class EmbeddedVariables(Section):
    """The embedded backend, and the `runner` verb"""

    runner_bundle_dir: Annotated[
        Folder,
        Field(
            description="Where bundles and their files live; also what extensions store, unless"
            " the host application keeps it."
        ),
    ] = Path(".gateway/bundles")
    runner_memory_mb: Annotated[
        Megabytes,
        Field(
            description="The limit of each linear memory of an extension's call. It has one or two"
            " as a rule, and at most four."
        ),
    ] = 256
    runner_compile_memory_mb: Annotated[
        Megabytes,
        Field(
            description="How much memory compiling one component may take, in a process of its own."
            " Components of JavaScript (componentize-js) take up to 640, of Python up to 512."
        ),
    ] = 768
    runner_max_concurrency: Annotated[
        Threads | None,
        Otherwise("one for each core it may use"),
        Field(description="How many calls run at once, shared out among workers."),
    ] = None
    runner_max_queue: Annotated[
        QueueLength,
        Field(description="How many calls may wait for their turn, shared out among workers."),
    ] = 64
    runner_processes: Annotated[
        ProcessCount,
        Field(
            description="How many processes of its own run extensions, shared out among workers;"
            " 0: the gateway's own process runs them."
        ),
    ] = 0
    ext_egress_allowlist: Annotated[
        EgressHosts,
        Otherwise("none: every request is denied"),
        Field(description="Hosts that extensions may fetch from, with their subdomains."),
    ] = ()
    ext_ui_content_security_policy: Annotated[
        FieldValue | None, Field(description="Replaces the default policy of UI pages.")
    ] = None
    ext_ui_frame_ancestors: Annotated[
        FieldValue | None, Field(description="Who may frame UI pages, added to the default policy.")
    ] = None
    ext_static_max_file_bytes: Annotated[
        Bytes | None,
        Otherwise("no limit"),
        Field(description="The largest UI file that is served."),
    ] = None
    ui_proxy_base_url: Annotated[
        HttpUrl | None, Field(description="Where the capability `cap:ui.proxy` leads.")
    ] = None
    ui_proxy_timeout_ms: Annotated[
        Milliseconds, Field(description="The budget of one such call.")
    ] = 5_000
    storage_api_base_url: Annotated[
        HttpUrl | None,
        Otherwise("`REGISTRY_BASE_URL`"),
        Field(
            description="The host application's internal API, with or without the `/api` of its"
            " paths: its data for extensions, and what they store."
        ),
    ] = None
    runner_storage_api_token: Annotated[
        Token | None,
        Otherwise("`RUNNER_SERVICE_TOKEN`, or its file's"),
        Field(repr=False, description="Proves to that API that a runner calls."),
    ] = None
    port: Annotated[
        Port, Static(), Field(description="Where the `runner` verb listens; `serve` ignores it.")
    ] = 8080
