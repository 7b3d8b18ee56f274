"""One visitor: their data as a file, or erased from every store, step by step.

In: an order. Out: for each step a function that may be done again from its start, whatever became
of the process that did it before. What later steps need is in the order's `work` and, the ids, in
ClickHouse under the order's own id, only while the order lasts. Source: privacy.md, section 9.

1. `suppress`: who it is, and hashes of that, so that nothing new of them is written;
2. `collect`: events and sessions, counted before anything is gone;
3. rows, table by table; 4. the ledger; 5. aggregates, day by day; 6. Redis; 7. PostgreSQL.

An order that a writer gave, because an erasure had passed while it stood still, has ids of rows
instead of a visitor, and only the steps that rows need (`flows.gated`).
"""

from __future__ import annotations

import secrets
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import BinaryIO, cast

import msgspec

from api.erasures.documents import Names, erase_documents, find_documents, notes_that_name
from api.erasures.orders import Order, Orders
from connectors.erasing_live import ErasingLive
from connectors.erasing_store import VISITOR_TABLES, ErasingStore
from connectors.write_gate import closed_gate
from schemas.erasure import SALT_BYTES, anonymous_hash, session_hash, subject_hash, user_hash

PART_BYTES = 1024 * 1024
# A visitor that goes on identifying devices while we look: each turn knows the ones before.
TURNS_MAX = 10
_AT_ONCE = 1_000
# Of rows that are named one by one; a session's own go with its id.
LATE_TABLES = ("insights", "events", "sessions")
HEARD_AFTER_S = 1.5

Step = tuple[str, Callable[[Order], None]]
# Where copies end by themselves; told in every receipt.
NOT_REACHED = {
    "kafka": "records end with the retention of their topics, 30 days at most; none is stored",
    "flow_state": "states of open sessions end with the session, a day and an hour at most",
    "backups": "end with the backups' own retention",
}


def read_salt(orders: Orders, project_id: str) -> bytes:
    """The key of a project's hashes; drawn when it is first needed."""
    orders.transact(
        [
            (
                "INSERT INTO erasure_salts (project_id, salt) VALUES (%(project)s, %(salt)s) "
                "ON CONFLICT DO NOTHING",
                {"project": project_id, "salt": secrets.token_bytes(SALT_BYTES)},
            )
        ]
    )
    (row,) = orders.rows(
        "SELECT salt FROM erasure_salts WHERE project_id = %(project)s", project=project_id
    )
    return bytes(row["salt"])


