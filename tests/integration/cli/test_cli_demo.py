"""`gosight demo --once --json`: the whole way, from recorded visits to a balanced ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import gosight

pytestmark = pytest.mark.integration


def test_demo_balances_and_runs_again(tmp_path: Path) -> None:
    """Accepted is stored plus duplicates, rejections have reasons, also in a second run."""
    for _ in range(2):
        result = gosight(
            "demo", "--once", "--json", "--any-ports", "--data", str(tmp_path / "data")
        )
        assert result.returncode == 0, result.stderr
        document = json.loads(result.stdout.splitlines()[-1])
        assert document["ledger_balanced"] is True
        assert document["accepted"] == document["stored"] + document["duplicates"]
        assert document["stored"] > 8_000
        assert document["duplicates"] > 300
        assert set(document["rejected_by_reason"]) == {
            "missing_field",
            "unknown_event_type",
            "bad_timestamp",
            "too_old",
            "bad_payload",
            "too_large",
            "raw_value",
            "blocked_url",
            "opted_out",
        }
        assert document["rejected"] == sum(document["rejected_by_reason"].values()) == 9
        assert {"GB", "US", "SE", "FR"} <= {row["country_code"] for row in document["countries"]}
        assert "unknown" not in {row["browser"] for row in document["browsers"]}
        assert document["top_pages"][0]["views"] > 50
        assert len(document["hourly"]) > 10
        assert document["freshness_seconds"] < 30
