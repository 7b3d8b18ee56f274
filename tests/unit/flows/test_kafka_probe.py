"""Whether the brokers answer: a client that has lost them for good is not believed for ever."""

from __future__ import annotations

from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from flows.health import CLIENT_FAILURES_MAX, kafka_probe


class Brokers:
    """Stands in for librdkafka: a client that asked while they were away never finds them again."""

    def __init__(self) -> None:
        self.are_away = False
        self.clients = 0

    def client(self, _settings: Any) -> AdminClient:
        """A new client."""
        self.clients += 1
        return cast(AdminClient, Client(self))


class Client:
    """One client of these brokers."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._is_lost = False

    def list_topics(self, timeout: float) -> None:
        """Raises if it finds no broker."""
        assert timeout > 0
        self._is_lost = self._is_lost or self._brokers.are_away
        if self._is_lost:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def test_a_client_that_has_lost_its_brokers_is_replaced() -> None:
    """They are seen again soon after they are back; a client that works is kept."""
    brokers = Brokers()
    ask = kafka_probe("kafka:9092", brokers.client)
    assert [ask(), ask()] == [None, None]
    brokers.are_away = True
    assert all("no broker answers" in str(ask()) for _ in range(2 * CLIENT_FAILURES_MAX))
    brokers.are_away = False
    assert ask() is None
    assert brokers.clients == 3


def test_a_short_pause_does_not_cost_the_client() -> None:
    """A client that fails now and then works on its connections meanwhile."""
    brokers = Brokers()
    ask = kafka_probe("kafka:9092", brokers.client)
    brokers.are_away = True
    assert ask() is not None
    assert brokers.clients == 1
