"""Amounts of money as whole numbers of a currency's smallest unit.

Source of the exponents: ISO 4217; which ones matter: revenue.md, section 2.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

_NO_DECIMALS = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND")
) | {"VUV", "XAF", "XOF", "XPF"}
_THREE_DECIMALS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
# A float tells cents apart up to here; no visit pays more.
AMOUNT_MAX = 1e13


def hundredths(value: float | None) -> int:
    """49.0 is 4900 in every currency, so that sums of them are whole numbers; see `minor_units`."""
    return minor_units(value, "")


def minor_units(value: float | None, currency: str) -> int:
    """49.0 USD is 4900; halves are rounded away from zero; what is no amount is 0."""
    if value is None or not math.isfinite(value) or abs(value) > AMOUNT_MAX:
        return 0
    exponent = 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    # By its shortest text, so that 1.005 is what was written and not 1.00499...
    return int(Decimal(repr(value)).scaleb(exponent).quantize(Decimal(1), ROUND_HALF_UP))
