"""What a call shows of itself."""

import time

from backends.embedded.host.call import Call
from backends.embedded.host.services import HostServices
from tests.backends.embedded.host.calls import call_of


def test_a_printed_call_shows_no_secret(services: HostServices) -> None:
    call = call_of(services, secrets={"api_key": "hunter2"})
    assert "hunter2" not in repr(call)
    assert "runner-token" not in repr(call)


def test_the_remaining_time_is_capped_and_never_negative(services: HostServices) -> None:
    call = call_of(services)
    late = Call(call.request, call.granted, time.monotonic() - 1, services)
    assert call.remaining_s(3.0) == 3.0
    assert call.remaining_s() <= 20.0
    assert late.remaining_s() == 0.0
