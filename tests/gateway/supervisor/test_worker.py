"""What a worker does with what its supervisor passes on to it."""

import os
import socket
from pathlib import Path

import pytest

from gateway.settings import Listen, load
from gateway.supervisor.member import Member
from gateway.supervisor.start import Start
from gateway.supervisor.worker import Worker


async def test_a_copy_of_a_shared_socket_does_not_block_those_who_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They would be held in accept(2) until somebody connects: a worker stopped so never ended.
    monkeypatch.chdir(tmp_path)
    ours, its = socket.socketpair()
    with ours, its, socket.create_server(("127.0.0.1", 0)) as shared:
        shared.setblocking(False)
        start = Start(
            version="1", place=0, size=1, settings=load({}), generation=1,
            receipts=([], {}), sockets=((os.dup(shared.fileno()),),),
        )  # fmt: skip
        worker = Worker(start, Member(start, its))
        (mine,) = worker.sockets(Listen(host="127.0.0.1", port=0))
        with mine, mine.dup():
            assert not os.get_blocking(shared.fileno())
