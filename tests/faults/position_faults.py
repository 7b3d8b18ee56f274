"""Positions lost, positions behind Kafka's retention, ClickHouse lost (F10).

The storage flow has no recovery store: positions are the group's commits, and ClickHouse knows how
far each partition is written. So these are the ways to lose what a recovery store would hold.
"""

from __future__ import annotations

import time

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from sql.migrate import migrate_up
from tests.faults.auditor import Expected
from tests.faults.harness import Fault
from tests.faults.site import GROUP, GROUPS
from tests.faults.stores import RAW_TOPIC, TOPICS, ClickHouse, Offsets
from tests.faults.traffic import Told

CALL_S = 30.0


def lost_positions(fault: Fault) -> None:
    """F10: one of the three ways, chosen by the seed."""
    way = fault.chance.choice([_forgotten, _behind_retention, _store_lost])
    fault.notes.append(f"positions={way.__name__.strip('_')}")
    way(fault)


def _forgotten(fault: Fault) -> None:
    """The group's offsets are gone or at 0 while ClickHouse holds rows: nothing is doubled."""
    site = fault.site
    storage = site.storages[0]
    load = fault.load()
    load.wait_for_share(fault.between(0.2, 0.8))
    if fault.chance.random() < 0.5:
        storage.stop()
    else:
        storage.kill()
        storage.stop()
    if fault.chance.random() < 0.5:
        _delete_group(fault)
        # That of the results, too: all rows are written once more, and nothing changes.
        for process in site.flows["results"]:
            process.stop()
        _delete_group(fault, GROUPS["results"])
    else:
        _move_group(fault, dict.fromkeys(fault.auditor.parts(), 0))
    site.start_ours()
    fault.finish(load)
    fault.expect_log(storage, "flow_started")


def _behind_retention(fault: Fault) -> None:
    """Records are gone unread: storage refuses; after the documented step it goes on."""
    site = fault.site
    storage = site.storages[0]
    first = fault.load(fault.plans(size=fault.size // 3, load_s=1.0)).join()
    fault.auditor.settle()
    storage.stop()
    second = fault.load(fault.plans(size=fault.size // 3, load_s=1.0)).join()
    ends = {part: end for part, end in fault.auditor.ends().items() if part[0] == RAW_TOPIC}
    # This is about storage: the behaviour flow has read them, and so has the auditor.
    fault.sessions.wait_read(fault.project_ids)
    _delete_records(fault, ends)
    mark, codes = storage.mark(), len(storage.codes)
    storage.start()
    deadline = time.monotonic() + 60
    while len(storage.codes) < codes + 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    fault.require(set(storage.codes[codes:]) == {1}, f"storage ended {storage.codes[codes:]}")
    said = [line for line in storage.events_since(mark) if line.get("event") == "flow_failed"]
    fault.require(
        bool(said) and all("retention" in str(line.get("detail")) for line in said),
        f"storage did not say what is wrong: {said[-1:]}",
    )
    storage.stop()
    _move_group(fault, ends)  # What `--to-earliest` does: nothing older is left.
    site.start_ours()
    third = fault.load(fault.plans(size=fault.size // 3, load_s=1.0)).join()
    fault.told = merged(merged(first, second), third)
    fault.expected = Expected(gone=frozenset(second.acknowledged))
    fault.notes.append(f"gone={len(second.acknowledged)}")


def _store_lost(fault: Fault) -> None:
    """ClickHouse is empty: the group's offsets are deleted, and Kafka has it all once more."""
    site = fault.site
    storage = site.storages[0]
    first = fault.load(fault.plans(size=fault.size // 2, load_s=1.5)).join()
    fault.auditor.settle()
    results = site.flows["results"][0]
    storage.stop()
    results.stop()
    # What came before this fault has left the retention, so that the rebuild is short.
    _delete_records(fault, fault.auditor.begun)
    store = ClickHouse(site.urls["CLICKHOUSE_URL"])
    store.run(f"DROP DATABASE {store.database} SYNC", database="default")
    migrate_up(site.urls["DATABASE_URL"], site.urls["CLICKHOUSE_URL"])
    store.run("SYSTEM STOP MERGES")
    _delete_group(fault)
    _delete_group(fault, GROUPS["results"])
    site.start_ours()
    second = fault.load(fault.plans(size=fault.size // 2, load_s=1.5)).join()
    fault.told = merged(first, second)
    fault.expect_log(storage, "flow_started")
    fault.expect_log(results, "flow_started")


def merged(first: Told, second: Told) -> Told:
    """Both as one."""
    return Told(
        {**first.sent, **second.sent},
        first.acknowledged + second.acknowledged,
        first.rejected | second.rejected,
        first.attempted + second.attempted,
        first.answered + second.answered,
        first.refusals + second.refusals,
        first.statuses + second.statuses,
        first.troubles + second.troubles,
        first.unanswered + second.unanswered,
        {**first.scripts, **second.scripts},
    )


def _admin(fault: Fault) -> AdminClient:
    return AdminClient({"bootstrap.servers": fault.site.urls["KAFKA_BROKERS"], "log_level": 0})


def _delete_group(fault: Fault, group: str = GROUP) -> None:
    """Forget all offsets, as soon as no process uses them any more."""
    admin = _admin(fault)  # It must outlive its answers.
    deadline = time.monotonic() + CALL_S
    while True:
        try:
            admin.delete_consumer_groups([group])[group].result(CALL_S)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return


def _move_group(fault: Fault, offsets: Offsets) -> None:
    """What `kafka-consumer-groups.sh --reset-offsets --execute` does."""
    entries = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
    wanted = ConsumerGroupTopicPartitions(GROUP, entries)
    admin = _admin(fault)
    for future in admin.alter_consumer_group_offsets([wanted]).values():
        result = future.result(CALL_S)
        assert all(entry.error is None for entry in result.topic_partitions)


def _delete_records(fault: Fault, before: Offsets) -> None:
    """Let retention take everything before these offsets."""
    entries = [
        TopicPartition(topic, number, offset)
        for (topic, number), offset in before.items()
        if offset and number < TOPICS[topic]
    ]
    admin = _admin(fault)
    for future in admin.delete_records(entries).values():
        future.result(CALL_S)
