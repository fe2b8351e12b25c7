"""A body that was cut short and signed by queue-proxy must not pass as a whole one."""

from collections.abc import AsyncIterator, Iterable
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backends.errors import Phase, RunnerTimeout
from backends.knative_path.cut_off import APPENDED, WatchedBody


class Parts:
    """A ByteStream out of given parts."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part

    async def aclose(self) -> None:
        self.closed = True


@given(parts=st.lists(st.binary(min_size=1, max_size=40)))
async def test_a_body_without_the_text_passes_as_it_is(parts: list[bytes]) -> None:
    assume(not b"".join(parts).endswith(APPENDED))
    body = WatchedBody(Parts(parts))
    assert b"".join([part async for part in body]) == b"".join(parts)


@given(content=st.binary(max_size=40), cuts=st.sets(st.integers(1, 54)))
async def test_the_text_at_the_end_fails_the_body_however_it_was_split(
    content: bytes, cuts: set[int]
) -> None:
    whole = content + APPENDED
    edges = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    source = Parts([whole[a:b] for a, b in pairwise(edges)])
    seen: list[bytes] = []

    async def take() -> None:
        async for part in WatchedBody(source):
            seen.append(part)  # noqa: PERF401 - what came before the failure counts

    with pytest.raises(RunnerTimeout) as caught:
        await take()
    assert caught.value.phase is Phase.BODY
    assert b"".join(seen) == content
    assert source.closed


async def test_the_text_in_the_middle_is_content() -> None:
    body = WatchedBody(Parts([b"a", APPENDED, b"\n"]))
    assert b"".join([part async for part in body]) == b"a" + APPENDED + b"\n"


async def test_closing_the_body_gives_the_connection_back() -> None:
    source = Parts([b"x" * 100])
    body = WatchedBody(source)
    await body.aclose()
    assert source.closed
    assert [part async for part in body] == []
