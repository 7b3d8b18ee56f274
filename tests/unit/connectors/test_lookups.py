"""Look-ups: what they find, and that their slow forms refuse to start."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import maxminddb
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from connectors import lookups
from connectors.errors import FatalError
from connectors.lookups import load_agent_parser, load_place_reader
from schemas.lookups import Place


@pytest.fixture
def city_database(tmp_path: Path) -> Path:
    """A City database that knows one network."""
    writer = MMDBWriter(ip_version=6, database_type="GeoLite2-City", ipv4_compatible=True)
    writer.insert_network(
        IPSet(["203.0.113.0/24"]),
        {
            "country": {"iso_code": "VN", "names": {"en": "Vietnam"}},
            "subdivisions": [{"names": {"en": "Hanoi"}}],
            "city": {"names": {"en": "Hanoi"}},
        },
    )
    path = tmp_path / "city.mmdb"
    writer.to_db_file(str(path))
    return path


def test_known_and_unknown_addresses(city_database: Path) -> None:
    """A known network gives its place; anything else gives empty fields, not an error."""
    find = load_place_reader(str(city_database))
    assert find("203.0.113.7") == Place("Vietnam", "VN", "Hanoi", "Hanoi")
    for address in ("198.51.100.1", "::1", "", "anon_0011223344556677", "not an address"):
        assert find(address) == Place()


def test_without_a_database_nothing_is_known() -> None:
    """No file is a choice, not a fault."""
    assert load_place_reader(None)("203.0.113.7") == Place()


def test_a_missing_or_wrong_database_is_told(tmp_path: Path) -> None:
    """The start fails with the setting's name."""
    with pytest.raises(FatalError, match="GEOIP_DATABASE"):
        load_place_reader(str(tmp_path / "absent.mmdb"))
    (tmp_path / "bad.mmdb").write_bytes(b"not a database")
    with pytest.raises(FatalError, match="no MaxMind database"):
        load_place_reader(str(tmp_path / "bad.mmdb"))


def test_a_database_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A country database would leave regions and cities empty without a word."""
    writer = MMDBWriter(ip_version=4, database_type="GeoLite2-Country")
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"country": {"iso_code": "VN"}})
    writer.to_db_file(str(tmp_path / "country.mmdb"))
    with pytest.raises(FatalError, match="a City one is needed"):
        load_place_reader(str(tmp_path / "country.mmdb"))


def test_slow_user_agent_parser_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the Rust resolver the start fails and says what to install."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        lookups, "find_spec", lambda name: None if name == "ua_parser_rs" else real(name)
    )
    with pytest.raises(FatalError, match=r"ua-parser\[regex\]"):
        load_agent_parser()


def test_slow_database_reader_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch, city_database: Path
) -> None:
    """Without the C extension the start fails instead of reading 13 times slower."""
    monkeypatch.setattr(maxminddb, "_extension", None)
    with pytest.raises(FatalError, match="no C extension"):
        load_place_reader(str(city_database))


@pytest.mark.parametrize("module", [["ingest_gateway"], ["flows", "storage"]])
def test_slow_protobuf_refuses_to_start(module: list[str]) -> None:
    """Each process that reads messages ends at once and says why."""
    result = subprocess.run(
        [sys.executable, "-m", *module],
        env={
            **os.environ,
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
            "METRICS_PORT": "0",
            "METRICS_HOST": "127.0.0.1",
            "INGESTOR_HTTP_PORT": "0",
            "INGESTOR_GRPC_PORT": "-1",
            "INGESTOR_HOST": "127.0.0.1",
            "RUST_BACKTRACE": "0",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "upb" in result.stderr
    assert "Traceback" not in result.stderr
