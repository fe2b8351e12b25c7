"""What the exit status of a process of ours says."""

import signal
from collections.abc import Mapping
from typing import Final

WITHOUT_MEMORY: Final = "the system ended it, as it does without memory"


def as_logged(status: int | None) -> Mapping[str, object]:
    """The fields of a log line about the end of a process that nobody here has killed.

    Args:
        status: negative for a signal; None where it is not known.

    >>> as_logged(1)
    {'status': 1}
    >>> as_logged(-9)["detail"]
    'the system ended it, as it does without memory'
    """
    if status == -signal.SIGKILL:
        return {"status": status, "detail": WITHOUT_MEMORY}
    return {"status": status}
