"""Settings of the API: a secret is asked for, origins are origins; documents are merged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.accounts.project_store import merged
from api.settings import ApiSettings
from connectors.settings import SettingsError
from schemas.project_settings import SECTIONS, settings_problems

SECRET = "s" * 32
NAMES = sorted(
    {*SECTIONS, "mouse", "level", "ip", "method", "maskRegex", "mode", "triggers", "onError",
     "rage_click", "radiusPx", "enabled", "sessionSampleRate", "blockUrls", "includeUrls"}
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=12) | st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("secret", [None, "", "short", "s" * 31])
def test_without_a_long_secret_it_does_not_start(secret: str | None) -> None:
    """The message names the variable, and never what was given."""
    environ = {} if secret is None else {"JWT_SECRET": secret}
    with pytest.raises(SettingsError, match="JWT_SECRET") as caught:
        ApiSettings.from_process(environ)
    assert "short" not in str(caught.value)


def test_two_secrets_are_taken_while_they_rotate() -> None:
    """The present one first."""
    settings = ApiSettings.from_process({"JWT_SECRET": SECRET, "JWT_SECRET_PREVIOUS": "p" * 40})
    assert settings.jwt_secrets() == (SECRET, "p" * 40)
    assert ApiSettings.from_process({"JWT_SECRET": SECRET}).jwt_secrets() == (SECRET,)


def test_origins_are_read_as_browsers_send_them() -> None:
    """Lower case, without a slash; anything else than an origin is refused."""
    text = "https://Dash.example/, http://localhost:5173"
    settings = ApiSettings.from_process({"JWT_SECRET": SECRET, "API_CORS_ORIGINS": text})
    assert settings.cors_origins() == {"https://dash.example", "http://localhost:5173"}
    for bad in ("*", "dash.example", "https://dash.example/path", "null", "https://*.example"):
        with pytest.raises(SettingsError, match="API_CORS_ORIGINS"):
            ApiSettings.from_process({"JWT_SECRET": SECRET, "API_CORS_ORIGINS": bad})


@given(st.dictionaries(st.sampled_from(sorted(SECTIONS)) | st.text(max_size=9), JSON, max_size=5))
def test_any_document_is_judged_and_never_a_fault_of_ours(document: dict[str, Any]) -> None:
    """Whatever somebody saves as settings, the answer is a list of what is wrong."""
    for problem in settings_problems(merged({}, document)):
        assert problem.partition(": ")[2]


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_merging_is_key_by_key(document: dict[str, Any]) -> None:
    """Merging twice changes nothing more; nothing changes nothing; null is never kept."""
    once = merged({}, document)
    assert merged(once, document) == once
    assert merged(once, {}) == once
    assert None not in once.values()
