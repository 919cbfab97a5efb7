"""Families of metrics in Prometheus' text format.

Names follow Prometheus' conventions: base units (seconds, bytes, dollars), `_total` for what only grows. Rates of the
fleet are per minute, as quotas are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
Key = TypeVar("Key", bound=tuple[str, ...])


def exposition(families: Iterable[Metric]) -> bytes:
    """These families in Prometheus' text format; CONTENT_TYPE goes with it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(list(families)))
    return generate_latest(registry)


class _Given(Collector):
    """Families that have been made already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def gauge(name: str, text: str, values: Mapping[Key, float], labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(f"lipika_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def counter(name: str, text: str, values: Mapping[Key, float], labels: tuple[str, ...] = ()) -> Metric:
    family = CounterMetricFamily(f"lipika_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def label_by_name(values: Mapping[str, int]) -> dict[tuple[str], float]:
    return {(name,): float(value) for name, value in values.items()}
