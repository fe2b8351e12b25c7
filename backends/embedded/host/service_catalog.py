"""services.list-services and services.get-service: what the host application sells."""

from collections.abc import Mapping

from backends.embedded.host.call import Call, Err, Ok
from backends.embedded.host.read_api import ReadApi
from backends.embedded.host.records import Member, flag, number, one_of, text

_SERVICES = ReadApi(
    api="ext-services",
    capability="cap:service.read",
    summary=(
        Member("service-id", text),
        Member("service-name", text),
        Member("item-kind", one_of("service", "product")),
        Member("billing-method", one_of("fixed", "hourly", "usage")),
        Member("service-type-id", text),
        Member("service-type-name", text, optional=True),
        Member("default-rate", number),
        Member("unit-of-measure", text),
        Member("is-active", flag),
        Member("sku", text, optional=True),
    ),
)


def list_services(call: Call, wanted: Mapping[str, object]) -> Ok | Err:
    """One page of services (a services-list-result). Errors: see ReadApi.list_page."""
    return _SERVICES.list_page(call, wanted)


def get_service(call: Call, service_id: str) -> Ok | Err:
    """One service (a service-summary) or none. Errors: see ReadApi.list_page."""
    return _SERVICES.get(call, "service-id", service_id)
