"""`gosight topics`: the Kafka topics as the registry names them."""

from __future__ import annotations

import typer

from cli.folders import DEFAULT_DATA
from cli.options import Data, Json
from cli.output import print_result, told_plainly

app = typer.Typer(no_args_is_help=True, help="Create and check the Kafka topics.")


@app.command()
def create(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Create the topics that do not exist yet; existing ones are left as they are.

    KAFKA_REPLICATION and KAFKA_MIN_INSYNC_REPLICAS (both 1) say how safely they are kept.
    """
    from cli.settings import load_settings
    from connectors.kafka_admin import ensure_topics

    with told_plainly(data):
        settings = load_settings(data)
        created = ensure_topics(
            settings.kafka_brokers,
            replication=settings.replication,
            min_insync_replicas=settings.min_insync_replicas,
        )
    text = "\n".join(f"created {name}" for name in created) or "all topics exist already"
    print_result({"created": created}, as_json, text)


@app.command()
def check(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Compare the topics with the registry; exit code 1 if anything differs.

    Partitions, retention and room for records are the registry's; copies are those of
    KAFKA_REPLICATION and KAFKA_MIN_INSYNC_REPLICAS at least.
    """
    from cli.settings import load_settings
    from connectors.kafka_admin import check_topics

    with told_plainly(data):
        settings = load_settings(data)
        faults = check_topics(
            settings.kafka_brokers,
            replication=settings.replication,
            min_insync_replicas=settings.min_insync_replicas,
        )
    print_result(
        {"ok": not faults, "faults": faults},
        as_json,
        "\n".join(faults) or "all topics are as the registry says",
    )
    raise typer.Exit(1 if faults else 0)


@app.command()
def adopt(data: Data = DEFAULT_DATA, as_json: Json = False) -> None:
    """Go on with topics that were deleted and made anew; stop storage before.

    Their offsets begin at 0 again. What is stored keeps its place in reports, and new records are
    no longer taken for those that had their offsets before.
    """
    from cli.settings import load_settings
    from connectors.clickhouse import connect
    from connectors.kafka_admin import read_topics
    from schemas.topics import TOPICS
    from sql.renewed_topics import adopt_topics

    with told_plainly(data):
        settings = load_settings(data)
        found = read_topics(settings.kafka_brokers, [topic.name for topic in TOPICS])
        ids = {name: topic.topic_id for name, topic in found.items()}
        adopted = adopt_topics(connect(settings.clickhouse_url), ids)
    text = "\n".join(f"adopted {name}" for name in adopted) or "no topic was made anew"
    print_result({"adopted": adopted}, as_json, text)
