"""The fuzzer finds what it is for: each defect that is planted, and none where there is none."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fuzz.client import Outcome
from tests.fuzz.entries import ENTRIES, Case, make_case
from tests.fuzz.runner import EntryRun, fault_of
from tests.fuzz.target import peak_bytes
from tests.gateway_world import WRITE_KEY

ROOT = Path(__file__).resolve().parents[2]
SEED = 7
SECONDS = 2.5
# `growth` and `memory` need the first block for the warm-up.
PLANTED = {
    "fault": "fault",
    "slow": "slow",
    "closed": "fault",
    "crash": "crash",
    "growth": "growth",
    "memory": "memory",
}


class PlantedTarget:
    """See `runner.Target`."""

    host = "127.0.0.1"
    grpc_port: int | None = None
    key = WRITE_KEY

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.http_port = port

    def is_alive(self) -> bool:
        """See `Target`."""
        return self._process.poll() is None

    def memory_bytes(self) -> int:
        """See `Target`."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def peak_bytes(self) -> int:
        """See `Target`."""
        return peak_bytes(self._process.pid)

    def forget_peak(self) -> None:
        """See `Target`."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    async def check_good(self) -> str | None:
        """See `Target`."""
        reader, writer = await asyncio.open_connection(self.host, self.http_port)
        writer.write(b"POST /good HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return None if b"202" in line else str(line)

    def log_failures(self) -> list[str]:
        """See `Target`."""
        return []


@contextmanager
def planted(defect: str) -> Iterator[PlantedTarget]:
    """A server with this defect."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.planted", defect],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield PlantedTarget(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("defect", list(PLANTED))
async def test_planted_defect_is_found(defect: str, tmp_path: Path) -> None:
    """A server that fails, hangs, closes, dies or grows on one case in fifty is found out."""
    with planted(defect) as target:
        run = EntryRun("protobuf", SEED, target, tmp_path, block_cases=100, findings_max=1)
        report = await run.run(SECONDS)
    [first, *_] = [one for one in report.findings if one.kind == PLANTED[defect]]
    if first.path is not None:
        case = make_case("protobuf", SEED, first.number, WRITE_KEY)
        assert first.path.read_bytes() == case.wire()


async def test_sound_server_has_no_findings(tmp_path: Path) -> None:
    """Nothing is found where nothing is wrong, and no file is left."""
    with planted("none") as target:
        report = await EntryRun("protobuf", SEED, target, tmp_path, block_cases=100).run(1.0)
    assert report.findings == []
    assert report.cases >= 100
    assert report.statuses["202"] == report.cases
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("entry", list(ENTRIES))
def test_a_case_can_be_made_again(entry: str) -> None:
    """Seed, entry and number decide a case; other seeds make others."""
    for number in range(30):
        case = make_case(entry, SEED, number, WRITE_KEY)
        assert case == make_case(entry, SEED, number, WRITE_KEY)
        assert case.entry == entry
    others = [make_case(entry, seed, 1, WRITE_KEY).wire() for seed in range(20)]
    assert len(set(others)) > 10


@pytest.mark.parametrize(
    ("path", "status"), [("/ready", "503"), ("/ready", "500"), ("/v1/x", "503")]
)
def test_only_readiness_may_say_503(path: str, status: str) -> None:
    """It tells the truth about slow servers; any other answer of 500 or more is a fault."""
    case = Case("headers", 1, (f"GET {path} HTTP/1.1\r\nX: /ready \r\n\r\n".encode(),))
    is_fault = fault_of(case, Outcome((status,), 0.1)) is not None
    assert is_fault == ((path, status) != ("/ready", "503"))
