"""Starts the rig with a real runner and says where everything is, until Ctrl-C."""

import asyncio
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.rigs.knative.pods import real_runner
from tests.rigs.knative.rig import HOST, SERVICE, KnativeRig
from tests.rigs.knative.serving_api import NAMESPACE


async def serve() -> None:
    """Run until SIGINT or SIGTERM."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    with TemporaryDirectory(prefix="knative-rig-") as folder:
        async with KnativeRig(real_runner) as rig:
            kubeconfig = rig.api.kubeconfig(Path(folder))
            for name, value in (
                ("RUNNER_BASE_URL", rig.ingress_url),
                ("RUNNER_KNATIVE_NAMESPACE", NAMESPACE),
                ("RUNNER_KNATIVE_SERVICE", SERVICE),
                ("RUNNER_KNATIVE_COLD_START_MS", "10000"),
                ("KUBECONFIG", str(kubeconfig)),
            ):
                sys.stdout.write(f"{name}={value}\n")
            sys.stdout.write(f"# Host: {HOST}\n")
            sys.stdout.flush()
            await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve())
