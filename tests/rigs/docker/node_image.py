"""An image with Node.js and npm, built on the base image, where no image can be pulled."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.rigs.docker.commands import run

NAME: Final = "local/node-base"

_BUILD_S: Final = 240.0
# The base image has left out what apt keeps between its calls, folders included.
_DOCKERFILE: Final = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial \\
 && apt-get update -qq \\
 && apt-get install -y -qq --no-install-recommends nodejs npm \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
"""


def build_node_image(environ: Mapping[str, str]) -> str:
    """Build it on an engine of the rig, and return its name. Blocking.

    Args:
        environ: an Engine's, with its base image.

    Raises:
        EngineUnavailable: it could not be built.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(_DOCKERFILE)
        run(
            "docker", "build", "--quiet", f"--network={environ['BUILD_NETWORK']}",
            f"--build-arg=BASE_IMAGE={environ['BASE_IMAGE']}", f"--tag={NAME}", folder,
            environ=environ, timeout_s=_BUILD_S,
        )  # fmt: skip
    return NAME
