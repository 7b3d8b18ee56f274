"""The class path of one pinned Apache Kafka, fetched once from Maven Central.

In: a cache directory. Out: the paths of the jars, from a file there if an earlier start wrote it:
only the first start needs the network. Guarantees: every jar of the list exists and is a whole zip
archive when the list is written.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from standalone.process import StartError

KAFKA_VERSION = "4.3.1"
# 4.4.0 needs a jar that Maven Central does not have. slf4j-simple gives the broker its log.
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",
)
_SCOPES = ("compile", "runtime")
_DOWNLOADS = 4
_ATTEMPTS = 4
_TIMEOUT_S = 60

_T = TypeVar("_T")


def class_path(cache_dir: Path, progress: Callable[[str], None]) -> list[Path]:
    """The jars of the broker, in resolution order.

    Raises:
        StartError: they are not in the cache and cannot be fetched.
    """
    listing = cache_dir / f"kafka-{KAFKA_VERSION}.json"
    known = _read_listing(listing, cache_dir)
    if known is not None:
        return known
    progress(f"fetching Apache Kafka {KAFKA_VERSION} (45 MB, once)")
    jars = _fetch(cache_dir)
    names = [str(jar.relative_to(cache_dir)) for jar in jars]
    unfinished = listing.with_suffix(".tmp")
    unfinished.write_text(json.dumps({"coordinates": COORDINATES, "jars": names}, indent=1))
    unfinished.replace(listing)
    return jars


def _read_listing(listing: Path, cache_dir: Path) -> list[Path] | None:
    """The jars of an earlier run, or None if the list or one of them is missing."""
    try:
        content = json.loads(listing.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if content.get("coordinates") != list(COORDINATES):
        return None
    jars = [cache_dir / name for name in content["jars"]]
    return jars if all(jar.is_file() for jar in jars) else None


def _fetch(cache_dir: Path) -> list[Path]:
    # Only a first start needs the resolver.
    from jgo.maven import MavenContext
    from jgo.parse import Coordinate

    repository = cache_dir / "maven"
    repository.mkdir(parents=True, exist_ok=True)
    context = MavenContext(repo_cache=repository, timeout=_TIMEOUT_S)
    wanted = [
        context.create_dependency(replace(Coordinate.parse(text), scope="compile"))
        for text in COORDINATES
    ]
    direct, transitive = _try_again(lambda: context.resolver.resolve(wanted), "the list of jars")
    artifacts = [
        dependency.artifact
        for dependency in (*direct, *(item for item in transitive if item.scope in _SCOPES))
    ]
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        return list(pool.map(_fetch_jar, artifacts))


def _fetch_jar(artifact: Any) -> Path:
    return _try_again(lambda: _whole_jar(artifact), str(artifact.filename))


def _whole_jar(artifact: Any) -> Path:
    """Download a jar; one that an interrupted download left half is removed."""
    jar = Path(artifact.resolve())
    if not zipfile.is_zipfile(jar):
        jar.unlink(missing_ok=True)
        raise OSError(f"{jar.name} is not a whole archive")
    return jar


def _try_again(call: Callable[[], _T], what: str) -> _T:
    """Run a download up to four times with growing pauses."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return call()
        # The resolver raises RuntimeError for a refused file, requests' errors are OSErrors.
        except (OSError, RuntimeError) as error:
            if attempt == _ATTEMPTS:
                raise StartError(
                    f"cannot fetch {what} of Apache Kafka {KAFKA_VERSION} from Maven Central: "
                    f"{error}; the first start needs the network"
                ) from None
            time.sleep(attempt)
    raise AssertionError("the loop returns or raises")
