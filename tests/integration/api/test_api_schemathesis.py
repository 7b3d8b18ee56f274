"""Requests made from the document by Schemathesis, against the running API."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from api.access import Access
from tests.integration.api.account_world import account_world
from tests.integration.api.estate import make_estate
from tests.stack import RunningStack

SECONDS_MAX = 45
# They would end the login that the run has, or the project that it is about.
LEFT_OUT = r"/auth/|/me/password|/me/logins|/invitations/accept"
# A past date, a zone that is none: right in form, and still refused. The rest must hold.
NOT_ASKED = "positive_data_acceptance"


async def test_schemathesis_finds_nothing(databases: RunningStack, tmp_path: Path) -> None:
    """No failure of the server, no undocumented answer, no auth that is ignored."""
    config = tmp_path / "schemathesis.toml"
    async with account_world(databases, now_ms=time.time_ns() // 1_000_000) as world:
        estate = await make_estate(world)
        token = estate.people[Access.OWNER].access_token
        ids = "\n".join(f'"path.{name}" = "{estate.ids[name]}"' for name in ("project_id", "slug"))
        # A busy machine may answer 503, which is documented.
        config.write_text(
            f"[parameters]\n{ids}\n[checks.not_a_server_error]\n"
            'expected-statuses = ["2xx", "3xx", "4xx", "503"]\n'
        )
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("st")),
            *("--config-file", str(config), "run"),
            f"http://127.0.0.1:{world.client.port}/api/v1/openapi.json",
            *("--header", f"Authorization: Bearer {token}"),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-time", str(SECONDS_MAX), "--max-examples", "15", "--seed", "1"),
            *("--exclude-path-regex", LEFT_OUT, "--exclude-method", "DELETE"),
            *("--exclude-checks", NOT_ASKED, "--generation-allow-x00", "false"),
            *("--generation-database", "none", "--no-color", "--continue-on-failure"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text[-6_000:]
    assert "generated" in text
