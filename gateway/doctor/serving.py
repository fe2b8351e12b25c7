"""Whether the Serving API can be asked about the runner's Knative service, and what it says."""

from collections.abc import Sequence
from typing import Final

from backends.knative_path.cluster import ClusterError
from backends.knative_path.service import ServiceState
from backends.knative_path.serving import look
from backends.settings import KnativeSettings, ServingApi
from gateway.doctor.case import Case
from gateway.doctor.findings import Finding, failed, ok, warning

_NOT_ALLOWED: Final = frozenset({401, 403})


async def check(case: Case) -> Sequence[Finding]:
    backend = case.settings.backend
    if not isinstance(backend, KnativeSettings) or backend.serving is None:
        return []
    try:
        state = await look(backend.serving)
    except ClusterError as refused:
        return [_unasked(refused, backend.serving, is_spare=backend.host is not None)]
    return [_told(state, backend.serving)]


def _unasked(refused: ClusterError, serving: ServingApi, *, is_spare: bool) -> Finding:
    """Args: is_spare: the gateway starts all the same, because it knows the service's host."""
    if refused.reason == "no_cluster_credentials":
        fix = "set KUBECONFIG to a usable file, or run in a pod with a service account"
    elif refused.reason == "api_answer_too_large":
        fix = "delete revisions that nobody needs, or set RUNNER_KNATIVE_HOST to do without the API"
    elif refused.status in _NOT_ALLOWED:
        fix = (
            f"let the gateway's account get, list and watch services and revisions of"
            f" serving.knative.dev in {serving.namespace}: deploy/base/role.yaml"
        )
    elif refused.status:
        fix = "see that Knative Serving is installed, and that KUBECONFIG is of its cluster"
    else:
        fix = "let this machine reach the Kubernetes API that KUBECONFIG or the pod names"
    what = f"the Serving API cannot be read: {refused.reason}"
    if refused.status:
        what += f" ({refused.status})"
    if is_spare:
        why = "cold starts, revisions and the service's own bounds stay unknown"
        return warning("serving", what, why, fix)
    return failed("serving", what, "the gateway does not start: it has no address", fix)


def _told(state: ServiceState | None, serving: ServingApi) -> Finding:
    named = f"{serving.namespace}/{serving.service}"
    look_at = f"kubectl describe ksvc {serving.service} --namespace {serving.namespace}"
    if state is None:
        fix = "correct RUNNER_KNATIVE_NAMESPACE or RUNNER_KNATIVE_SERVICE: kubectl get ksvc -A"
        return failed("serving", f"there is no service {named}", "no call can be answered", fix)
    reason = f" ({state.reason})" if state.reason else ""
    if not state.serving:
        return failed(
            "serving", f"{named} takes no traffic{reason}", "no call can be answered", look_at
        )
    if not (state.ready and state.current):
        why = f"{state.latest_ready or 'an older revision'} goes on serving"
        return warning("serving", f"{named} is not ready as it is now{reason}", why, look_at)
    asleep = ", asleep: its next call waits for a pod" if state.asleep else ""
    return ok("serving", f"{named} is ready, revision {state.latest_ready}{asleep}")
