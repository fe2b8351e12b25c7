"""The metrics of several processes as one set of families.

What is counted is added up. What is a state of the whole is not: all processes have the same
generation, and the backend is up when everybody reaches it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Families = Iterable[Metric]

_NOT_ADDED: Final[Mapping[str, Callable[[float, float], float]]] = {
    "gateway_generation": max,
    "gateway_backend_up": min,
    "gateway_swaps": max,  # everybody has the same receipts
}
_COUNTED: Final = frozenset({"counter", "histogram"})


def added_up(*processes: Families) -> list[Metric]:
    """One family for each name, with one sample for each set of labels.

    Gauges that nothing is known of in any process stay away; samples keep their order.
    """
    sums: dict[str, dict[tuple[str, frozenset[tuple[str, str]]], float]] = {}
    about: dict[str, Metric] = {}
    for families in processes:
        for family in families:
            about.setdefault(family.name, family)
            samples = sums.setdefault(family.name, {})
            together = _NOT_ADDED.get(family.name, float.__add__)
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                value = float(sample.value)
                samples[key] = together(samples[key], value) if key in samples else value
    return [_family(about[name], samples) for name, samples in sums.items()]


def counted(families: Families) -> list[Metric]:
    """What must outlive the process that has counted it."""
    return [family for family in families if family.type in _COUNTED]


def not_counted(families: Families) -> list[Metric]:
    """The others: what is so now."""
    return [family for family in families if family.type not in _COUNTED]


def as_text(families: Families) -> bytes:
    """In Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Ready(families))
    return generate_latest(registry)


def _family(
    about: Metric, samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]
) -> Metric:
    family = Metric(about.name, about.documentation, about.type, about.unit)
    for (name, labels), value in samples.items():
        family.add_sample(name, dict(sorted(labels)), value)
    return family


class _Ready(Collector):
    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
