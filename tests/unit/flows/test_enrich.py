"""Campaigns, referrers, paths and agents."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.lookups import load_agent_parser
from flows.core.agents import agent_of, merge_client_agent
from flows.core.enrich import (
    Agent,
    Campaign,
    campaign_of,
    declared_domain,
    host_of,
    path_of,
    referrer_domain_of,
)

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1"
)
IPAD = IPHONE.replace("iPhone; CPU iPhone OS", "iPad; CPU OS")
ANDROID_TABLET = (
    "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Safari/537.36"
)
ANDROID_PHONE = ANDROID_TABLET.replace("SM-X710", "Pixel 8").replace(" Safari", " Mobile Safari")
WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Safari/537.36"
)
MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.4 Safari/605.1.15"
)
INTERNET_EXPLORER = (
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; Touch; .NET4.0E; Tablet PC 2.0; rv:11.0) "
    "like Gecko"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.mark.parametrize(
    ("text", "browser", "system", "device", "is_bot"),
    [
        (WINDOWS, "Chrome", "Windows", "desktop", False),
        (WINDOWS + " Edg/156.0.0.0", "Edge", "Windows", "desktop", False),
        (MAC, "Safari", "macOS", "desktop", False),
        (IPHONE, "Safari", "iOS", "mobile", False),
        (IPAD, "Safari", "iOS", "tablet", False),
        (ANDROID_TABLET, "Chrome", "Android", "tablet", False),
        (ANDROID_PHONE, "Chrome", "Android", "mobile", False),
        (GOOGLEBOT, "Googlebot", "", "desktop", True),
        ("curl/8.5.0", "curl", "", "desktop", True),
        (ANDROID_PHONE.replace("Pixel 8", "CUBOT X19"), "Chrome", "Android", "mobile", False),
        (INTERNET_EXPLORER, "IE", "Windows", "desktop", False),
        (ANDROID_TABLET.replace("SM-X710", "Pixel Tablet"), "Chrome", "Android", "tablet", False),
        ("", "", "", "", False),
    ],
)
def test_user_agents(text: str, browser: str, system: str, device: str, is_bot: bool) -> None:
    """Phones, tablets, desktops and bots are told apart."""
    agent = agent_of(load_agent_parser()(text))
    assert (agent.browser, agent.os, agent.device_type, agent.is_bot) == (
        browser,
        system,
        device,
        is_bot,
    )


def test_server_wins_when_it_knows_the_browser() -> None:
    """What the client says counts only where the user agent says nothing."""
    server = Agent("Chrome", "156", "Windows", "10", "desktop")
    client = Agent("Netscape", "4", "BeOS", "5", "mobile")
    assert merge_client_agent(server, client) == server
    assert merge_client_agent(Agent(), client) == client


def test_ipad_in_desktop_mode_is_a_tablet() -> None:
    """It calls itself a Mac; only its script knows better."""
    server = Agent("Safari", "17.4", "macOS", "10.15.7", "desktop")
    merged = merge_client_agent(server, Agent(os="iPadOS", os_version="17.4", device_type="tablet"))
    assert (merged.device_type, merged.os, merged.os_version) == ("tablet", "iPadOS", "17.4")


@pytest.mark.parametrize(
    ("url", "campaign"),
    [
        ("https://a.example/", Campaign()),
        ("https://a.example/?utm_source=News&utm_medium=EMail", Campaign("news", "email")),
        (
            "https://a.example/x?utm_campaign=Spring+Sale&utm_term=boots&utm_content=top#h",
            Campaign("", "", "Spring Sale", "boots", "top"),
        ),
        ("https://a.example/?utm_source=one&utm_source=two", Campaign("one")),
        ("http://[bad/?utm_source=x", Campaign()),
    ],
)
def test_campaigns(url: str, campaign: Campaign) -> None:
    """Five parameters, source and medium in lower case, the first of a repeated one."""
    assert campaign_of(url) == campaign


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("www.Google.com", "google.com"),
        ("news.example:8080", "news.example"),
        ("https://www.news.example/a?b=c", "news.example"),
        ("", ""),
        ("[bad", ""),
    ],
)
def test_a_declared_domain_is_that_of_a_referrer(text: str, domain: str) -> None:
    """A site is one source, whether a page's referrer or session_start names it."""
    assert declared_domain(text) == domain


def test_referrer_domain_is_foreign_only() -> None:
    """The site's own pages are no referrer; `www.` and ports do not make a host foreign."""
    here = "https://www.shop.example:8443/cart"
    assert referrer_domain_of("https://www.google.com/search?q=x", here) == "google.com"
    assert referrer_domain_of("https://shop.example/", here) == ""
    assert referrer_domain_of("", here) == ""
    assert host_of("not a url") == ""


def test_path_of_a_url() -> None:
    """The path without query and fragment."""
    assert path_of("https://a.example/x/y?z=1#f") == "/x/y"
    assert path_of("https://a.example") == "/"
    assert path_of("") == ""


@given(st.text(max_size=200))
@settings(deadline=None)
def test_no_text_breaks_enrichment(text: str) -> None:
    """Any text is taken; nothing raises."""
    campaign_of(text)
    campaign_of("http://x/?utm_source=" + text)
    host_of(text)
    path_of(text)
    agent_of(load_agent_parser()(text))
