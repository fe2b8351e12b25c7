"""From variables to settings: defaults, backends, comparison, and what may be shown."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backends.files.token import token_now
from backends.settings import (
    DockerSettings,
    EmbeddedSettings,
    HostApiSettings,
    KnativeSettings,
    Timeouts,
)
from gateway.settings import (
    DirectoryInstallsSettings,
    RegistryInstallsSettings,
    SettingsError,
    changed,
    effective,
    load,
    restart_needed,
    with_static_of,
)
from middleware.caller import DevAuth, ProxyAuth

SECRETS = {
    "RUNNER_SERVICE_TOKEN": "hush-service-token",
    "RUNNER_STORAGE_API_TOKEN": "hush-storage-token",
    "RUNNER_CONFIG_API_TOKEN": "hush-config-token",
    "GATEWAY_PROXY_KEY": "hush-proxy-key-0123456789",
    "GATEWAY_ADMIN_TOKEN": "hush-admin-token",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a developer's own .env must not decide a test


def test_nothing_configured_is_a_gateway_on_loopback_with_the_embedded_backend() -> None:
    settings = load({}, on_terminal=False)
    assert (settings.listen.host, settings.listen.port) == ("127.0.0.1", 8787)
    assert settings.listen.is_loopback
    assert settings.backend == settings.embedded
    assert isinstance(settings.backend, EmbeddedSettings)
    assert settings.auth == DevAuth(tenant="dev")
    assert settings.installs == DirectoryInstallsSettings(
        bundle_dir=Path(".gateway/bundles"), tenant="dev"
    )
    assert (settings.timeout_s, settings.drain_s, settings.probe_interval_s) == (30, 30, 5)
    assert (settings.log_format, settings.log_level) == ("json", "info")


def test_in_dev_mode_the_names_that_are_configured_lead_here() -> None:
    told = {
        "RUNNER_PUBLIC_BASE": "https://Ext.example:8443/runner",
        "EXT_GATEWAY_ALLOWED_ORIGINS": "https://app.example:3000",
    }
    assert load(told, on_terminal=False).auth == DevAuth(
        tenant="dev",
        hosts=frozenset({"ext.example", "app.example"}),
        origins=frozenset({"https://app.example:3000"}),
    )


def test_a_base_url_alone_chooses_knative() -> None:
    assert load({"RUNNER_BASE_URL": "http://runner.example/base/"}).backend == KnativeSettings(
        base_url="http://runner.example/base"
    )


def test_knative_gets_its_host_token_and_budgets(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("projected\n")
    settings = load(
        {
            "RUNNER_BACKEND": "Knative",
            "RUNNER_BASE_URL": "https://ingress:8443",
            "RUNNER_KNATIVE_HOST": "Runner.NS.example",
            "RUNNER_KNATIVE_TOKEN_FILE": str(token),
            "RUNNER_PUBLIC_BASE": "https://ext.example/",
            "RUNNER_CONNECT_TIMEOUT_MS": "250",
            "RUNNER_FIRST_BYTE_TIMEOUT_MS": "1500",
            "RUNNER_IDLE_TIMEOUT_MS": "900",
        }
    )
    assert settings.backend == KnativeSettings(
        base_url="https://ingress:8443",
        public_base="https://ext.example",
        timeouts=Timeouts(connect_s=0.25, first_byte_s=1.5, call_first_byte_s=1.5, idle_s=0.9),
        token_file=token,
        host="runner.ns.example",
    )


def test_docker_gets_a_given_address_a_fallback_and_where_to_look() -> None:
    environ = {"RUNNER_BACKEND": "docker", "RUNNER_BASE_URL": "http://shared:1"}
    found = load(environ).backend
    assert isinstance(found, DockerSettings)
    assert (found.host_url, found.fallback_url) == (None, "http://shared:1")
    assert (found.project, found.service) == (None, "extension-runner")
    told = load(
        {
            **environ,
            "RUNNER_DOCKER_HOST": "http://127.0.0.1:8085",
            "RUNNER_DOCKER_PROJECT": "dev",
            "RUNNER_DOCKER_SERVICE": "runner",
            "RUNNER_DOCKER_PUBLIC_URL": "http://localhost:8085/",
            "DOCKER_HOST": "unix:///engine.sock",
            "DOCKER_CONTEXT": "colima",
            "DOCKER_CONFIG": "config",
            "DOCKER_TLS_VERIFY": "1",
            "XDG_RUNTIME_DIR": "run",
        }
    ).backend
    assert isinstance(told, DockerSettings)
    assert told.host_url == "http://127.0.0.1:8085"
    assert (told.project, told.service) == ("dev", "runner")
    assert told.public_url == "http://localhost:8085"
    hints = told.engine
    assert (hints.docker_host, hints.docker_context) == ("unix:///engine.sock", "colima")
    assert (hints.config_dir, hints.runtime_dir) == (Path("config"), Path("run"))
    assert hints.tls_verify


def test_an_engine_address_may_hold_no_password() -> None:
    with pytest.raises(SettingsError) as refused:
        load({"DOCKER_HOST": "tcp://me:s3cret@engine:2375"})
    assert "s3cret" not in str(refused.value)


def test_the_embedded_backend_gets_everything_it_can_be_told() -> None:
    settings = load(
        {
            "RUNNER_BUNDLE_DIR": "bundles",
            "RUNNER_MEMORY_MB": "64",
            "RUNNER_MAX_CONCURRENCY": "3",
            "RUNNER_MAX_QUEUE": "0",
            "EXT_EGRESS_ALLOWLIST": "Api.example, .files.example",
            "EXT_UI_CONTENT_SECURITY_POLICY": "default-src 'self'",
            "EXT_UI_FRAME_ANCESTORS": "'self' https://app.example",
            "EXT_STATIC_MAX_FILE_BYTES": "1000",
            "UI_PROXY_BASE_URL": "http://127.0.0.1:9",
            "UI_PROXY_TIMEOUT_MS": "100",
            "STORAGE_API_BASE_URL": "http://app.example/api/",
            "RUNNER_SERVICE_TOKEN": "service",
        }
    )
    assert settings.embedded == EmbeddedSettings(
        bundle_dir=Path("bundles"),
        memory_mb=64,
        max_concurrency=3,
        max_queue=0,
        egress_allowlist=("api.example", "files.example"),
        host_api=HostApiSettings(base_url="http://app.example", token="service"),
        ui_proxy_base_url="http://127.0.0.1:9",
        ui_proxy_timeout_s=0.1,
        content_security_policy="default-src 'self'",
        frame_ancestors="'self' https://app.example",
        max_asset_bytes=1000,
    )


def test_what_follows_from_the_service_tokens_file_is_renewed_with_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("before\n")
    environ = {"STORAGE_API_BASE_URL": "http://app", "RUNNER_SERVICE_TOKEN_FILE": str(token)}
    settings = load(environ)
    assert "before" in settings.secrets_now
    token.write_text("afterwards\n")
    assert token_now(settings.service_token) == "afterwards"
    assert settings.embedded.host_api is not None
    assert token_now(settings.embedded.host_api.token) == "afterwards"
    assert settings.secrets_now >= {"before", "afterwards"}
    assert changed(settings, load(environ)) == ()
    (shown,) = (row for row in effective(settings) if row.variable == "RUNNER_STORAGE_API_TOKEN")
    assert shown.value == "(set)"


def test_a_registry_makes_installs_come_from_it() -> None:
    environ = {"REGISTRY_BASE_URL": "http://app", "RUNNER_STORAGE_API_TOKEN": "storage"}
    installs = load(environ).installs
    assert installs == RegistryInstallsSettings(
        base_url="http://app", token="storage", bundle_dir=Path(".gateway/bundles")
    )
    installs = load({**environ, "RUNNER_CONFIG_API_TOKEN": "config"}).installs
    assert isinstance(installs, RegistryInstallsSettings)
    assert installs.token == "config"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://app/api", "http://app"),
        ("http://app/api/", "http://app"),
        ("http://app/base//api", "http://app/base"),
        ("http://app/my-api", "http://app/my-api"),
        ("http://api", "http://api"),
    ],
)
def test_the_application_is_the_same_with_and_without_the_api_of_its_paths(
    written: str, meant: str
) -> None:
    settings = load({"REGISTRY_BASE_URL": written, "RUNNER_STORAGE_API_TOKEN": "storage"})
    assert isinstance(settings.installs, RegistryInstallsSettings)
    assert settings.installs.base_url == meant
    assert settings.embedded.host_api == HostApiSettings(base_url=meant, token="storage")


def test_proxy_mode_carries_the_shared_key() -> None:
    key = SECRETS["GATEWAY_PROXY_KEY"]
    settings = load({"GATEWAY_AUTH": "proxy", "GATEWAY_PROXY_KEY": key, "GATEWAY_HOST": "0.0.0.0"})
    assert settings.auth == ProxyAuth(key=key)
    assert not settings.listen.is_loopback


def test_a_shorter_whole_budget_shortens_the_default_first_byte_budget() -> None:
    backend = load({"RUNNER_BASE_URL": "http://r", "EXT_GATEWAY_TIMEOUT_MS": "5000"}).backend
    assert isinstance(backend, KnativeSettings)
    assert backend.timeouts.first_byte_s == 5


def test_a_handler_has_its_whole_budget_unless_the_first_byte_is_limited() -> None:
    environ = {"RUNNER_BASE_URL": "http://r"}
    for limit, budget_s in ({}, 30), ({"RUNNER_FIRST_BYTE_TIMEOUT_MS": "4000"}, 4):
        settings = load(environ | limit)
        assert isinstance(settings.backend, KnativeSettings)
        assert settings.backend.timeouts.call_first_byte_s == (budget_s if limit else None)
        assert settings.guest_budget_s == budget_s


def test_logs_look_for_eyes_on_a_terminal_unless_told() -> None:
    assert load({}, on_terminal=True).log_format == "console"
    assert load({"GATEWAY_LOG_FORMAT": "json"}, on_terminal=True).log_format == "json"


def test_all_bad_variables_are_reported_at_once_with_what_to_write() -> None:
    with pytest.raises(SettingsError) as refused:
        load(
            {
                "RUNNER_BACKEND": "kubernetes",
                "GATEWAY_PORT": "eighty",
                "GATEWAY_HOST": "0.0.0.0",
                "EXT_GATEWAY_ALLOWED_ORIGINS": "*",
                "GATEWAY_TLS_CERT": "no-such-file",
            }
        )
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "RUNNER_BACKEND",
        "GATEWAY_PORT",
        "GATEWAY_TLS_CERT",
        "EXT_GATEWAY_ALLOWED_ORIGINS",
        "GATEWAY_AUTH",
    ]
    assert "knative" in lines[0]
    assert "docker" in lines[0]
    assert "embedded" in lines[0]
    assert all(bad.fix for bad in refused.value.problems)


def test_a_bad_value_is_not_blamed_a_second_time_as_missing() -> None:
    with pytest.raises(SettingsError) as refused:
        load({"RUNNER_BACKEND": "knative", "RUNNER_BASE_URL": "ftp://runner"})
    assert [bad.variable for bad in refused.value.problems] == ["RUNNER_BASE_URL"]


def test_no_problem_repeats_a_value() -> None:
    hidden = "hush\x07hush"
    environ = dict.fromkeys(SECRETS, hidden) | {
        "RUNNER_BASE_URL": "http://user:hush@host",
        "REGISTRY_BASE_URL": "http://host?key=hush",
        "RUNNER_BACKEND": "hush",
        "GATEWAY_PORT": "hush",
    }
    with pytest.raises(SettingsError) as refused:
        load(environ)
    assert len(refused.value.problems) == len(environ)
    assert "hush" not in str(refused.value)
    assert refused.value.__context__ is None  # a traceback would print what it holds


def test_no_secret_shows_in_repr_or_in_the_effective_table() -> None:
    settings = load({**SECRETS, "GATEWAY_AUTH": "proxy", "REGISTRY_BASE_URL": "http://app.example"})
    assert "hush" not in repr(settings)
    assert "hush" not in repr(settings.variables)
    assert "hush" not in repr(effective(settings))
    assert settings.secrets == frozenset(SECRETS.values())
    shown = {row.variable: row.value for row in effective(settings)}
    assert {shown[name] for name in SECRETS} == {"(set)"}


def test_the_effective_table_says_value_origin_and_tier() -> None:
    rows = {row.variable: row for row in effective(load({"GATEWAY_PORT": "0"}))}
    assert (rows["GATEWAY_PORT"].value, rows["GATEWAY_PORT"].origin) == ("0", "environment")
    assert rows["GATEWAY_PORT"].tier == "static"
    assert rows["GATEWAY_ADMIN_TOKEN"].value == ""
    assert rows["RUNNER_BACKEND"].value == "embedded"
    assert rows["RUNNER_BACKEND"].tier == "dynamic"
    assert rows["GATEWAY_JWT_ALGORITHMS"].value == "RS256, ES256"


def test_changed_names_variables_and_restart_needed_the_static_ones_among_them() -> None:
    old = load({})
    new = load({"GATEWAY_PORT": "1", "RUNNER_BASE_URL": "http://runner"})
    assert changed(old, old) == ()
    assert set(changed(old, new)) == {"GATEWAY_PORT", "RUNNER_BACKEND", "RUNNER_BASE_URL"}
    assert restart_needed(old, new) == ("GATEWAY_PORT",)


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process may run on one of the machine's cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_core")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone binds a process to cores")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs a machine with two cores")
def test_only_cores_that_the_process_may_use_are_counted() -> None:
    settings = load({"GATEWAY_WORKERS": "auto"})
    assert (settings.listen.workers, settings.embedded.max_concurrency) == (1, 1)
    assert load({"RUNNER_MAX_CONCURRENCY": "5"}).embedded.max_concurrency == 5


def test_a_reload_keeps_what_is_static_and_takes_the_rest() -> None:
    old = load({"GATEWAY_PORT": "1"})
    new = load({"GATEWAY_HOST": "::1", "RUNNER_BASE_URL": "http://runner"})
    merged = with_static_of(new, old)
    assert merged.listen == old.listen
    assert merged.backend == new.backend
    assert restart_needed(old, merged) == ()
    assert changed(new, merged) == ("GATEWAY_HOST", "GATEWAY_PORT")
    assert merged.origins["GATEWAY_PORT"] == "environment"
    assert merged.origins["GATEWAY_HOST"] == "default"


def test_a_reload_keeps_what_a_verb_put_in_place_of_a_variable() -> None:
    old = load({})
    served = replace(old, listen=replace(old.listen, host="0.0.0.0", port=8080))
    new = replace(load({"RUNNER_BASE_URL": "http://runner"}), backend=old.embedded)
    merged = with_static_of(new, served)
    assert merged.listen == served.listen
    assert merged.backend == old.embedded


def test_a_reload_cannot_make_an_open_listener_trust_everybody(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_AUTH=proxy\n")
    old = load(
        {
            "GATEWAY_HOST": "0.0.0.0",
            "GATEWAY_AUTH": "proxy",
            "GATEWAY_PROXY_KEY": SECRETS["GATEWAY_PROXY_KEY"],
        }
    )
    new = load({"GATEWAY_HOST": "127.0.0.1", "GATEWAY_AUTH": "dev"})
    with pytest.raises(SettingsError) as refused:
        with_static_of(new, old)
    assert [bad.variable for bad in refused.value.problems] == ["GATEWAY_AUTH"]
    assert refused.value.pinned == ("GATEWAY_AUTH",)


def test_the_first_byte_limit_of_files_is_shown_where_nobody_has_chosen_one() -> None:
    for environ, shown in ({}, "25000"), ({"EXT_GATEWAY_TIMEOUT_MS": "5000"}, "5000"):
        rows = {row.variable: row for row in effective(load(environ))}
        assert rows["RUNNER_FIRST_BYTE_TIMEOUT_MS"].value == shown
        assert rows["RUNNER_FIRST_BYTE_TIMEOUT_MS"].origin == "default"
