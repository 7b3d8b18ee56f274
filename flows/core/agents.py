"""From a parsed user agent to the few names that reports use.

In: families as the public uap-core rules name them. Out: `Agent`. Mobile variants of a browser
count as that browser; tablets are told from phones by the device, as uap-core does, and by
Google's rule that Android phones say `Mobile` and tablets do not.
"""

from __future__ import annotations

import re

from flows.core.enrich import Agent
from schemas.lookups import ParsedAgent

_BROWSERS = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chrome Mobile WebView": "Chrome",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "Safari",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Edge Mobile": "Edge",
    "Opera Mobile": "Opera",
    "HeadlessChrome": "Chrome",
}
_SYSTEMS = {"Mac OS X": "macOS", "iOS": "iOS", "Chrome OS": "ChromeOS"}
_MOBILE_SYSTEMS = frozenset({"iOS", "Android", "Windows Phone", "KaiOS", "HarmonyOS"})
# Phones of the brand Cubot are none.
_names_bot = re.compile(
    r"(?<!cu)bot|crawler|spider|headless|lighthouse|curl/|python-requests"
).search
# "Tablet PC" is what Windows says on desktops with its handwriting parts.
_names_tablet = re.compile(r"tablet(?! pc)|kindle").search


def agent_of(parsed: ParsedAgent) -> Agent:
    """Name browser, system and device class; an unknown agent gives empty fields."""
    text = parsed.text.lower()
    is_bot = parsed.device_family == "Spider" or _names_bot(text) is not None
    return Agent(
        browser=_BROWSERS.get(parsed.browser, parsed.browser),
        browser_version=parsed.browser_version,
        os=_SYSTEMS.get(parsed.system, parsed.system),
        os_version=parsed.system_version,
        device_type=_device_type(parsed, text),
        is_bot=is_bot,
    )


def _device_type(parsed: ParsedAgent, text: str) -> str:
    if not parsed.browser and not parsed.system:
        return ""
    if (
        parsed.device_family.startswith("iPad")
        or "tablet" in parsed.device_brand.lower()
        or _names_tablet(text)
        or (parsed.system == "Android" and "mobile" not in text)
    ):
        return "tablet"
    if parsed.system in _MOBILE_SYSTEMS or "mobile" in text:
        return "mobile"
    return "desktop"


def merge_client_agent(server: Agent, client: Agent) -> Agent:
    """Prefer what the server parsed when it knows the browser, else what the client said.

    An iPad in desktop mode calls itself a Mac; there the client's word on the device counts.
    Source: events.md, section 6, rule 5.
    """
    if not server.browser:
        return Agent(
            browser=client.browser,
            browser_version=client.browser_version,
            os=client.os or server.os,
            os_version=client.os_version or server.os_version,
            device_type=client.device_type or server.device_type,
            is_bot=server.is_bot,
        )
    is_disguised_tablet = server.os == "macOS" and client.device_type == "tablet"
    return Agent(
        browser=server.browser,
        browser_version=server.browser_version or client.browser_version,
        os="iPadOS" if is_disguised_tablet else server.os or client.os,
        os_version=client.os_version
        if is_disguised_tablet
        else server.os_version or client.os_version,
        device_type="tablet" if is_disguised_tablet else server.device_type or client.device_type,
        is_bot=server.is_bot,
    )
