"""The runner behind every server: an nginx that knows all its answers beforehand."""

from pathlib import Path
from urllib.parse import unquote

from benchmarks.nginx import frame
from benchmarks.servers import Launch
from benchmarks.site import File, Site
from benchmarks.tools import Tools


def runner_launch(tools: Tools, site: Site, *, folder: Path, port: int) -> Launch:
    """Write its files and configuration into `folder`.

    Raises:
        FileNotFoundError: there is no nginx.
    """
    folder.mkdir(parents=True, exist_ok=True)
    locations = [_fixed("/healthz", b"{}"), _fixed("/v1/execute", site.answer)]
    for file in site.files.values():
        (folder / file.name).write_bytes(file.content)
        locations.append(_file(file, folder / file.name))
    server = "\n".join((f"listen 127.0.0.1:{port} backlog=1024;", *locations))
    config = folder / "nginx.conf"
    config.write_text(frame(f"server {{\n{server}\n}}", folder))
    nginx = tools.require("nginx")
    return Launch((str(nginx), "-p", str(folder), "-c", str(config)), tools.environ_of(nginx))


def _fixed(target: str, body: bytes) -> str:
    return f"location = {target} {{ default_type application/json; return 200 '{body.decode()}'; }}"


def _file(file: File, path: Path) -> str:
    # nginx's own entity tag comes from time and size; the runner's is the hash of the bytes.
    return f"""location = {unquote(file.target)} {{
  alias {path};
  etag off;
  add_header ETag '{file.etag}';
  add_header Cache-Control 'public, max-age=31536000, immutable';
  if ($http_if_none_match = '{file.etag}') {{ return 304; }}
}}"""
