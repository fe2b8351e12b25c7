"""What the image's HEALTHCHECK asks: whether the program in this container is alive, not ready.

A gateway whose runner is away must not be restarted for it. HEALTHCHECK_PORT is where it listens;
whether it speaks TLS there may be said in an env file, so that is found out.
"""

import http.client
import os
import ssl
import sys
from typing import Final

_PATIENCE_S: Final = 1.0  # for each way; where nobody listens, that is known at once


def is_alive(port: int) -> bool:
    """Whether /healthz on this port of this machine says so, with TLS or without."""
    unproven = ssl.create_default_context()
    unproven.check_hostname = False  # it is made out to a name that others use
    unproven.verify_mode = ssl.CERT_NONE
    for host in ("127.0.0.1", "::1"):
        for connection in (
            http.client.HTTPConnection(host, port, timeout=_PATIENCE_S),
            http.client.HTTPSConnection(host, port, timeout=_PATIENCE_S, context=unproven),
        ):
            try:
                connection.request("GET", "/healthz")
                return connection.getresponse().status == http.HTTPStatus.OK
            except (http.client.HTTPException, OSError):
                continue
            finally:
                connection.close()
    return False


if __name__ == "__main__":
    sys.exit(not is_alive(int(os.environ["HEALTHCHECK_PORT"])))
