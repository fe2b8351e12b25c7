"""Messages between the processes of this program, over a socket pair.

A frame is a length (4 bytes, big-endian) and a pickle, which is how Python's multiprocessing
talks between the processes of one program, too. Nobody else has an end of the pair: it is made
by the parent and inherited by the child that it starts.
"""

import pickle
import socket
import struct
from typing import Any, Final

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
LENGTH: Final = struct.Struct(">I")


def frame(message: object) -> bytes:
    """`message` as it goes over the wire."""
    content = pickle.dumps(message)
    return LENGTH.pack(len(content)) + content


def first_message(end: socket.socket) -> Any:
    """Wait for one message, before there is an event loop. Raises EOFError when none comes."""
    (length,) = LENGTH.unpack(_exactly(end, LENGTH.size))
    return unframed(_exactly(end, length))


def unframed(content: bytes) -> Any:
    """What a frame holds behind its length."""
    return pickle.loads(content)  # noqa: S301  written by this program: see above


def _exactly(end: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = end.recv(count - len(found))
        if not more:
            raise EOFError
        found += more
    return found