class VisitorWork:
    """What is done for orders about visitors."""

    def __init__(
        self, database_url: str, orders: Orders, store: ErasingStore, live: ErasingLive
    ) -> None:
        self._database_url = database_url
        self._orders = orders
        self._store = store
        self._live = live

    def steps(self, order: Order) -> Sequence[Step]:
        """All steps of an order; the last one notes the receipt itself."""
        if order.kind == "export":
            return [("collect", self._collect_for_export), ("write", self._write_export)]
        if "late" in order.work:
            return [
                ("collect", self._collect_late),
                *((table, self._erase_table(table)) for table in LATE_TABLES),
                ("identities", self._erase_late_links),
                ("ledger", self._book),
                ("aggregates", self._recount),
            ]
        return [
            ("suppress", self._suppress),
            ("collect", self._collect),
            *((table, self._erase_table(table)) for table in VISITOR_TABLES),
            ("ledger", self._book),
            ("aggregates", self._recount),
            ("redis", self._erase_live),
            ("postgresql", self._erase_documents),
        ]

    def end(self, order: Order) -> None:
        """The ids are forgotten, the receipt is noted."""
        self._store.forget(order.key)
        if order.kind == "export":
            receipt = {"rows": order.work["rows"], "bytes": order.work["bytes"]}
        else:
            receipt = {
                **({"is_late": True} if "late" in order.work else {"visitor": order.subject_hash}),
                "requested_at": _text(order.requested_at),
                "finished_at": _text(datetime.now(UTC)),
                **{name: order.work[name] for name in _RECEIPT if name in order.work},
                "not_reached": NOT_REACHED,
            }
        self._orders.finish(order, receipt)

    def _suppress(self, order: Order) -> None:
        salt = read_salt(self._orders, order.project_id)
        known: Mapping[str, Sequence[str]] | None = None
        for _ in range(TURNS_MAX):
            found = self._store.links(order.project_id, order.subject)
            if found == known:
                break
            known = found
            hashes = [
                *(user_hash(salt, id_) for id_ in found["user"]),
                *(anonymous_hash(salt, id_) for id_ in found["anonymous"]),
            ]
            self._remember(order, "visitor", hashes)
            with closed_gate(self._database_url):
                pass  # Who wrote without knowing of it is through now: look again.
        assert known is not None
        order.work["links"] = {kind: list(ids) for kind, ids in known.items()}
        order.work["ids"] = {kind: len(ids) for kind, ids in known.items()}

    def _collect(self, order: Order) -> None:
        salt = read_salt(self._orders, order.project_id)
        self._store.collect(order.project_id, order.key, order.work["links"])
        sessions = self._store.ids(order.key, "session")
        self._remember(order, "session", [session_hash(salt, id_) for id_ in sessions])
        with closed_gate(self._database_url):
            pass
        # Once more: the results of the last blocks before that are there now.
        self._store.collect(order.project_id, order.key, order.work["links"])
        order.work |= {
            "session_count": len(sessions),
            "suppressed_at_s": time.time(),
            "insights": list(self._store.insight_ids(order.project_id, order.key)),
        }
        self._count(order)

    def _collect_late(self, order: Order) -> None:
        """Rows that a writer names which had lost the gate; their visitor's newer ones stay."""
        late = order.work["late"]
        self._store.note(
            order.project_id, order.key, {"event": late["events"], "session": late["sessions"]}
        )
        self._count(order)

    def _count(self, order: Order) -> None:
        days = self._store.days(order.project_id, order.key)
        minutes = self._store.minutes(order.project_id, order.key)
        order.work |= {
            "rows": dict(self._store.counts(order.project_id, order.key)),
            "minutes": {str(at_ms): count for at_ms, count in minutes.items()},
            "days": [[day.isoformat(), kind] for day, kind, is_whole in days if is_whole],
            "days_recounted": sorted({day.isoformat() for day, _, is_whole in days if is_whole}),
            "days_not_recounted": sorted({day.isoformat() for day, _, whole in days if not whole}),
        }

    def _erase_table(self, table: str) -> Callable[[Order], None]:
        def erase(order: Order) -> None:
            self._store.erase(order.project_id, order.key, table)

        return erase

    def _erase_late_links(self, order: Order) -> None:
        self._store.erase_links(order.project_id, order.key)

    def _book(self, order: Order) -> None:
        minutes = {int(at): count for at, count in order.work["minutes"].items()}
        self._store.book_erased(order.project_id, order.sequence, minutes)

    def _recount(self, order: Order) -> None:
        for text, kind in order.work["days"]:
            self._orders.renew(order)
            # A day at a time: writers wait meanwhile.
            with closed_gate(self._database_url):
                if kind == "events":
                    self._store.recount_events(order.project_id, date.fromisoformat(text))
                else:
                    self._store.recount_sessions(order.project_id, date.fromisoformat(text))

    def _erase_live(self, order: Order) -> None:
        # A writer that shows what comes may not have heard of it for a second.
        suppressed_s = time.time() - order.work["suppressed_at_s"]
        time.sleep(max(0.0, HEARD_AFTER_S - suppressed_s))
        links = order.work["links"]
        order.work["redis_keys"] = order.work.get("redis_keys", 0) + self._live.erase_sessions(
            order.project_id,
            self._store.ids(order.key, "session"),
            [*links["user"], *links["anonymous"]],
        )

    def _erase_documents(self, order: Order) -> None:
        salt = read_salt(self._orders, order.project_id)
        links = order.work["links"]
        ids = [*links["user"], *links["anonymous"]]
        own = {*ids, *self._store.ids(order.key, "session"), *order.work["insights"]}
        counts = erase_documents(self._orders, order.project_id, Names(own))
        hashes = [subject_hash(salt, id_) for id_ in {*ids, order.subject}]
        where = {"project": order.project_id, "hashes": hashes}
        files, _ = self._orders.transact(
            [
                (
                    "DELETE FROM visitor_export_parts WHERE request_id IN (SELECT id "
                    "FROM visitor_requests WHERE project_id = %(project)s "
                    "AND kind = 'export' AND subject_hash = ANY(%(hashes)s))",
                    where,
                ),
                (
                    "UPDATE visitor_requests SET finished_at = now(), subject = NULL, work = '{}', "
                    'leased_by = NULL, receipt = \'{"error": "the visitor was erased"}\' '
                    "WHERE project_id = %(project)s AND kind = 'export' AND finished_at IS NULL "
                    "AND subject_hash = ANY(%(hashes)s)",
                    where,
                ),
            ]
        )
        earlier = order.work.get("postgresql", {})
        counts["visitor_export_parts"] = files
        order.work["postgresql"] = {
            table: count + earlier.get(table, 0) for table, count in counts.items()
        }
        order.work["notes_to_check"] = notes_that_name(self._orders, order.project_id, own)

    def _remember(self, order: Order, kind: str, hashes: Sequence[str]) -> None:
        """Suppress ids, in a transaction with the list's version."""
        for start in range(0, max(1, len(hashes)), _AT_ONCE):
            self._orders.transact(
                [
                    (
                        "INSERT INTO erased_ids (project_id, kind, id_hash, erased_before) "
                        "SELECT %(project)s, %(kind)s, unnest(%(hashes)s::text[]), %(at)s "
                        "ON CONFLICT (project_id, kind, id_hash) DO UPDATE SET erased_before = "
                        "greatest(erased_ids.erased_before, excluded.erased_before)",
                        {
                            "project": order.project_id,
                            "kind": kind,
                            "hashes": list(hashes[start : start + _AT_ONCE]),
                            "at": order.requested_at,
                        },
                    ),
                    ("UPDATE erasure_version SET version = version + 1", {}),
                ]
            )

    def _collect_for_export(self, order: Order) -> None:
        links = self._store.links(order.project_id, order.subject)
        order.work["links"] = {kind: list(ids) for kind, ids in links.items()}
        self._store.collect(order.project_id, order.key, links)

    def _write_export(self, order: Order) -> None:
        rows: dict[str, int] = {}
        with tempfile.TemporaryFile() as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, lines in self._files(order):
                    with archive.open(f"{name}.ndjson", "w") as entry:
                        rows[name] = 0
                        for chunk in lines:
                            rows[name] += chunk.count(b"\n")
                            entry.write(chunk)
                    self._orders.renew(order)
            order.work |= {"rows": rows, "bytes": file.tell()}
            self._keep_file(order, cast("BinaryIO", file))

    def _files(self, order: Order) -> Iterator[tuple[str, Iterator[bytes]]]:
        links = order.work["links"]
        profile = {
            "asked_for": order.subject,
            "user_ids": links["user"],
            "anonymous_ids": links["anonymous"],
            "shared_devices": links["shared"],
        }
        yield "profile", iter([msgspec.json.encode(profile) + b"\n"])
        for table in VISITOR_TABLES:
            yield table, self._store.lines(order.project_id, order.key, table)
        ids = {
            *links["user"],
            *links["anonymous"],
            *self._store.ids(order.key, "session"),
            *self._store.insight_ids(order.project_id, order.key),
        }
        found = find_documents(self._orders, order.project_id, Names(ids))
        encode = msgspec.json.Encoder(enc_hook=str).encode
        yield "documents", (encode(document) + b"\n" for document in found)

    def _keep_file(self, order: Order, file: BinaryIO) -> None:
        where = {"request": order.key}
        self._orders.transact(
            [("DELETE FROM visitor_export_parts WHERE request_id = %(request)s", where)]
        )
        file.seek(0)
        part = 0
        while content := file.read(PART_BYTES):
            self._orders.transact(
                [
                    (
                        "INSERT INTO visitor_export_parts (request_id, part, content) "
                        "VALUES (%(request)s, %(part)s, %(content)s)",
                        {**where, "part": part, "content": content},
                    )
                ]
            )
            part += 1


_RECEIPT = (
    "ids",
    "rows",
    "session_count",
    "days_recounted",
    "days_not_recounted",
    "redis_keys",
    "postgresql",
    "notes_to_check",
)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
