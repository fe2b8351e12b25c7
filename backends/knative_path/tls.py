"""TLS toward the ingress with an authority and a client certificate of the operator's own."""

import ssl

from backends.settings import KnativeTls


def client_context(tls: KnativeTls) -> ssl.SSLContext | None:
    """A context out of the files as they are now; None when there are none.

    With an authority of one's own, the system's are not believed.

    Raises:
        ValueError: a file cannot be read, is not PEM, or needs a pass phrase. The message has
            nothing out of it.
    """
    if tls.ca_file is None and tls.client_cert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ValueError):
        raise ValueError("the ingress's CA file holds no usable certificate") from None
    if tls.client_cert is not None:
        try:
            # A pass phrase would be asked for on a terminal, and nothing else would run meanwhile.
            context.load_cert_chain(tls.client_cert, tls.client_key, password="")
        except (OSError, ValueError):
            raise ValueError("the client certificate and its key are not usable") from None
    return context
