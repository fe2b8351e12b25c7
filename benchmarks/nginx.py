"""The part of an nginx configuration that the runner and two peers share."""

import os
from pathlib import Path

_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def frame(http: str, folder: Path) -> str:
    """A whole configuration around `http`: one worker, nothing logged, all files in `folder`."""
    # A worker that gave up root's rights could not read a private folder.
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(f"{name}_temp_path {folder}/{name}_temp;" for name in _FOLDERS)
    return f"""{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
access_log off;
sendfile on;
tcp_nopush on;
default_type text/javascript;
keepalive_timeout 300s;
keepalive_requests 1000000000;
{temporary}
{http}
}}
"""
