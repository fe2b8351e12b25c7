"""Sockets that another process has left to this one, or shares with it."""

import os
import socket


def inherited(descriptor: int) -> socket.socket:
    """The socket with this descriptor. What this process starts does not inherit it in turn."""
    os.set_inheritable(descriptor, False)  # uvloop closes nothing else in what it starts
    return socket.socket(fileno=descriptor)


def shared_listener(descriptor: int) -> socket.socket:
    """A listening socket that other processes may hold, too.

    It does not block, nor does any copy of it. Whether a socket blocks is one flag for all
    processes that hold it (fcntl(2), O_NONBLOCK), and a new Python object believes that it does:
    its `dup()` would set the flag so for a moment, and whoever accepts in that moment is held
    until somebody connects.

    Nor is it passed on: a program that outlives this one would keep the port, and one that runs
    extensions has no business there.
    """
    one = inherited(descriptor)
    one.setblocking(False)
    return one
