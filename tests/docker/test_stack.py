"""The stack as its user drives it: up, call, swap, install, down."""

import asyncio
import json
import shutil
import stat
import sys
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.docker.load import load
from tests.docker.stack import HELLO, ROOT, Stack

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


async def backend_after(stack: Stack, client: aiohttp.ClientSession) -> str:
    """Who answers a call now."""
    async with client.get(HELLO, headers=stack.caller()) as answer:
        assert answer.status == 200
        return answer.headers["x-runner-backend"]


async def signal_gateway(stack: Stack, name: str) -> None:
    """Send its program a signal as docs/docker.md says, behind the engine's back."""
    await stack.compose("exec", "-T", "gateway", "sh", "-c", f"kill -{name} 1")


async def hang_up(stack: Stack, client: aiohttp.ClientSession, backend: str) -> None:
    """Write the backend's name to .env, send SIGHUP, and wait until it is current."""
    stack.write_env(RUNNER_BACKEND=backend)
    await signal_gateway(stack, "HUP")
    async with asyncio.timeout(30):
        while True:
            async with client.get("/gateway/v1/generations", headers=stack.operator()) as answer:
                if (await answer.json())["current"]["backend"] == backend:
                    return


async def installed(stack: Stack, folder: Path) -> str:
    """Install a folder on the host, for everybody; what the program says of it."""
    installing = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "bundle", "install", str(folder), "--tenant", "*",
        cwd=stack.folder,
        env=stack.host_environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(installing.communicate(), 60)
    assert installing.returncode == 0, errors.decode()
    return output.decode()


