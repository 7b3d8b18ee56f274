"""Makes `geo/geo-demo.mmdb`: a small City database for the addresses of the sample traffic.

In: the table below. Out: a MaxMind DB file with the record layout of the real City databases, so
that the demonstration shows countries without an account at a provider of such data. The networks
are those of MaxMind's public test database; none of it says where a real address is.

Run from the repository root: `python -m samples.make_geo`.
"""

from __future__ import annotations

from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from samples import GEO_DATABASE

# network, ISO 3166-1 code, country, region, city
_PLACES: tuple[tuple[str, str, str, str, str], ...] = (
    ("81.2.69.0/24", "GB", "United Kingdom", "England", "London"),
    ("2.125.160.216/29", "GB", "United Kingdom", "England", "Boxford"),
    ("89.160.20.112/28", "SE", "Sweden", "Östergötland County", "Linköping"),
    ("175.16.199.0/24", "CN", "China", "Jilin Sheng", "Changchun"),
    ("216.160.83.56/29", "US", "United States", "Washington", "Milton"),
    ("214.78.120.0/22", "US", "United States", "California", "San Diego"),
    ("214.0.0.0/24", "SG", "Singapore", "", "Singapore"),
    ("214.0.1.0/24", "AU", "Australia", "New South Wales", "Sydney"),
    ("2a02:cfc0::/29", "FR", "France", "", ""),
    ("2a02:d180::/29", "DE", "Germany", "", ""),
    ("2001:218::/32", "JP", "Japan", "", ""),
)


def _record(code: str, country: str, region: str, city: str) -> dict[str, Any]:
    record: dict[str, Any] = {"country": {"iso_code": code, "names": {"en": country}}}
    if region:
        record["subdivisions"] = [{"names": {"en": region}}]
    if city:
        record["city"] = {"names": {"en": city}}
    return record


def main() -> None:
    """Write the database file."""
    writer = MMDBWriter(
        ip_version=6,
        ipv4_compatible=True,
        database_type="GoSight-Demo-City",
        languages=["en"],
        description={"en": "Made-up places for the sample traffic of GoSight"},
    )
    for network, code, country, region, city in _PLACES:
        writer.insert_network(IPSet([network]), _record(code, country, region, city))
    GEO_DATABASE.parent.mkdir(exist_ok=True)
    writer.to_db_file(str(GEO_DATABASE))


if __name__ == "__main__":
    main()
