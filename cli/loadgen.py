"""`gosight loadgen`: how much does a gateway take, and how fast does it answer?"""

from __future__ import annotations

import asyncio
import secrets
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.folders import DEFAULT_DATA, PORTS_FILE, PROJECT_FILE
from cli.options import Data, Json
from cli.output import PEOPLE, fail, print_json, print_table
from standalone.ports import LOOPBACK

if TYPE_CHECKING:
    from cli.load import LoadPlan, LoadResult


class Form(StrEnum):
    """How a batch is written."""

    PROTOBUF = "protobuf"
    JSON = "json"


def loadgen(
    rate: Annotated[float, typer.Option(min=1, help="Events a second.")] = 1_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long.")] = 10,
    batch: Annotated[int, typer.Option(min=1, max=500, help="Events a request.")] = 10,
    form: Annotated[Form, typer.Option("--format", help="Form of the batches.")] = Form.PROTOBUF,
    is_gzip: Annotated[bool, typer.Option("--gzip", help="Compress the bodies.")] = False,
    url: Annotated[str, typer.Option(help="Gateway; else the one of `gosight up`.")] = "",
    key: Annotated[str, typer.Option(help="Write key; else the one of `gosight up`.")] = "",
    seed: Annotated[int, typer.Option(help="Another seed makes other visits.")] = 0,
    data: Data = DEFAULT_DATA,
    as_json: Json = False,
) -> None:
    """Send made-up visits on a fixed schedule and measure the answers.

    Latency counts from the moment a request was meant to be sent, so a gateway that stalls is
    charged for all that had to wait. Generator and gateway on one machine share its processors.
    Exit code 1 if any request failed.
    """
    from cli.load import LoadPlan, make_bodies, run_load

    try:
        plan = LoadPlan(
            gateway_url=(url or _gateway_of(data)).rstrip("/"),
            key=key or _key_of(data),
            events_per_s=rate,
            seconds=seconds,
            batch=batch,
            form=form.value,
            is_gzip=is_gzip,
            seed=seed or secrets.randbits(32),
        )
    except ValueError as error:
        fail(str(error))
    PEOPLE.print(f"making {plan.requests:,} requests of {plan.batch} events ...")
    bodies = make_bodies(plan)
    PEOPLE.print(f"sending {rate:,.0f} events a second for {seconds:g} s ...")
    result = asyncio.run(run_load(plan, bodies))
    _print(plan, result, sum(map(len, bodies)) / len(bodies), as_json)
    raise typer.Exit(1 if result.errors else 0)


def _gateway_of(data: Path) -> str:
    from cli.machine import read_ports

    ports = read_ports(data)
    if "gateway" not in ports:
        fail(f"there is no {PORTS_FILE} in {data}: give --url, or run `gosight up` first")
    return f"http://{LOOPBACK}:{ports['gateway']}"


def _key_of(data: Path) -> str:
    from cli.default_project import read_default_project

    project = read_default_project(data)
    if project is None:
        fail(f"there is no {PROJECT_FILE} in {data}: give --key, or run `gosight up` first")
    return project.write_key


def _print(plan: LoadPlan, result: LoadResult, body_bytes: float, as_json: bool) -> None:
    document = {
        "requests": result.requests,
        "accepted": result.accepted,
        "rejected": result.rejected,
        "errors": dict(result.errors),
        "events_per_s": round((result.accepted + result.rejected) / result.seconds, 1),
        "p50_ms": round(result.percentile_ms(0.50), 2),
        "p90_ms": round(result.percentile_ms(0.90), 2),
        "p99_ms": round(result.percentile_ms(0.99), 2),
        "max_ms": round(max(result.latencies_ms, default=0.0), 2),
        "seconds": round(result.seconds, 2),
        "format": plan.form,
        "gzip": plan.is_gzip,
        "body_bytes": round(body_bytes),
    }
    if as_json:
        print_json(document)
    else:
        print_table("Load", ("figure", "value"), [(name, str(v)) for name, v in document.items()])
