"""Start, work, lose the runner, get it back, stop: what an operator sees on an ordinary day."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from gateway.verbs.certificates import make_certificates
from tests.fakes.runner import FakeRunner
from tests.journeys.process import EXIT_S, START_S, gateway_process

HELLO = "/api/ext/example.hello/hello"


async def test_with_no_configuration_the_sample_answers_where_the_output_says(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with (
        gateway_process(
            tmp_path, environ={"RUNNER_BUNDLE_DIR": str(bundle_dir)}, env_file={}
        ) as gateway,
        ClientSession() as client,
    ):
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
            assert (await answer.json())["tenant"] == "dev"
        printed = gateway.output.decode()
        page = next(line.split()[1] for line in printed.splitlines() if "  page " in line)
        curl = next(line.split()[-1] for line in printed.splitlines() if "  handler " in line)
        assert curl == gateway.url + HELLO
        async with client.get(page) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/html"
            assert answer.headers["cache-control"] == "no-cache"


async def test_whoever_does_not_read_the_output_is_served_all_the_same(
    tmp_path: Path, bundle_dir: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as unread:
        async with gateway_process(
            tmp_path, environ={"RUNNER_BUNDLE_DIR": str(bundle_dir)}, env_file={}, output=unread
        ) as gateway:
            async with ClientSession() as client, client.get(gateway.url + HELLO) as answer:
                assert answer.status == 200
            gateway.send(signal.SIGTERM)
            assert await gateway.exit_status() == 0
    assert "not_started" not in {line["event"] for line in gateway.lines}


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
async def test_it_serves_and_stops_with_its_standard_descriptors_closed(
    tmp_path: Path, bundle_dir: Path, closed: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    process = await asyncio.create_subprocess_shell(
        f'exec "{sys.executable}" -m gateway {closed}',
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "RUNNER_BUNDLE_DIR": str(bundle_dir),
            "GATEWAY_PORT": port,
        },
    )
    try:
        async with ClientSession() as client, asyncio.timeout(START_S):
            while process.returncode is None:
                with suppress(ClientError):
                    async with client.get(f"http://127.0.0.1:{port}/healthz") as answer:
                        assert answer.status == 200
                        break
                await asyncio.sleep(0.05)
        process.terminate()
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_S):
                await process.wait()
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0


async def test_a_stop_finishes_what_runs_and_takes_nothing_new(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with FakeRunner() as runner:
        env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_BASE_URL": runner.url}
        async with (
            gateway_process(tmp_path, environ={}, env_file=env_file) as gateway,
            ClientSession() as client,
        ):
            await gateway.event("backend_probed")
            runner.may_answer.clear()
            running = asyncio.create_task(client.get(gateway.url + HELLO))
            await runner.called()
            gateway.send(signal.SIGTERM)
            await gateway.until_it_refuses()
            runner.may_answer.set()
            answer = await running
            assert answer.status == 200
            assert await answer.json()
            assert await gateway.exit_status() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_what_comes_on_a_kept_connection_while_a_stop_begins_is_answered(
    tmp_path: Path, bundle_dir: Path, workers: str
) -> None:
    environ = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "GATEWAY_WORKERS": workers}
    async with (
        gateway_process(tmp_path, environ=environ, env_file={}) as gateway,
        ClientSession() as client,
    ):
        async with client.get(gateway.url + HELLO) as answer:
            assert "connection" not in answer.headers
        gateway.send(signal.SIGTERM)
        await gateway.until_it_refuses()
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
        assert await gateway.exit_status() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_signal_to_stop_ends_it_at_once_and_without_a_word(
    tmp_path: Path, bundle_dir: Path, workers: str, number: signal.Signals
) -> None:
    async with FakeRunner() as runner, ClientSession() as client:
        env_file = {"RUNNER_BUNDLE_DIR": str(bundle_dir), "RUNNER_BASE_URL": runner.url}
        environ = {"GATEWAY_WORKERS": workers}
        async with gateway_process(tmp_path, environ=environ, env_file=env_file) as gateway:
            await gateway.event("backend_probed")
            runner.may_answer.clear()
            running = asyncio.create_task(client.get(gateway.url + HELLO))
            await runner.called()
            gateway.send(number)
            await gateway.event("stopping")
            gateway.send(number)
            assert await gateway.exit_status() == -number
            with pytest.raises(ClientError):
                await running
    assert {"text", "library_logged"}.isdisjoint(line["event"] for line in gateway.lines)


async def test_a_runner_that_dies_and_returns_is_told_apart_at_every_step(
    tmp_path: Path, bundle_dir: Path
) -> None:
    async with FakeRunner() as runner:
        env_file = {
            "RUNNER_BUNDLE_DIR": str(bundle_dir),
            "RUNNER_BASE_URL": runner.url,
            "GATEWAY_PROBE_INTERVAL_MS": "100",
        }
        async with (
            gateway_process(tmp_path, environ={}, env_file=env_file) as gateway,
            ClientSession() as client,
        ):

            async def ask() -> tuple[int, str]:
                async with client.get(gateway.url + HELLO) as answer:
                    document = await answer.json(content_type=None)
                return answer.status, document.get("error", "")

            await gateway.event("backend_probed", readiness="ready")
            assert await ask() == (200, "")

            runner.may_answer.clear()
            runner.asked = asyncio.Queue()  # what came before does not count
            cut = asyncio.create_task(ask())
            await runner.called()
            await runner.stop()
            assert await cut == (502, "bad_gateway")
            assert await ask() == (503, "runner_unreachable")
            await gateway.event("runner_unreachable", backend="knative")

            runner.may_answer.set()
            await runner.start()
            assert await ask() == (200, "")


async def test_nothing_secret_reaches_the_log(tmp_path: Path, bundle_dir: Path) -> None:
    secrets = {
        "RUNNER_SERVICE_TOKEN": "service-token-0123456789",
        "GATEWAY_PROXY_KEY": "proxy-key-0123456789",
        "GATEWAY_ADMIN_TOKEN": "admin-token-0123456789",
    }
    async with FakeRunner() as runner:
        env_file = {
            "RUNNER_BUNDLE_DIR": str(bundle_dir),
            "RUNNER_BASE_URL": runner.url,
            "GATEWAY_AUTH": "proxy",
            "GATEWAY_LOG_LEVEL": "debug",
            **secrets,
        }
        async with (
            gateway_process(tmp_path, environ={}, env_file=env_file) as gateway,
            ClientSession() as client,
        ):
            headers = {
                "x-gateway-key": secrets["GATEWAY_PROXY_KEY"],
                "x-alga-tenant": "t-1",
                "authorization": "Bearer caller-token-0123456789",
                "cookie": "session=cookie-0123456789",
            }
            query = "?token=query-0123456789"
            for path in (HELLO, "/gateway/v1/backend", "/v1/execute", "/nowhere"):
                async with client.post(
                    gateway.url + path + query, headers=headers, data=b"body-0123456789"
                ):
                    pass
            gateway.send(signal.SIGHUP)
            await gateway.event("reload_unchanged")
            gateway.send(signal.SIGTERM)
            assert await gateway.exit_status() == 0
            said = str(gateway.lines) + gateway.output.decode()
    assert "0123456789" not in said
    assert "/api/ext/{extension}" in said


@pytest.mark.parametrize(
    ("verb", "workers", "variable"),
    [((), "1", "GATEWAY_PORT"), ((), "2", "GATEWAY_PORT"), (("runner",), "1", "PORT")],
    ids=["alone", "two-workers", "runner"],
)
async def test_a_port_in_use_is_named_with_what_to_change(
    tmp_path: Path, verb: tuple[str, ...], workers: str, variable: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        environ = {"GATEWAY_PORT": port, "PORT": port, "GATEWAY_WORKERS": workers}
        async with gateway_process(
            tmp_path, *verb, environ=environ, env_file={}, awaited="not_started"
        ) as gateway:
            line = await gateway.event("not_started", error="address_in_use", level="error")
            assert await gateway.exit_status() == 1
    assert line["variable"] == variable
    assert f"127.0.0.1:{port}" in line["detail"]
    assert f"set {variable} to" in line["fix"]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_certificate_that_does_not_fit_is_named_with_what_to_change(
    tmp_path: Path, workers: str
) -> None:
    one, other = make_certificates(tmp_path / "one"), make_certificates(tmp_path / "other")
    tls = {"GATEWAY_TLS_CERT": str(one.server), "GATEWAY_TLS_KEY": str(other.server_key)}
    async with gateway_process(
        tmp_path, environ=tls | {"GATEWAY_WORKERS": workers}, env_file={}, awaited="not_started"
    ) as gateway:
        line = await gateway.event("not_started", error="certificate_unusable")
        assert await gateway.exit_status() == 1
    assert gateway.lines == [line]
    assert line["variable"] == "GATEWAY_TLS_KEY"


@pytest.mark.parametrize(
    ("folder", "words"),
    [("file/bundles", "Not a directory"), ("not-writable", "unable to open database file")],
)
async def test_a_bundle_folder_that_cannot_be_used_is_named_at_a_start_and_refused_in_a_reload(
    tmp_path: Path, bundle_dir: Path, folder: str, words: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "not-writable").symlink_to("/proc")  # not even by root, whom no mode stops
    unusable = {"RUNNER_BUNDLE_DIR": str(tmp_path / folder)}
    async with gateway_process(
        tmp_path, environ={}, env_file=unusable, awaited="not_started"
    ) as gateway:
        assert await gateway.exit_status() == 1
        said = await gateway.event("not_started")
        assert said["error"] == "bundle_dir_unusable"
        assert str(tmp_path / folder) in said["detail"]
        assert words in said["detail"]
    assert {line["event"] for line in gateway.lines} == {"not_started"}  # and no traceback
    usable = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    async with gateway_process(tmp_path, environ={}, env_file=usable) as gateway:
        gateway.write_env(**unusable)
        gateway.send(signal.SIGHUP)
        refused = await gateway.event("reload_refused")
        assert (refused["reason"], refused["generation"]) == ("bundle_dir_unusable", 1)


async def test_a_serving_api_that_cannot_be_read_is_named_at_a_start_and_refused_in_a_reload(
    tmp_path: Path,
) -> None:
    (tmp_path / "kubeconfig").write_text("nothing")
    unusable = {
        "RUNNER_BASE_URL": "http://127.0.0.1:9",
        "RUNNER_KNATIVE_NAMESPACE": "extensions",
        "RUNNER_KNATIVE_SERVICE": "runner",
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }
    async with gateway_process(
        tmp_path, environ={}, env_file=unusable, awaited="not_started"
    ) as gateway:
        assert await gateway.exit_status() == 1
        said = await gateway.event("not_started", error="serving_api_unread")
        assert "no_cluster_credentials" in said["detail"]
    async with gateway_process(tmp_path, environ={}, env_file={}) as gateway:
        gateway.write_env(**unusable)
        gateway.send(signal.SIGHUP)
        why = await gateway.event("serving_api_unread")
        assert "no_cluster_credentials" in why["error"]
        assert (await gateway.event("reload_refused"))["reason"] == "serving_api_unread"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_env_file_that_is_gone_is_no_order_to_trust_everybody(
    tmp_path: Path, bundle_dir: Path, workers: str
) -> None:
    file = tmp_path / ".env"
    kept = f"RUNNER_BUNDLE_DIR={bundle_dir}\nGATEWAY_AUTH=proxy\nGATEWAY_PROXY_KEY={'k' * 32}\n"
    file.write_text(kept)
    by_default = {"GATEWAY_ENV_FILE": "", "GATEWAY_WORKERS": workers}
    async with (
        gateway_process(tmp_path, environ=by_default, env_file={}) as gateway,
        ClientSession() as client,
    ):
        file.unlink()
        gateway.send(signal.SIGHUP)
        refused = await gateway.event("reload_refused", reason="settings_invalid")
        assert [bad["variable"] for bad in refused["problems"]] == ["GATEWAY_ENV_FILE"]
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 401
        file.write_text(kept)
        gateway.send(signal.SIGHUP)
        await gateway.event("reload_unchanged")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_reload_changes_how_lines_look(
    tmp_path: Path, bundle_dir: Path, workers: str
) -> None:
    settings = {"RUNNER_BUNDLE_DIR": str(bundle_dir)}
    environ = {"GATEWAY_LOG_FORMAT": "", "GATEWAY_WORKERS": workers}
    async with (
        gateway_process(tmp_path, environ=environ, env_file=settings) as gateway,
        ClientSession() as client,
    ):
        gateway.write_env(**settings, GATEWAY_LOG_FORMAT="console")
        gateway.send(signal.SIGHUP)
        await gateway.event("text")
        async with client.get(gateway.url + HELLO) as answer:
            assert answer.status == 200
        gateway.send(signal.SIGTERM)
        assert await gateway.exit_status() == 0
    said = [line["text"] for line in gateway.lines if line["event"] == "text"]
    for event in ("backend_swapped", "generation_drained", "request_answered"):
        assert any(event in line for line in said)
