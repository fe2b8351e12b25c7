"""What several processes remember, as the console shows it."""

from gateway.console.together import draining, running_longest
from gateway.console.traffic import newest, traffic
from gateway.console.window import Picture, Window, added_up


def picture(*, start: int, end: int, calls: dict[int, list[float]]) -> Picture:
    """A process that was started in second `start`: durations in ms by second."""
    window = Window(start)
    for second, durations in sorted(calls.items()):
        for duration_ms in durations:
            window.count(second, "/api", "ext", duration_ms, is_error=duration_ms >= 1000)
    window.slide_to(end)
    return window.picture()


def test_seconds_and_percentiles_are_those_of_all_requests() -> None:
    fast = picture(start=0, end=10, calls={3: [10.0] * 3, 4: [10.0]})
    slow = picture(start=2, end=11, calls={4: [1000.0], 10: [1000.0]})
    together = added_up([fast, slow])
    assert together.covered_s == 11
    told = traffic(together)
    seconds = told["seconds"]
    assert isinstance(seconds, dict)
    assert seconds["requests"][-11:] == [0, 0, 0, 3, 2, 0, 0, 0, 0, 0, 1]
    assert seconds["requests"][-12] is None
    total = together.total()
    assert (total.requests, total.errors) == (6, 2)
    assert [round(value or 0) for value in total.percentiles(0.5, 0.99)] == [10, 993]
    assert [name for name, _ in together.groups("extension")] == ["ext"]
    # What is shown must not change what is remembered.
    assert fast.total().requests == 4


def test_a_process_that_came_later_does_not_hide_what_the_others_know() -> None:
    old = picture(start=0, end=300, calls={290: [10.0]})
    new = picture(start=299, end=300, calls={})
    assert added_up([old, new]).covered_s == old.covered_s == 120


def test_a_generation_drains_until_the_last_process_has_drained_it() -> None:
    first = [{"generation": 2, "kind": "docker", "name": "a", "in_flight": 1}]
    second = [
        {"generation": 1, "kind": "docker", "name": "b", "in_flight": 4},
        {"generation": 2, "kind": "docker", "name": "a", "in_flight": 2},
    ]
    told = [(one["generation"], one["in_flight"]) for one in draining([first, second])]
    assert told == [(1, 4), (2, 3)]


def test_what_runs_longest_in_any_process_comes_first_and_the_list_has_an_end() -> None:
    at = "2026-11-27T01:00:{:02}.000+00:00".format
    first = {"longest": [{"since": at(second)} for second in range(1, 40, 2)]}
    second = {"longest": [{"since": at(second)} for second in range(0, 40, 2)]}
    told = running_longest([first, second])
    assert [one["since"] for one in told] == [at(second) for second in range(15)]


def test_the_newest_lines_of_all_come_first() -> None:
    at = "2026-11-27T01:00:0{}.000+00:00".format
    lines = [{"at": at(second)} for second in (5, 3, 1, 4, 2)]
    assert newest(lines, 3) == [{"at": at(5)}, {"at": at(4)}, {"at": at(3)}]