async def test_after_up_the_sample_answers_through_the_runners_container(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    async with client.get(HELLO, headers=stack.caller("acme")) as answer:
        assert answer.status == 200
        assert answer.headers["x-runner-backend"] == "docker"
        assert (await answer.json())["tenant"] == "acme"
    assert stack.url + HELLO in stack.up_printed


async def test_the_page_of_the_sample_comes_from_the_runners_container(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    where = "/gateway/v1/extensions/example.hello/ui-url"
    async with client.get(where, headers=stack.caller()) as answer:
        url = (await answer.json())["url"]
    async with client.get(url) as page:
        assert page.status == 200
        assert page.content_type == "text/html"
        assert page.headers["x-runner-backend"] == "docker"


async def test_the_keys_are_random_kept_to_their_owner_and_never_printed(stack: Stack) -> None:
    written = stack.env_file()
    keys = [
        written[name]
        for name in ("RUNNER_SERVICE_TOKEN", "GATEWAY_PROXY_KEY", "GATEWAY_ADMIN_TOKEN")
    ]
    assert len(set(keys)) == 3
    assert all(len(key) == 64 for key in keys)
    assert stat.S_IMODE((stack.folder / ".env").stat().st_mode) & 0o077 == 0
    said = stack.up_printed + (await stack.dev("logs")).stdout + (await stack.dev("status")).stdout
    assert not any(key in said for key in keys)


async def test_nobody_gets_in_without_a_key(stack: Stack, client: aiohttp.ClientSession) -> None:
    async with client.get(HELLO) as answer:
        assert answer.status == 401
    async with client.get("/gateway/v1/backend") as answer:
        assert answer.status == 401
    runner = f"http://127.0.0.1:{stack.environ['STACK_RUNNER_PORT']}"
    async with client.post(f"{runner}/v1/execute", json={}) as answer:
        assert answer.status == 401


async def test_every_port_is_published_on_loopback_only(stack: Stack) -> None:
    for service in ("gateway", "extension-runner"):
        described = await stack.compose("ps", "--format", "json", service)
        published = [one for one in json.loads(described)["Publishers"] if one["PublishedPort"]]
        assert {one["URL"] for one in published} == {"127.0.0.1"}


async def test_hang_ups_from_docker_to_embedded_and_back_lose_no_call(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    async with load(client, stack.caller()) as calls:
        await calls.see(20)
        for backend in ("embedded", "docker", "embedded", "docker"):
            await hang_up(stack, client, backend)
            await calls.see(20)
    assert set(calls.answers) == {(200, "", "docker"), (200, "", "embedded")}


async def test_after_a_hang_up_a_gateway_that_ends_is_still_started_again(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    await hang_up(stack, client, "embedded")
    before = await stack.started_at("gateway")
    await signal_gateway(stack, "TERM")
    async with asyncio.timeout(30):
        while await stack.started_at("gateway") == before:  # a process each time
            pass
    await stack.compose("up", "--detach", "--wait", "--no-build", "--no-recreate")
    await hang_up(stack, client, "docker")


async def test_the_script_swaps_and_prints_the_receipt(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    done = await stack.dev("swap", "embedded")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcome"] == "switched"
    assert await backend_after(stack, client) == "embedded"
    assert (await stack.dev("swap", "docker")).returncode == 0
    assert await backend_after(stack, client) == "docker"


async def test_a_swap_that_is_refused_says_why_and_leaves_the_file_as_it_was(
    stack: Stack, client: aiohttp.ClientSession
) -> None:
    before = stack.env_file()
    done = await stack.dev("swap", "knative")
    assert done.returncode == 1
    assert "RUNNER_BASE_URL" in done.stdout
    assert stack.env_file() == before
    assert await backend_after(stack, client) == "docker"


async def test_a_second_up_changes_neither_keys_nor_containers(stack: Stack) -> None:
    before = stack.env_file(), await stack.container("gateway")
    done = await stack.dev("up")
    assert done.returncode == 0, done.stderr
    assert (stack.env_file(), await stack.container("gateway")) == before


async def test_an_up_corrects_the_containers_user_that_another_engine_had(stack: Stack) -> None:
    user = stack.env_file()["STACK_USER"]
    stack.write_env(STACK_USER="0:0" if user != "0:0" else "1000:1000")
    done = await stack.dev("up")
    assert done.returncode == 0, done.stderr
    assert stack.env_file()["STACK_USER"] == user
    gateway = await stack.container("gateway")
    assert (await stack.docker("inspect", "--format", "{{.Config.User}}", gateway)).strip() == user


async def test_a_bundle_installed_on_the_host_is_run_without_any_restart(
    stack: Stack, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    started = await stack.compose("ps", "--format", "{{.ID}} {{.CreatedAt}}")
    folder = tmp_path / "hello"
    shutil.copytree(ROOT / "examples" / "hello", folder, ignore=shutil.ignore_patterns("node_*"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["name"], manifest["version"] = "example.greeter", "2.0.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))

    slug = (await installed(stack, folder)).split()[1]

    async with client.get(f"/api/ext/{slug}/hello", headers=stack.caller()) as answer:
        assert answer.status == 200
        assert answer.headers["x-runner-backend"] == "docker"
    assert await stack.compose("ps", "--format", "{{.ID}} {{.CreatedAt}}") == started


async def test_an_open_page_is_told_of_the_next_install_and_finds_it_in_the_runner(
    stack: Stack, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    folder = tmp_path / "hello"
    shutil.copytree(ROOT / "examples" / "hello", folder, ignore=shutil.ignore_patterns("node_*"))
    where = "/gateway/v1/extensions/example.hello/ui-url"
    async with client.get(where, headers=stack.caller()) as answer:
        resolved = await answer.json()
    page, shown = URL(resolved["url"], encoded=True), resolved["contentHash"]
    async with client.get(page) as answer:
        assert "ext-ui-reload/page.js" in await answer.text()

    extension = page.path.split("/")[3]
    changes = URL(f"/runner/ext-ui-reload/{extension}/{shown}/changes")
    async with client.get(changes.with_query({"_ext": page.query["_ext"]})) as answer:
        assert answer.status == 200
        with (folder / "ui" / "index.html").open("a") as file:
            file.write("<!-- saved -->")
        await installed(stack, folder)
        lines = [line async for line in answer.content if line.startswith(b"data: ")]
    (event,) = (json.loads(line.removeprefix(b"data: ")) for line in lines)
    moved = page.with_path(page.path.replace(shown, event["contentHash"]), keep_query=True)
    async with client.get(moved.update_query({"_ext": event["signed"]})) as answer:
        assert answer.status == 200
        assert answer.headers["x-runner-backend"] == "docker"
        assert "<!-- saved -->" in await answer.text()
