"""The port: spread over processes, noticed when taken, taken over when passed."""

import errno
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.settings import Listen
from gateway.sockets.listeners import Sockets, listening, origin_of, unusable
from gateway.variables.unusable import UnusableHere

ROOT = Path(__file__).parents[3]

spread_by_the_kernel = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone does it")


def closed_after(stack: ExitStack, shares: list[Sockets]) -> list[Sockets]:
    for one in {each for share in shares for each in share}:
        stack.enter_context(one)
    return shares


@spread_by_the_kernel
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_every_process_has_its_own_socket_on_one_port(host: str) -> None:
    listen = Listen(host=host, port=0)
    with ExitStack() as stack:
        shares = closed_after(stack, listening(listen, {}, shares=3))
        assert [len(share) for share in shares] == [1, 1, 1]
        assert len({one.fileno() for (one,) in shares}) == 3
        assert len({one.getsockname() for (one,) in shares}) == 1
        accepted = 0
        for _ in range(60):
            with socket.create_connection(shares[0][0].getsockname()[:2]):
                pass
        for (one,) in shares:
            count = 0
            while True:
                try:
                    one.accept()[0].close()
                except BlockingIOError:
                    break
                count += 1
            assert count > 0
            accepted += count
        assert accepted == 60
        bracketed = f"[{host}]" if ":" in host else host
        assert origin_of(listen, shares[0]) == f"http://{bracketed}:{shares[0][0].getsockname()[1]}"


def test_processes_share_one_socket_where_the_kernel_does_not_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On macOS one of several sockets would get every connection; which, no test here can see.
    monkeypatch.setattr("gateway.sockets.listeners._SPREADS", False)
    with ExitStack() as stack:
        shares = closed_after(stack, listening(Listen(host="127.0.0.1", port=0), {}, shares=3))
        assert len({one for share in shares for one in share}) == 1
        assert [len(share) for share in shares] == [1, 1, 1]


@pytest.mark.parametrize("shares", [1, 2])
def test_a_taken_port_is_noticed_also_where_it_could_be_shared(shares: int) -> None:
    with ExitStack() as stack:
        (first, *_) = closed_after(stack, listening(Listen(host="127.0.0.1", port=0), {}, shares=2))
        port = first[0].getsockname()[1]
        with pytest.raises(UnusableHere) as refused:
            listening(Listen(host="127.0.0.1", port=port), {}, shares=shares)
        assert refused.value.code == "address_in_use"
        assert refused.value.problem.variable == "GATEWAY_PORT"
        assert f"127.0.0.1:{port} is in use" in refused.value.problem.problem


@pytest.mark.parametrize(
    ("number", "code", "variable"),
    [
        (errno.EADDRINUSE, "address_in_use", "GATEWAY_PORT"),
        (errno.EACCES, "address_not_permitted", "GATEWAY_PORT"),
        (errno.EADDRNOTAVAIL, "address_not_here", "GATEWAY_HOST"),
        (errno.ENOBUFS, "address_unusable", "GATEWAY_HOST"),
    ],
)
def test_every_refusal_of_an_address_names_it_and_what_to_change(
    number: int, code: str, variable: str
) -> None:
    refused = unusable(Listen(host="::1", port=80), OSError(number, os.strerror(number)))
    assert (refused.code, refused.problem.variable) == (code, variable)
    assert "[::1]:80 " in refused.problem.problem
    assert variable in refused.problem.fix


def test_an_address_of_another_machine_is_told_apart() -> None:
    with pytest.raises(UnusableHere) as refused:
        listening(Listen(host="192.0.2.1", port=0), {})
    assert refused.value.code == "address_not_here"


def test_every_ipv6_address_of_a_machine_without_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "if_inet6"
    nowhere.touch()
    monkeypatch.setattr("gateway.sockets.listeners._IPV6_ADDRESSES", nowhere)
    with pytest.raises(UnusableHere) as refused:
        listening(Listen(host="::", port=0), {})
    assert refused.value.code == "address_not_here"
    assert "no IPv6 address" in refused.value.problem.problem
    assert "0.0.0.0" in refused.value.problem.fix


def test_sockets_that_are_meant_for_another_process_are_left_alone() -> None:
    with ExitStack() as stack:
        environ = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid() + 1)}
        shares = closed_after(stack, listening(Listen(host="127.0.0.1", port=0), environ))
        assert shares[0][0].fileno() > 3


HEIR = """
import os, sys
from gateway.sockets.listeners import listening, origin_of
from gateway.settings import Listen
from gateway.variables.unusable import UnusableHere
listen = Listen(host=sys.argv[1], port=1)
try:
    shares = listening(listen, os.environ, shares=int(sys.argv[2]))
except OSError as refused:
    sys.exit(refused.strerror)
print(origin_of(listen, shares[0]), [[one.fileno() for one in share] for share in shares])
"""


def inherit(*sockets: socket.socket, host: str, shares: int) -> "subprocess.CompletedProcess[str]":
    """Run HEIR with these sockets, by way of gateway.take_over."""
    descriptors = [one.fileno() for one in sockets]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "gateway.take_over",
            ",".join(map(str, descriptors)),
            "-c",
            HEIR,
            host,
            str(shares),
        ],
        env={"PYTHONPATH": str(ROOT)},
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_passed_socket_is_the_port_and_is_shared_by_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        told = inherit(one, host="127.0.0.1", shares=2)
        assert told.stdout == f"http://127.0.0.1:{one.getsockname()[1]} [[3], [3]]\n", told.stderr


def test_as_many_sockets_as_are_passed_are_taken() -> None:
    # Two for each of many workers: what was left out would keep its clients waiting for ever.
    with ExitStack() as opened:
        passed = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(128)]
        told = inherit(*passed, host="127.0.0.1", shares=1)
        assert told.stdout.endswith(f" [{list(range(3, 3 + 128))}]\n"), told.stderr


@spread_by_the_kernel
def test_passed_sockets_are_dealt_out_whole() -> None:
    with ExitStack() as stack:
        shares = listening(Listen(host="127.0.0.1", port=0), {}, shares=3)
        closed_after(stack, shares)
        sockets = [one for share in shares for one in share]
        assert "[[3, 5], [4]]" in inherit(*sockets, host="127.0.0.1", shares=2).stdout
        # More processes than sockets: these may be multiplied.
        assert "[[3], [4], [5], [6]]" in inherit(*sockets, host="127.0.0.1", shares=4).stdout


def test_a_passed_socket_may_not_be_wider_than_the_settings_say() -> None:
    with socket.create_server(("0.0.0.0", 0)) as one:
        refused = inherit(one, host="127.0.0.1", shares=1)
        assert refused.returncode == 1
        assert "set GATEWAY_HOST" in refused.stderr
        assert "[[3]]" in inherit(one, host="0.0.0.0", shares=1).stdout


def test_what_is_passed_must_listen() -> None:
    with socket.socket() as one:
        refused = inherit(one, host="127.0.0.1", shares=1)
    assert "is not a listening socket" in refused.stderr


def test_the_origin_is_one_that_a_browser_can_open_where_there_is_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as local, socket.create_server(("127.0.0.1", 0)) as tcp:
        local.bind(str(tmp_path / "socket"))
        listen, port = Listen(host="127.0.0.1", port=0), tcp.getsockname()[1]
        assert origin_of(listen, [local, tcp]) == f"http://127.0.0.1:{port}"
        assert origin_of(listen, [local]) == f"unix:{tmp_path / 'socket'}"
