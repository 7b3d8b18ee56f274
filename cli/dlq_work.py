"""The work of `gosight dlq`: choosing refused events, and bringing them in again."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import Redis
from redis.exceptions import RedisError

from cli.dead_letters import DeadLetter, Filters, read_dead_letters
from cli.project_store import connect, find_project, list_projects
from cli.retrying import RetriedRejections, Retry, build_retry
from cli.settings import CliSettings
from connectors.errors import RetryableError
from connectors.kafka_producer import KafkaRecordProducer
from schemas.project_settings import parse_settings

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class BadMomentError(ValueError):
    """A text is neither a span of time nor a moment."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which refused events a command is about; an empty text does not narrow it."""

    project: str = ""
    reason: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class RetryReport:
    """What a retry did. `not_sent` counts events by why they were not brought in."""

    sent: int
    already_sent: int
    not_sent: dict[str, int]
    dry_run: bool


def find_letters(settings: CliSettings, chosen: Chosen) -> list[DeadLetter]:
    """All that were chosen, oldest first.

    Raises:
        NotFoundError: there is no such project.
        BadMomentError: `since` cannot be read.
        ConnectorError: Kafka does not answer.
    """
    now_ms = time.time_ns() // 1_000_000
    since = since_ms(chosen.since, now_ms)
    project_id = ""
    if chosen.project:
        with connect(settings.database_url) as connection:
            project_id = str(find_project(connection, chosen.project).id)
    return read_dead_letters(settings.kafka_brokers, Filters(project_id, chosen.reason, since))


def retry_letters(
    settings: CliSettings,
    letters: Sequence[DeadLetter],
    *,
    limit: int,
    again: bool,
    dry_run: bool,
) -> RetryReport:
    """Judge, send, remember, in this order: what is remembered is in Kafka.

    Raises:
        RetryableError: Redis or Kafka does not answer.
    """
    # A request that a client repeated leaves the same rejection twice.
    once_each = list({letter.record.rejection_id: letter for letter in letters}.values())
    try:
        with Redis.from_url(settings.redis_url, decode_responses=True) as client:
            retried = RetriedRejections(client)
            known = retried.known([letter.record.rejection_id for letter in once_each])
            fresh = [item for item in once_each if again or item.record.rejection_id not in known]
            retries = _judge_all(settings, fresh)
            ready = [item for item in retries if item.record is not None][:limit]
            if ready and not dry_run:
                producer = KafkaRecordProducer(settings.kafka_brokers)
                producer.produce_all([item.record for item in ready if item.record is not None])
                retried.remember([item.letter.record.rejection_id for item in ready])
    except RedisError as error:
        raise RetryableError(
            f"Redis does not answer ({type(error).__name__}): "
            "without it nobody knows what was brought in before"
        ) from error
    why_not = Counter(item.why_not for item in retries if item.record is None)
    return RetryReport(
        len(ready), len(once_each) - len(fresh), dict(why_not.most_common()), dry_run
    )


def _judge_all(settings: CliSettings, letters: Sequence[DeadLetter]) -> list[Retry]:
    with connect(settings.database_url) as connection:
        projects = {str(item.id): item for item in list_projects(connection)}
    parsed = {key: parse_settings(item.settings) for key, item in projects.items()}
    now_ms = time.time_ns() // 1_000_000
    return [
        build_retry(letter, parsed[letter.record.project_id], now_ms)
        if letter.record.project_id in parsed
        else Retry(letter, None, "its project is gone")
        for letter in letters
    ]


def since_ms(text: str, now_ms: int) -> int:
    """A moment from `30m`, `6h`, `2d` or a date-time; 0 for no limit.

    Raises:
        BadMomentError: the text is none of these.
    """
    if not text:
        return 0
    ago = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if ago:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadMomentError(f"--since {text}: give 30m, 6h, 2d or a date-time") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
