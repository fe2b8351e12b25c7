"""A bounded cache for what is cheap to work out anew."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """A dictionary of what can be worked out anew at any time.

    When it is full it forgets everything. What is in use is back after one request each, and no
    look-up has to keep an order of use up to date.

    >>> lengths: Memo[str, int] = Memo(2)
    >>> [lengths.keep(word, len(word)) for word in ("a", "bc", "def")]
    [1, 2, 3]
    >>> lengths
    {'def': 3}
    """

    __slots__ = ("_most",)

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: K, value: V) -> V:
        """Remember `value`, and return it."""
        if len(self) >= self._most:
            self.clear()
        self[key] = value
        return value
