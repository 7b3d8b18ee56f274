"""`gosight dlq`: events that were refused, why, and bringing them in after a fix."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from redis import Redis
from redis.exceptions import RedisError
from schemas.project_settings import parse_settings

from cli.dead_letters import DeadLetter, Filters, read_dead_letters
from cli.options import Data, Json
from cli.output import RESULT, fail, print_json, print_table, told_plainly
from cli.project_store import NotFoundError, connect, find_project, list_projects
from cli.retrying import RetriedRejections, Retry, build_retry
from cli.settings import DEFAULT_DATA, CliSettings, load_settings
from connectors.kafka_producer import KafkaRecordProducer
from schemas.reasons import RejectReason

app = typer.Typer(no_args_is_help=True, help="Look at refused events, and bring them in again.")

ProjectFilter = Annotated[str, typer.Option("--project", "-p", help="Id or slug; else all.")]
ReasonFilter = Annotated[RejectReason | None, typer.Option("--reason", help="Only this reason.")]
SinceFilter = Annotated[
    str,
    typer.Option(
        "--since", help="Only since then: 30m, 6h, 2d or a date-time (2026-01-31T12:00Z)."
    ),
]
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@app.command("list")
def list_command(
    project: ProjectFilter = "",
    reason: ReasonFilter = None,
    since: SinceFilter = "",
    limit: Annotated[int, typer.Option(min=1, help="Show the newest so many.")] = 50,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """List refused events, oldest first, with the reason of each."""
    with told_plainly():
        settings = load_settings(data)
        letters = read_dead_letters(
            settings.kafka_brokers, _filters(settings, project, reason, since)
        )
    counts = Counter(letter.record.reason for letter in letters)
    shown = letters[-limit:]
    if as_json:
        print_json(
            {
                "total": len(letters),
                "by_reason": dict(sorted(counts.items())),
                "rejections": [_document(letter) for letter in shown],
            }
        )
        return
    print_table(
        f"Refused events: {len(letters):,}",
        ("time", "reason", "stage", "event", "project", "bytes"),
        [
            (
                _time_text(letter.record.rejected_at_ms),
                letter.record.reason,
                letter.record.stage,
                letter.record.event_id or letter.record.rejection_id,
                letter.record.project_id,
                letter.record.payload_bytes,
            )
            for letter in shown
        ],
    )
    for name, count in sorted(counts.items()):
        RESULT.print(f"  {count:,} {name}")


@app.command()
def retry(
    project: ProjectFilter = "",
    reason: ReasonFilter = None,
    since: SinceFilter = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, oldest first.")] = 10_000,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were brought in before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Judge refused events by the settings of now, and bring in those that pass.

    They keep their own time and id; the receipt is a new one, so the ledger books them again. Each
    refused event is brought in once.
    """
    with told_plainly():
        settings = load_settings(data)
        letters = _once_each(
            read_dead_letters(settings.kafka_brokers, _filters(settings, project, reason, since))
        )
        try:
            with Redis.from_url(settings.redis_url, decode_responses=True) as client:
                document = _retry(
                    settings, letters, RetriedRejections(client), limit, again, dry_run
                )
        except RedisError as error:
            fail(
                f"Redis does not answer ({type(error).__name__}): "
                "without it nobody knows what was brought in before"
            )
    if as_json:
        print_json(document)
        return
    verb = "would be brought in" if dry_run else "brought in"
    RESULT.print(f"{document['sent']:,} {verb}, {document['already_sent']:,} were before")
    for why, count in document["not_sent"].items():
        RESULT.print(f"  {count:,} not: {why}")


def _retry(
    settings: CliSettings,
    letters: list[DeadLetter],
    retried: RetriedRejections,
    limit: int,
    again: bool,
    dry_run: bool,
) -> dict[str, Any]:
    """Judge, send, remember, in this order: what is remembered is in Kafka."""
    known = retried.known([letter.record.rejection_id for letter in letters])
    fresh = [letter for letter in letters if again or letter.record.rejection_id not in known]
    retries = _judge_all(settings, fresh)
    ready = [item for item in retries if item.record is not None][:limit]
    if ready and not dry_run:
        producer = KafkaRecordProducer(settings.kafka_brokers)
        producer.produce_all([item.record for item in ready if item.record is not None])
        retried.remember([item.letter.record.rejection_id for item in ready])
    why_not = Counter(item.why_not for item in retries if item.record is None)
    return {
        "sent": len(ready),
        "already_sent": len(letters) - len(fresh),
        "not_sent": dict(why_not.most_common()),
        "dry_run": dry_run,
    }


def _judge_all(settings: CliSettings, letters: list[DeadLetter]) -> list[Retry]:
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


def _once_each(letters: list[DeadLetter]) -> list[DeadLetter]:
    """A request that a client repeated leaves the same rejection twice."""
    return list({letter.record.rejection_id: letter for letter in letters}.values())


def _filters(
    settings: CliSettings, project: str, reason: RejectReason | None, since: str
) -> Filters:
    project_id = ""
    if project:
        with connect(settings.database_url) as connection:
            try:
                project_id = str(find_project(connection, project).id)
            except NotFoundError as error:
                fail(str(error))
    now_ms = time.time_ns() // 1_000_000
    return Filters(project_id, reason.value if reason else "", since_ms(since, now_ms))


def since_ms(text: str, now_ms: int) -> int:
    """A moment from `30m`, `6h`, `2d` or a date-time; 0 for no limit."""
    if not text:
        return 0
    ago = re.fullmatch(r"(\d+)([smhd])", text)
    if ago:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--since {text}: give 30m, 6h, 2d or a date-time")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def _document(letter: DeadLetter) -> dict[str, Any]:
    record = letter.record
    return {
        "rejection_id": record.rejection_id,
        "project_id": record.project_id,
        "stage": record.stage,
        "reason": record.reason,
        "detail": record.detail,
        "event_id": record.event_id,
        "session_id": record.session_id,
        "rejected_at": _time_text(record.rejected_at_ms),
        "payload_kind": record.payload_kind,
        "payload_bytes": record.payload_bytes,
        "payload_withheld": record.payload_withheld,
        "partition": letter.partition,
        "offset": letter.offset,
    }


def _time_text(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
