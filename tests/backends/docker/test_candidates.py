"""The choice of containers: pure, deterministic, and never of one that cannot answer."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.docker_engine.candidates import Scope, choose, nearest
from backends.docker_engine.reachability import Viewpoint
from tests.fakes.docker_engine import Document, container

SCOPE = Scope(service="extension-runner", project="dev")
HOST = Viewpoint()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Status", "8080/tcp", "HostPort", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
PORTS = st.none() | st.integers(min_value=1, max_value=65535)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """An inspect document as an engine writes it, in any state there is."""
    made = container(
        draw(st.sampled_from(["runner-1", "runner-2", "other"])),
        port=draw(PORTS),
        project=draw(st.sampled_from(["dev", "other"])),
        service=draw(st.sampled_from(["extension-runner", "database"])),
        number=draw(st.integers(min_value=0, max_value=3)),
        health=draw(st.sampled_from([None, "none", "starting", "healthy", "unhealthy", "new"])),
        status=draw(
            st.sampled_from(["created", "running", "paused", "restarting", "exited", "dead"])
        ),
        oneoff=draw(st.booleans()),
        container_id=draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
    )
    mode = draw(st.sampled_from(["dev_default", "host", "container:gone"]))
    made["HostConfig"]["NetworkMode"] = mode
    return made


@st.composite
def damaged(draw: st.DrawFn) -> Document:
    """The same with a part replaced by anything at all."""
    made = draw(documents())
    path = draw(
        st.sampled_from(
            [
                ("State",),
                ("State", "Health"),
                ("Config",),
                ("Config", "ExposedPorts"),
                ("HostConfig",),
                ("NetworkSettings",),
                ("NetworkSettings", "Ports"),
                ("NetworkSettings", "Ports", "8080/tcp"),
                ("NetworkSettings", "Networks"),
                ("Name",),
            ]
        )
    )
    place: Any = made
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = draw(JSON)
    return made


VIEWS = st.sampled_from([
    HOST, Viewpoint(networks=frozenset({"dev_default"})), Viewpoint(engine_host="10.0.0.7"),
])  # fmt: skip


@given(st.lists(documents() | damaged(), max_size=5), VIEWS, st.randoms())
def test_the_order_of_the_documents_does_not_matter(
    found: list[Document], view: Viewpoint, shuffled: random.Random
) -> None:
    known = {document["Id"]: document for document in found}
    found = list(known.values())
    chosen = choose(found, SCOPE, view)
    shuffled.shuffle(found)
    assert choose(found, SCOPE, view) == chosen


@given(st.lists(documents(), max_size=5), VIEWS)
def test_nothing_is_taken_that_does_not_run_in_good_health_or_is_not_the_runners(
    found: list[Document], view: Viewpoint
) -> None:
    by_id = {document["Id"]: document for document in found}
    for each in choose(by_id.values(), SCOPE, view):
        document = by_id[each.container_id]
        labels = document["Config"]["Labels"]
        assert labels["com.docker.compose.project"] == "dev"
        assert labels["com.docker.compose.service"] == "extension-runner"
        assert labels["com.docker.compose.oneoff"] == "False"
        if each.taken:
            assert document["State"]["Status"] == "running"
            health = document["State"].get("Health", {"Status": "none"})["Status"]
            assert health in ("none", "healthy")
        else:
            assert each.why


@given(st.integers(min_value=1, max_value=65535))
def test_from_the_host_the_published_port_is_taken_and_never_the_containers_address(
    port: int,
) -> None:
    (chosen,) = choose([container("r", port=port)], SCOPE, HOST)
    assert (chosen.url, chosen.why) == (f"http://127.0.0.1:{port}", "published_port")
    (unpublished,) = choose([container("r")], SCOPE, HOST)
    assert (unpublished.url, unpublished.why) == (None, "port_not_published")


def one(document: Document, view: Viewpoint = HOST, **owners: Document) -> tuple[str | None, str]:
    (chosen,) = choose([document], SCOPE, view, owners)
    return chosen.url, chosen.why


@pytest.mark.parametrize(
    ("bindings", "view", "url"),
    [
        ([("0.0.0.0", 1), ("::", 1)], HOST, "http://127.0.0.1:1"),
        ([("::", 1)], HOST, "http://[::1]:1"),
        ([("", 1)], HOST, "http://127.0.0.1:1"),
        ([("192.168.1.5", 1)], HOST, "http://192.168.1.5:1"),
        ([("0.0.0.0", 1)], Viewpoint(engine_host="10.0.0.7"), "http://10.0.0.7:1"),
        ([("127.0.0.1", 1)], Viewpoint(engine_host="10.0.0.7"), None),
        ([("0.0.0.0", 1)], Viewpoint(networks=frozenset()), "http://host.docker.internal:1"),
        ([("127.0.0.1", 1)], Viewpoint(networks=frozenset()), None),
        ([("nonsense", 1), ("127.0.0.1", 0)], HOST, None),
    ],
)
def test_where_a_published_port_is_dialled(
    bindings: list[tuple[str, int]], view: Viewpoint, url: str | None
) -> None:
    document = container("r")
    document["NetworkSettings"]["Ports"]["8080/tcp"] = [
        {"HostIp": host, "HostPort": str(port)} for host, port in bindings
    ]
    assert one(document, view)[0] == url


def test_of_several_ports_the_labelled_one_counts_else_the_lowest_published_one() -> None:
    document = container("r")
    document["Config"]["ExposedPorts"] = {"53/udp": {}, "80/tcp": {}, "9000/tcp": {}, "99/tcp": {}}
    ports = document["NetworkSettings"]["Ports"]
    ports["9000/tcp"] = [{"HostIp": "", "HostPort": "1"}]
    ports["99/tcp"] = [{"HostIp": "", "HostPort": "2"}]
    assert one(document)[0] == "http://127.0.0.1:2"
    document["Config"]["Labels"]["extension-gateway.port"] = "9000"
    assert one(document)[0] == "http://127.0.0.1:1"


def test_inside_shared_networks_the_first_by_name_counts_or_the_labelled_one() -> None:
    view = Viewpoint(networks=frozenset({"b", "c", "a"}))
    document = container("r", port=1)
    document["NetworkSettings"]["Networks"] = {
        "z": {"IPAddress": "10.0.0.1"},
        "c": {"IPAddress": "10.0.0.2"},
        "b": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"},
    }
    assert one(document, view) == ("http://[fd00::2]:8080", "network_b")
    document["Config"]["Labels"]["extension-gateway.network"] = "c"
    assert one(document, view) == ("http://10.0.0.2:8080", "network_c")


def test_in_the_hosts_network_a_container_listens_on_the_host_itself() -> None:
    document = container("r")
    document["HostConfig"]["NetworkMode"] = "host"
    assert one(document) == ("http://127.0.0.1:8080", "host_network")
    document["Config"]["ExposedPorts"] = None
    document["NetworkSettings"]["Ports"] = {}
    assert one(document) == (None, "no_port")


def test_a_container_in_anothers_network_is_where_the_other_publishes() -> None:
    sidecar, pod, middle = container("r"), container("pod", port=7), container("middle")
    sidecar["HostConfig"]["NetworkMode"] = "container:middle"
    middle["HostConfig"]["NetworkMode"] = "container:pod"
    assert one(sidecar, pod=pod, middle=middle)[0] == "http://127.0.0.1:7"
    assert one(sidecar, middle=middle) == (None, "no_address")
    pod["HostConfig"]["NetworkMode"] = "container:middle"  # a ring has no end to dial
    assert one(sidecar, pod=pod, middle=middle) == (None, "no_address")


def test_of_several_reasons_the_one_nearest_to_working_is_told() -> None:
    found = choose(
        [container("a", status="exited"), container("b", port=1, health="starting")], SCOPE, HOST
    )
    assert nearest(found)[0] == "container_starting"
    assert nearest(())[0] == "no_container"


def test_replicas_are_in_the_order_of_their_numbers() -> None:
    found = [container(f"r{n}", port=n, number=n) for n in (3, 1, 2)]
    assert [each.number for each in choose(found, SCOPE, HOST)] == [1, 2, 3]
