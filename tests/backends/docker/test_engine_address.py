"""Which engine is asked, and who said so."""

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from backends.docker_engine.address import EngineAddress, EngineNotFound, find_engine
from backends.settings import EngineHints


@pytest.fixture
def home() -> Iterator[Path]:
    with TemporaryDirectory(prefix="home-") as folder:  # short: sockets are bound below it
        yield Path(folder)


@pytest.fixture
def listening(home: Path) -> Iterator[set[socket.socket]]:
    made: set[socket.socket] = set()
    yield made
    for each in made:
        each.close()


def listen(path: Path, listening: set[socket.socket]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    listening.add(made)
    return path


def write_context(config: Path, name: str, host: str) -> Path:
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta = config / "contexts" / "meta" / folder / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))
    return config / "contexts" / "tls" / folder / "docker"


def find(hints: EngineHints, *sockets: Path) -> EngineAddress:
    return find_engine(hints, system_sockets=sockets)


def test_the_nearer_word_wins(home: Path, listening: set[socket.socket]) -> None:
    config = home / ".docker"
    write_context(config, "work", "tcp://10.0.0.7:2375")
    write_context(config, "colima", "unix:///colima.sock")
    (config / "config.json").write_text('{"currentContext":"colima"}')
    system = listen(home / "docker.sock", listening)
    rootless = listen(home / "run" / "docker.sock", listening)
    by_host = EngineHints(docker_host="unix:///a.sock", docker_context="work", config_dir=config)
    assert find(by_host, system) == EngineAddress(url="unix:///a.sock", why="DOCKER_HOST")
    by_context = EngineHints(docker_context="work", config_dir=config)
    assert find(by_context, system).url == "http://10.0.0.7:2375"
    current = EngineHints(config_dir=config, runtime_dir=home / "run")
    assert find(current, system).url == "unix:///colima.sock"
    assert "'colima'" in find(current, system).why
    (config / "config.json").write_text('{"currentContext":"default"}')
    assert find(current, system) == EngineAddress(
        url=f"unix://{rootless}", why="the rootless socket"
    )
    rootless.unlink()
    assert find(current, system) == EngineAddress(url=f"unix://{system}", why="a well-known socket")


def test_sockets_in_the_home_folder_are_found(home: Path, listening: set[socket.socket]) -> None:
    colima = listen(home / ".colima" / "default" / "docker.sock", listening)
    found = find(EngineHints(home=home))
    assert found == EngineAddress(url=f"unix://{colima}", why="Colima's socket")


def test_a_file_that_is_no_socket_is_no_engine(home: Path) -> None:
    (home / "docker.sock").write_text("")
    with pytest.raises(EngineNotFound, match="engine_not_found"):
        find(EngineHints(home=home), home / "docker.sock")


def test_a_context_with_certificates_is_spoken_to_over_tls(home: Path) -> None:
    tls = write_context(home, "far", "tcp://engine.example:2376")
    tls.mkdir(parents=True)
    found = find(EngineHints(docker_context="far", config_dir=home))
    assert (found.url, found.tls_dir) == ("https://engine.example:2376", tls)
    assert found.remote_host == "engine.example"


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("ssh://me@host", "engine_address_unsupported"),
        ("unix://relative.sock", "engine_address_malformed"),
        ("tcp://user:s3cret@host:1", "engine_address_malformed"),
        ("tcp://host:99999", "engine_address_malformed"),
        ("nonsense", "engine_address_malformed"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_repeated(
    host: str, reason: str
) -> None:
    with pytest.raises(EngineNotFound) as caught:
        find(EngineHints(docker_host=host))
    assert caught.value.reason == reason
    assert "s3cret" not in str(caught.value)


def test_a_context_that_is_not_there_is_said(home: Path) -> None:
    (home / "config.json").write_text("not json")
    with pytest.raises(EngineNotFound, match="context_not_found"):
        find(EngineHints(docker_context="gone", config_dir=home))


@pytest.mark.parametrize("host", ["tcp://localhost:2375", "tcp://[::1]:2375", "unix:///a"])
def test_an_engine_on_this_machine_is_not_remote(host: str) -> None:
    assert find(EngineHints(docker_host=host)).remote_host is None
