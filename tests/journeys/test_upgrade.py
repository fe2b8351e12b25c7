"""The program is replaced by another instance while clients call: nobody is turned away."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.fakes.runner import FakeRunner
from tests.journeys.load import HELLO, load_on
from tests.journeys.process import gateway_process


async def test_a_hand_over_under_load_refuses_no_connection(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with FakeRunner() as runner:
        env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_BASE_URL": runner.url}
        async with gateway_process(tmp_path, environ={}, env_file=env_file) as gateway:
            await gateway.event("backend_probed")
            async with load_on(gateway.url) as load:
                await load.more(200)
                gateway.send(signal.SIGUSR2)
                successor = (await gateway.event("handed_over"))["successor"]
                assert await gateway.exit_status() == 0
                await load.more(200)
            os.kill(successor, signal.SIGTERM)
    assert not load.failures
    assert set(load.answers) == {200}


async def test_a_successor_that_cannot_start_changes_nothing(
    tmp_path: Path, bundle_dir: Path
) -> None:
    env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    async with (
        gateway_process(tmp_path, environ={}, env_file=env_file) as gateway,
        ClientSession() as client,
    ):
        gateway.write_env(**env_file, RUNNER_BACKEND="dokcer")
        gateway.send(signal.SIGUSR2)
        failed = await gateway.event("hand_over_failed")
        assert failed["error"] == "successor_ended"
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200


async def test_a_folder_whose_name_is_too_long_for_a_socket_is_named_as_the_reason(
    tmp_path: Path, bundle_dir: Path
) -> None:
    temporary = tmp_path / ("x" * 100)
    temporary.mkdir()
    env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    environ = {"TMPDIR": str(temporary)}
    async with gateway_process(tmp_path, environ=environ, env_file=env_file) as gateway:
        gateway.send(signal.SIGUSR2)
        failed = await gateway.event("hand_over_failed")
    assert (failed["error"], failed["detail"]) == ("OSError", "AF_UNIX path too long")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stop_ends_what_a_hand_over_has_begun(
    tmp_path: Path, bundle_dir: Path, workers: str
) -> None:
    env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    environ = {"GATEWAY_WORKERS": workers}
    async with gateway_process(tmp_path, environ=environ, env_file=env_file) as gateway:
        gateway.send(signal.SIGUSR2)
        successor = (await gateway.event("hand_over_begun"))["successor"]
        gateway.send(signal.SIGTERM)
        gateway.send(signal.SIGUSR2)
        assert await gateway.exit_status() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(successor, 0)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_stop_of_the_old_instance_is_its_first(
    tmp_path: Path, bundle_dir: Path, workers: str
) -> None:
    # As whoever upgrades other programs does: let the new one start, then stop the old one.
    async with FakeRunner() as runner:
        env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_BASE_URL": runner.url}
        environ = {"GATEWAY_WORKERS": workers}
        async with (
            gateway_process(tmp_path, environ=environ, env_file=env_file) as gateway,
            ClientSession() as client,
        ):
            runner.may_answer.clear()
            calling = asyncio.create_task(client.get(gateway.url + HELLO))
            await runner.called()
            gateway.send(signal.SIGUSR2)
            successor = (await gateway.event("handed_over"))["successor"]
            gateway.send(signal.SIGTERM)
            runner.may_answer.set()
            assert (await calling).status == 200
            assert await gateway.exit_status() == 0
            os.kill(successor, signal.SIGTERM)


async def test_whoever_connects_between_two_instances_waits_instead_of_being_refused(
    tmp_path: Path, bundle_dir: Path
) -> None:
    # What a service manager does: it holds the socket, and starts the program with it.
    env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        async with ClientSession() as client:
            async with gateway_process(
                tmp_path, environ={}, env_file=env_file, sockets=[held]
            ) as first:
                assert first.url == url
                async with client.get(url + HELLO) as answer:
                    assert answer.status == 200
                first.send(signal.SIGTERM)
                assert await first.exit_status() == 0
            waiting = asyncio.create_task(client.get(url + HELLO))
            workers = {"GATEWAY_WORKERS": "2"}
            async with gateway_process(
                tmp_path, environ=workers, env_file=env_file, sockets=[held]
            ) as second:
                assert second.url == url
                assert (await waiting).status == 200
                second.send(signal.SIGTERM)  # both workers have the one socket that there is
                assert await second.exit_status() == 0
            assert not [line for line in second.lines if line["level"] == "error"]


@pytest.mark.parametrize("count", [1, 2])
async def test_whoever_started_it_is_told_when_it_serves_and_when_it_stops(
    tmp_path: Path, bundle_dir: Path, count: int
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        manager.bind(str(tmp_path / "notify"))
        environ = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "GATEWAY_WORKERS": str(count),
            "RUNNER_BUNDLE_DIR": str(bundle_dir),
        }
        async with gateway_process(tmp_path, environ=environ, env_file={}) as gateway:
            assert await loop.sock_recv(manager, 100) == b"READY=1"
            gateway.send(signal.SIGTERM)
            assert await gateway.exit_status() == 0
            assert await loop.sock_recv(manager, 100) == b"STOPPING=1"
            with pytest.raises(BlockingIOError):  # workers have nothing to tell it
                manager.recv(100)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_service_manager_hears_of_every_successor_and_of_no_stop_before_the_last(
    tmp_path: Path, bundle_dir: Path, count: int
) -> None:
    loop = asyncio.get_running_loop()
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        manager.bind(str(tmp_path / "notify"))

        async def main_pid() -> int:
            async with asyncio.timeout(30):
                while not heard or not heard[-1].startswith("MAINPID="):
                    told = (await loop.sock_recv(manager, 100)).decode().splitlines()
                    heard.extend(each for each in told if each != "READY=1")
            return int(heard[-1].partition("=")[2])

        environ = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "GATEWAY_WORKERS": str(count),
            "RUNNER_BUNDLE_DIR": str(bundle_dir),
        }
        async with gateway_process(tmp_path, environ=environ, env_file={}) as gateway:
            gateway.send(signal.SIGUSR2)
            first = await main_pid()
            parent, predecessor = parent_of(first), gateway.pid
            assert await gateway.exit_status() == 0
            heard.append("the first has ended")
            os.kill(first, signal.SIGUSR2)
            second = await main_pid()
            os.kill(second, signal.SIGTERM)
        # Its log is at an end, so nobody is left who could say something.
        with suppress(BlockingIOError):
            while True:
                heard += manager.recv(100).decode().splitlines()
    # systemd asks once who is the parent, and kills at a stop what is not its own child.
    assert parent != predecessor
    told = [each for each in heard if each != "READY=1"]
    assert told == [f"MAINPID={first}", "the first has ended", f"MAINPID={second}", "STOPPING=1"]


def parent_of(pid: int) -> int:
    """The process id of its parent."""
    _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    return int(fields.split()[1])
