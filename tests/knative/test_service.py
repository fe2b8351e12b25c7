"""What the API says of a service, whatever part of it is there."""

from hypothesis import example, given
from hypothesis import strategies as st

from backends.knative_path.path import UNKNOWN_BOUND, extension_bound
from backends.knative_path.service import Object, ServiceState, Target, read_service

SERVICE: Object = {
    "metadata": {"name": "runner", "generation": 3},
    "spec": {
        "template": {
            "metadata": {"annotations": {"autoscaling.knative.dev/max-scale": "4"}},
            "spec": {"containerConcurrency": 9, "timeoutSeconds": 999},
        }
    },
    "status": {
        "url": "http://runner.extensions.example.com",
        "observedGeneration": 3,
        "latestReadyRevisionName": "runner-2",
        "conditions": [{"type": "Ready", "status": "True"}],
        "traffic": [
            {"revisionName": "runner-2", "percent": 90},
            {"revisionName": "runner-1", "percent": 10, "tag": "old"},
        ],
    },
}
REVISION: Object = {
    "metadata": {"name": "runner-2", "annotations": {"autoscaling.knative.dev/maxScale": "3"}},
    "spec": {"containerConcurrency": 5, "timeoutSeconds": 60, "responseStartTimeoutSeconds": 20},
    "status": {"actualReplicas": 0},
}


def test_the_revision_that_serves_beats_the_template_of_the_next() -> None:
    state = read_service(SERVICE, [REVISION])
    assert (state.container_concurrency, state.timeout_s, state.max_scale) == (5, 60.0, 3)
    assert (state.response_start_s, state.idle_s) == (20.0, None)
    assert state.traffic == (Target("runner-2", 90), Target("runner-1", 10, "old"))
    assert (state.ready, state.current, state.serving, state.asleep) == (True, True, True, True)


def test_without_its_revision_nobody_knows_whether_it_sleeps() -> None:
    state = read_service(SERVICE)
    assert (state.asleep, state.container_concurrency) == (None, 9)


def test_an_inactive_revision_without_a_count_sleeps() -> None:
    status = {"conditions": [{"type": "Active", "status": "False", "reason": "NoTraffic"}]}
    assert read_service(SERVICE, [{**REVISION, "status": status}]).asleep is True


def test_a_rollout_still_serves_and_a_service_without_a_revision_does_not() -> None:
    rolling = {**SERVICE, "metadata": {"generation": 4}}
    assert read_service(rolling).serving
    assert not read_service(rolling).current
    assert not read_service({"metadata": {"generation": 1}}).serving


def test_a_broken_route_serves_nobody() -> None:
    conditions = [
        {"type": "Ready", "status": "False", "reason": "Missing"},
        {"type": "RoutesReady", "status": "False"},
    ]
    state = read_service({**SERVICE, "status": {**SERVICE["status"], "conditions": conditions}})
    assert (state.serving, state.reason) == (False, "Missing")


def test_a_condition_with_a_severity_is_no_verdict() -> None:
    conditions = [{"type": "Ready", "status": "False", "severity": "Warning"}]
    state = read_service({**SERVICE, "status": {**SERVICE["status"], "conditions": conditions}})
    assert state.ready is None


def names_in(seen: object) -> set[str]:
    """Every member's name, at any depth: names that nobody looks up would prove nothing."""
    if isinstance(seen, dict):
        return {*seen} | {name for each in seen.values() for name in names_in(each)}
    return {name for each in seen for name in names_in(each)} if isinstance(seen, list) else set()


NAMES = sorted(
    names_in(SERVICE) | names_in(REVISION) | {"idleTimeoutSeconds", "severity", "reason"}
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)
_spec = st.dictionaries(st.sampled_from(NAMES), _json, max_size=5)


@given(
    st.dictionaries(
        st.sampled_from(["metadata", "spec", "status"]),
        _json | _spec | st.fixed_dictionaries({"template": st.fixed_dictionaries({"spec": _spec})}),
    )
)
@example({"spec": {"timeoutSeconds": 10**400}})
@example({"spec": {"template": {"spec": {"timeoutSeconds": 10**400}}}})
def test_no_object_whatsoever_breaks_the_reading(seen: Object) -> None:
    state = read_service(seen, [seen])
    assert isinstance(state.facts(), dict)
    assert extension_bound(state) > 0


def test_an_extension_may_have_what_all_pods_together_take() -> None:
    assert extension_bound(None) == UNKNOWN_BOUND
    assert extension_bound(ServiceState(container_concurrency=5, max_scale=3)) == 15
    assert extension_bound(ServiceState(container_concurrency=5)) == 50
    assert extension_bound(ServiceState(container_concurrency=5, max_scale=500)) == 192
