"""The entries of a project's `allowed_domains`, as people write them.

In: a text. Out: the same in its normal form, which `ingest_gateway.origins` compares with the
`Origin` of a page, or an error: an entry that no page can match would shut all of them out. Pure.
"""

from __future__ import annotations

import re

DOMAINS_MAX = 100
DOMAIN_CHARS_MAX = 253

_HOST = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\.?"
_DOMAIN = re.compile(rf"(?:\*\.)?{_HOST}|https?://(?:{_HOST}|\[[0-9a-f:.]+\])(?::\d{{1,5}})?/?")
# A scheme and the port that an Origin does not say then.
_USUAL_PORTS = (("http://", ":80"), ("https://", ":443"))


def read_domain(text: str) -> str:
    """One entry in lower case; an origin without the port that browsers leave out.

    Raises:
        ValueError: it is neither a host, nor one behind `*.`, nor an origin.
    """
    domain = text.strip().lower()
    if len(domain) > DOMAIN_CHARS_MAX or not _DOMAIN.fullmatch(domain):
        raise ValueError("is no domain, as shop.example, *.shop.example or https://shop.example")
    for scheme, port in _USUAL_PORTS:
        if domain.startswith(scheme):
            domain = domain.rstrip("/").removesuffix(port)
    return domain
