"""What happens in the engine room, as Jupyter's structured events and in its /metrics."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_events import EventLogger
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ollmlx.room import Room

_SCHEMAS = Path(__file__).parent / "events"
_ID = "urn:ollmlx:events:{}"


class Collector:
    """For Prometheus's registry, which asks when somebody reads /metrics."""

    def __init__(self, room: Room) -> None:
        self._room = room
        REGISTRY.register(self)

    def close(self) -> None:
        REGISTRY.unregister(self)

    def describe(self) -> list[Any]:
        """Nothing: the registry would otherwise collect to find out names."""
        return []

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for family in self._room.metrics():
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for labels, value in family.samples:
                metric.add_metric(labels, value)
            yield metric


def tell(room: Room, logger: EventLogger) -> Callable[[], None]:
    """Emit the room's news on the loop that runs; what ends that again."""
    loop = asyncio.get_running_loop()
    for schema in sorted(_SCHEMAS.glob("*.yaml")):
        logger.register_event_schema(schema)

    def hear(kind: str, model: str, facts: dict[str, Any]) -> None:
        if not loop.is_closed():
            schema, data = _event(kind, model, facts)
            loop.call_soon_threadsafe(_emit, logger, schema, data)

    return room.listen(hear)


def _emit(logger: EventLogger, schema: str, data: dict[str, Any]) -> None:
    logger.emit(schema_id=schema, data=data)


def _event(kind: str, model: str, facts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The schema's id, and what it describes."""
    about, _, action = kind.partition("_")
    data = {"model": model, **facts}
    return _ID.format(about), {"action": action, **data} if about == "model" else data
