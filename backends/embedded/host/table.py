"""Every import of the guest's world, by WIT interface and function name."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from backends.embedded.host import (
    clients,
    context,
    fetch,
    guest_log,
    invoicing,
    scheduler,
    secrets,
    service_catalog,
    storage,
    ui_proxy,
    user,
)
from backends.embedded.host.call import Call, Err
from backends.embedded.host.never_waits import HostFunction
from backends.embedded.host.records import refusal


def _contained(function: HostFunction, failure: Callable[[], object]) -> HostFunction:
    """`function`, answering `failure()` where it would raise.

    The engine's binding keeps a raised exception in a place that all threads share: it could
    surface in another tenant's call.
    """

    @functools.wraps(function)
    def contained(call: Call, *args: object) -> object:
        try:
            return function(call, *args)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cross over
            name = f"{function.__module__}.{function.__name__}"
            guest_log.host_function_failed(call, name, type(error).__name__)
            return failure()

    return contained


def _interface(
    functions: Mapping[str, HostFunction], failure: Callable[[], object]
) -> dict[str, HostFunction]:
    return {name: _contained(function, failure) for name, function in functions.items()}


_INTERNAL = functools.partial(Err, "internal")

HOST_FUNCTIONS: Mapping[str, Mapping[str, HostFunction]] = MappingProxyType(
    {
        "context": {"get-context": context.get_context},
        "secrets": {
            **_interface({"get": secrets.get}, _INTERNAL),
            **_interface({"list-keys": secrets.list_keys}, list),
        },
        "http": _interface({"fetch": fetch.fetch}, _INTERNAL),
        "storage": _interface(
            {
                "get": storage.get,
                "put": storage.put,
                "delete": storage.delete,
                "list-entries": storage.list_entries,
            },
            _INTERNAL,
        ),
        "logging": _interface(
            {
                "log-info": guest_log.log_info,
                "log-warn": guest_log.log_warn,
                "log-error": guest_log.log_error,
            },
            lambda: None,
        ),
        "ui-proxy": _interface({"call-route": ui_proxy.call_route}, _INTERNAL),
        "user": _interface({"get-user": user.get_user}, functools.partial(Err, "not-available")),
        "user-v2": _interface({"get-user": user.get_user}, functools.partial(Err, "not-available")),
        "scheduler": {
            **_interface(
                {
                    "list-schedules": scheduler.list_schedules,
                    "get-schedule": scheduler.get_schedule,
                    "get-endpoints": scheduler.get_endpoints,
                },
                _INTERNAL,
            ),
            "create-schedule": _contained(
                scheduler.create_schedule,
                functools.partial(refusal, scheduler.CREATED, "internal"),
            ),
            "update-schedule": _contained(
                scheduler.update_schedule,
                functools.partial(refusal, scheduler.UPDATED, "internal"),
            ),
            "delete-schedule": _contained(
                scheduler.delete_schedule,
                functools.partial(refusal, scheduler.DELETED, "internal"),
            ),
        },
        "invoicing": _interface(
            {"create-manual-invoice": invoicing.create_manual_invoice},
            functools.partial(refusal, invoicing.RESULT, "internal"),
        ),
        "clients": _interface(
            {"list-clients": clients.list_clients, "get-client": clients.get_client}, _INTERNAL
        ),
        "services": _interface(
            {
                "list-services": service_catalog.list_services,
                "get-service": service_catalog.get_service,
            },
            _INTERNAL,
        ),
    }
)
