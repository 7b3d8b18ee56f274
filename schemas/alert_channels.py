"""What a channel is called: for the store its key, for a person its target. Pure."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from schemas.alert_rules import Channel, TelegramChannel, WebhookChannel


def channel_key(channel: Channel) -> str:
    """What stays the same of a channel while its secrets change: 32 hexadecimal digits."""
    match channel:
        case TelegramChannel():
            name = f"telegram {channel.chat_id} {channel.thread_id}"
        case WebhookChannel():
            name = f"webhook {channel.url}"
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def target_of(channel: Channel) -> str:
    """Where a channel leads, without what might be a secret: paths of webhooks often are."""
    return f"chat {channel.chat_id}" if isinstance(channel, TelegramChannel) else _host(channel.url)


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    except ValueError:
        return "unreadable"
