"""What the calls about alerts need beside the queries."""

from __future__ import annotations

from dataclasses import dataclass

from api.reads.commands import Commands
from connectors.alert_book import AlertBook


@dataclass(frozen=True, slots=True)
class AlertServices:
    """`senders` runs commands that know the bot's token: no code of a user runs in them."""

    book: AlertBook
    senders: Commands
