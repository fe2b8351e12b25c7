"""The table is the world: every import, and none that raises."""

import structlog.testing

from backends.embedded.host.call import Err, Ok
from backends.embedded.host.never_waits import never_waits
from backends.embedded.host.services import HostServices
from backends.embedded.host.table import HOST_FUNCTIONS
from tests.backends.embedded.host.calls import ADA, ask, call_of

WORLD = {
    "context": {"get-context"},
    "secrets": {"get", "list-keys"},
    "http": {"fetch"},
    "storage": {"get", "put", "delete", "list-entries"},
    "logging": {"log-info", "log-warn", "log-error"},
    "ui-proxy": {"call-route"},
    "user": {"get-user"},
    "user-v2": {"get-user"},
    "scheduler": {
        "list-schedules", "get-schedule", "create-schedule", "update-schedule",
        "delete-schedule", "get-endpoints",
    },
    "invoicing": {"create-manual-invoice"},
    "clients": {"list-clients", "get-client"},
    "services": {"list-services", "get-service"},
}  # fmt: skip

ANSWERED_AT_ONCE = {"context", "secrets", "logging", "user", "user-v2"}
"""Their functions read what the call brought along, or write a line into a queue."""

FAILURES: dict[tuple[str, str], object] = {
    ("secrets", "list-keys"): [],
    ("logging", "log-info"): None,
    ("logging", "log-warn"): None,
    ("logging", "log-error"): None,
    ("user", "get-user"): Err("not-available"),
    ("user-v2", "get-user"): Err("not-available"),
    ("scheduler", "create-schedule"): {
        "success": False, "error": "internal", "field-errors": None, "schedule-id": None,
    },
    ("scheduler", "update-schedule"): {
        "success": False, "error": "internal", "field-errors": None,
    },
    ("scheduler", "delete-schedule"): {"success": False, "error": "internal"},
    ("invoicing", "create-manual-invoice"): {
        "success": False, "error": "internal", "field-errors": None, "invoice-id": None,
        "invoice-number": None, "status": None, "subtotal": None, "tax": None, "total": None,
    },
}  # fmt: skip


def test_every_import_of_the_world_is_there_and_nothing_else() -> None:
    assert {name: set(functions) for name, functions in HOST_FUNCTIONS.items()} == WORLD


async def test_a_function_that_fails_answers_in_its_interfaces_own_words(
    services: HostServices,
) -> None:
    # A wrong number of arguments stands for the defect that nobody foresaw.
    call = call_of(services)
    with structlog.testing.capture_logs() as lines:
        for interface, functions in HOST_FUNCTIONS.items():
            for name in functions:
                if interface != "context":
                    answer = await ask(call, interface, name, *["surplus"] * 9)
                    assert answer == FAILURES.get((interface, name), Err("internal"))
    assert {line["event"] for line in lines} == {"host_function_failed"}
    assert {line["error"] for line in lines} == {"TypeError"}
    assert "surplus" not in str(lines)


async def test_a_guest_learns_its_context(services: HostServices) -> None:
    assert await ask(call_of(services), "context", "get-context") == {
        "request-id": "request-1",
        "tenant-id": "tenant-1",
        "extension-id": "extension-1",
        "install-id": "install-1",
        "version-id": "version-1",
    }


async def test_both_versions_of_the_user_interface_carry_every_attribute(
    services: HostServices,
) -> None:
    call = call_of(services, user=ADA)
    user = {
        "tenant-id": "tenant-1",
        "client-name": "Analytical Engines",
        "user-id": "user-1",
        "user-email": "ada@example.com",
        "user-name": "Ada",
        "user-type": "internal",
        "client-id": "client-1",
        "additional-fields": [("team", "blue")],
    }
    assert await ask(call, "user", "get-user") == Ok(user)
    assert await ask(call, "user-v2", "get-user") == Ok(user)


async def test_a_user_is_shown_only_when_there_is_one_and_it_was_granted(
    services: HostServices,
) -> None:
    assert await ask(call_of(services), "user", "get-user") == Err("not-available")
    ungranted = call_of(services, user=ADA, granted=frozenset())
    assert await ask(ungranted, "user", "get-user") == Err("not-allowed")


def test_only_functions_that_wait_for_nothing_may_be_called_on_the_loops_thread() -> None:
    for interface, functions in HOST_FUNCTIONS.items():
        marks = {never_waits(function) for function in functions.values()}
        assert marks == {interface in ANSWERED_AT_ONCE}
