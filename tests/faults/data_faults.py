"""Faults in what is sent: poison, clocks, order, a hot key (F13 to F16)."""

from __future__ import annotations

import random
import time

from confluent_kafka import Producer

from tests.faults.auditor import Expected
from tests.faults.events import DAY_MS, HOUR_MS, EventMaker, batch_protobuf, raw_facts, raw_record
from tests.faults.harness import Fault
from tests.faults.position_faults import merged
from tests.faults.session_log import INSIGHTS_TOPIC, POISON, SESSIONS_TOPIC
from tests.faults.stores import RAW_TOPIC, REJECTED_TOPIC, ClickHouse
from tests.faults.traffic import Plan
from tests.faults.wire import blob, whole

YEAR_MS = 365 * DAY_MS
SKEWS_MS = (0, 0, YEAR_MS, -YEAR_MS, 30 * DAY_MS, -3 * HOUR_MS)
CLOCK_OFF_S = 7_200
LETTERS = 5
# Accepted to visible with a hot session: twice the calm figure, and what two blocks may take.
VISIBLE_SLACK_MS = 30_000  # Of a busy machine.


def poison(fault: Fault) -> None:
    """F13: records that cannot be read between good ones, in all topics and at the door."""
    site, chance = fault.site, fault.chance
    foreign = site.project().project_id
    producer = Producer(
        {"bootstrap.servers": site.urls["KAFKA_BROKERS"], "partitioner": "murmur2_random"}
    )
    maker = EventMaker(chance, bad_share=0.3)
    door = EventMaker(chance, sessions=12, bad_share=0, late_share=0)
    load = fault.load(fault.plans(maker=maker))
    count = 0
    while load.is_running and count < 300:
        event = door.make(1, time.time_ns() // 1_000_000)[0]
        key = f"{foreign}:{event.session_id}".encode()
        value = chance.choice(_POISONS)(chance, foreign, door)
        producer.produce(RAW_TOPIC, value, key)
        count += 1
        if count <= LETTERS:
            for topic in (REJECTED_TOPIC, SESSIONS_TOPIC, INSIGHTS_TOPIC):
                producer.produce(topic, POISON + chance.randbytes(40), foreign.encode())
        producer.poll(0)
        time.sleep(fault.between(0, 0.05))
    assert producer.flush(20) == 0
    fault.finish(load)
    fault.notes.append(f"poison={count}")
    fault.expected = Expected(
        foreign={foreign: count + min(count, LETTERS)}, result_letters=2 * min(count, LETTERS)
    )
    for process in (*site.storages, *site.others):
        fault.require(not process.codes_since_mark, f"a poison ended {process.name}")


def _noise(chance: random.Random, _project: str, _maker: EventMaker) -> bytes:
    return chance.randbytes(chance.choice([1, 30, 3_000]))


def _empty(_chance: random.Random, _project: str, _maker: EventMaker) -> bytes:
    return b""


def _large(chance: random.Random, _project: str, _maker: EventMaker) -> bytes:
    return b"\xff" + bytes(chance.randrange(500_000, 900_000))


def _text(_chance: random.Random, project: str, _maker: EventMaker) -> bytes:
    return f'{{"project_id": "{project}"}}'.encode()


def _cut(chance: random.Random, project: str, maker: EventMaker) -> bytes:
    whole_record = raw_record(project, maker.make(1, _now_ms()), _now_ms())
    return whole_record[: chance.randrange(1, len(whole_record) - 60)]


def _without_facts(_chance: random.Random, _project: str, maker: EventMaker) -> bytes:
    return batch_protobuf(maker.make(1, _now_ms()), 0, 0)


def _bad_text(_chance: random.Random, project: str, maker: EventMaker) -> bytes:
    record = raw_record(project, maker.make(1, _now_ms()), _now_ms())
    return record + blob(4, b"\xff\xfe\xfd")


def _odd_event(chance: random.Random, project: str, maker: EventMaker) -> bytes:
    """Facts as they should be, and an event that the gateway would never let through."""
    (event,) = maker.make(1, _now_ms())
    odd = [
        blob(1, event.event_id),
        blob(2, event.session_id),
        whole(5, chance.choice([0, 20, 777, 1 << 31])),
        blob(6, whole(1, chance.choice([0, -1, 1 << 62, -(1 << 62), _now_ms()]))),
        blob(7, blob(1, "\x00" * 10) + blob(2, "/" + "x" * 9_000)),
        blob(111, whole(1, -5) + b"\x3d\x00\x00\xc0\x7f"),  # cls: not a number
    ]
    return raw_facts(project, event.session_id, 1, _now_ms()) + blob(2, b"".join(odd))


def _good(_chance: random.Random, project: str, maker: EventMaker) -> bytes:
    return raw_record(project, maker.make(1, _now_ms()), _now_ms())


_POISONS = (
    _noise,
    _empty,
    _large,
    _text,
    _cut,
    _without_facts,
    _bad_text,
    _odd_event,
    _good,
    _good,
)


def wrong_clocks(fault: Fault) -> None:
    """F14: clients a year off; in half of the runs the gateway two hours off as well."""
    site, chance = fault.site, fault.chance
    whose = chance.choice(["clients", "gateway"])
    fault.notes.append(f"clock={whose}")

    def plans() -> list[Plan]:
        made = fault.plans(size=fault.size // 2, load_s=2.0)
        for plan, skew_ms in zip(made, chance.sample(SKEWS_MS, len(SKEWS_MS)), strict=True):
            plan.skew_ms, plan.has_sent_at = skew_ms, True
        return made

    if whose == "clients":
        told = fault.load(plans()).join()
    else:
        offset_s = chance.choice([-CLOCK_OFF_S, CLOCK_OFF_S])
        fault.expected = Expected(is_dated_wrong=True)
        with site.clocks_off([site.gateway], offset_s):
            told = fault.load(plans()).join()
        # Its clock is the one that counts, so each event is off as much as it is.
        for event in told.sent.values():
            if event.bad_reason != "bad_timestamp":
                event.at_ms += offset_s * 1000
    fault.told = merged(told, fault.load(plans()).join())


def any_order(fault: Fault) -> None:
    """F15: the same events sorted and once, and shuffled, late and twice: the same rows."""
    chance = fault.chance
    sorted_door, shuffled_door = fault.doors
    maker = EventMaker(chance, bad_share=0, late_share=0.5)
    events = sorted(
        maker.make(fault.size, time.time_ns() // 1_000_000), key=lambda event: event.at_ms
    )
    one = Plan(sorted_door, [(0.0, event) for event in events], has_sent_at=False, is_ordered=True)
    many = [Plan(shuffled_door, [], has_sent_at=False, is_grpc=n == 3) for n in range(4)]
    for event in events:
        # Up to an hour late is when it happened; when it is sent is another matter.
        chance.choice(many).events.append((chance.uniform(0, 2.5), event))
        if chance.random() < 0.1:
            chance.choice(many).events.append((chance.uniform(0, 3), event))
    load = fault.load([one, *many])
    load.wait_for_share(fault.between(0.2, 0.8))
    fault.chance.choice(fault.site.storages).kill()
    fault.finish(load)
    fault.site.start_ours()
    fault.auditor.settle()
    _compare_rows(fault)


# What tells of receipt, and so must differ.
_RECEIPT = frozenset(
    {"project_id", "received_at", "ingested_at", "ip"}
    | {f"source_{name}" for name in ("topic", "partition", "offset", "index", "block_last")}
)


def _compare_rows(fault: Fault) -> None:
    store = ClickHouse(fault.site.urls["CLICKHOUSE_URL"])
    columns = [
        row["name"]
        for row in store.rows(
            "SELECT name FROM system.columns WHERE database = currentDatabase() "
            "AND table = 'events' AND default_kind != 'MATERIALIZED'"
        )
        if row["name"] not in _RECEIPT
    ]
    found = [
        {
            row["event_id"]: row
            for row in store.rows(
                f"SELECT {', '.join(columns)} FROM events WHERE project_id = '{door.project_id}'"
            )
        }
        for door in fault.doors
    ]
    differ = [key for key in found[0] | found[1] if found[0].get(key) != found[1].get(key)]
    if differ:
        pair = [rows.get(differ[0]) or {} for rows in found]
        names = [name for name in columns if pair[0].get(name) != pair[1].get(name)]
        fault.faults.append(f"{len(differ)} rows depend on order or form, in {names}: {pair}")
    fault.notes.append(f"columns={len(columns)}")


def hot_session(fault: Fault) -> None:
    """F16: nine of ten events in one session: how long the others take to be visible."""
    calm_maker = EventMaker(fault.chance, bad_share=0)
    calm = fault.load(fault.plans(maker=calm_maker, size=fault.size // 2)).join()
    fault.auditor.settle()
    store = ClickHouse(fault.site.urls["CLICKHOUSE_URL"])
    projects = ", ".join(f"'{door.project_id}'" for door in fault.doors)
    since = store.rows("SELECT toString(now64(3)) AS now")[0]["now"]
    calm_ms = _visible_p99_ms(store, f"project_id IN ({projects})")
    hot_maker = EventMaker(fault.chance, bad_share=0, hot_share=0.9)
    hot = fault.load(fault.plans(maker=hot_maker, size=fault.size * 3)).join()
    fault.auditor.settle()
    session = hot_maker.visitors[0].session_id
    hot_ms = _visible_p99_ms(
        store,
        f"project_id IN ({projects}) AND ingested_at > '{since}' "
        f"AND toString(session_id) != '{session}'",
    )
    fault.told = merged(calm, hot)
    fault.notes.append(f"visible_p99_ms calm={calm_ms:.0f} hot={hot_ms:.0f}")
    bound_ms = 2 * calm_ms + VISIBLE_SLACK_MS
    fault.require(hot_ms <= bound_ms, f"others waited {hot_ms:.0f} ms, calm {calm_ms:.0f} ms")


def _visible_p99_ms(store: ClickHouse, where: str) -> float:
    rows = store.rows(
        "SELECT quantileExact(0.99)(toUnixTimestamp64Milli(ingested_at) - "
        f"toUnixTimestamp64Milli(received_at)) AS p99 FROM events WHERE {where}"
    )
    return float(rows[0]["p99"])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
