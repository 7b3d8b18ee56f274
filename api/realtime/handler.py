"""`GET .../realtime`: from a request to an open WebSocket. Source: api.md, section 8."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web
from pydantic import Field

from api.access import Access
from api.auth import take_for_address
from api.cors import is_own_page
from api.errors import ApiError, ErrorCode
from api.parameters import NoParameters, parse_parameters
from api.rate_limits import PER_ADDRESS
from api.realtime.messages import MESSAGE_BYTES_MAX
from api.realtime.service import REALTIME
from api.route import PROJECT, Route


class AliasParameters(NoParameters):
    """The project, as the path of `realtime` names it."""

    project: str = Field(min_length=1, max_length=64)


async def realtime(request: web.Request) -> web.StreamResponse:
    """A WebSocket with what happens in the project now.

    Not a call of HTTP: connect with a WebSocket client. The first message, within 5 seconds, says
    who you are: `{"type": "auth", "token": "..."}` with an access token, an API token or a read
    key; nothing of it is in the address or a header. Then subscribe to channels: sessions, events,
    insights, alerts, visitors; metrics comes by itself. Whoever asks in plain HTTP gets 400.
    """
    return await _serve(request, request.match_info["project_id"])


async def realtime_alias(request: web.Request) -> web.StreamResponse:
    """The same at `/ws?project=`."""
    await take_for_address(request, PER_ADDRESS)
    return await _serve(request, parse_parameters(AliasParameters, request.query).project)


async def _serve(request: web.Request, project_text: str) -> web.StreamResponse:
    """Raises ApiError if it is no WebSocket, from a foreign page, or there is no room."""
    service = request.app.get(REALTIME)
    limits_close_s = 3.0 if service is None else service.limits.close_s
    socket = web.WebSocketResponse(
        timeout=limits_close_s, autoping=False, compress=False, max_msg_size=MESSAGE_BYTES_MAX
    )
    if not socket.can_prepare(request):
        raise ApiError(
            ErrorCode.VALIDATION_ERROR,
            "this is a WebSocket: connect with a WebSocket client",
            {"Upgrade": "must be websocket"},
        )
    if not is_own_page(request):
        raise ApiError(ErrorCode.FORBIDDEN, "pages of this origin may not connect")
    if service is None or not service.has_room:
        raise ApiError(ErrorCode.UNAVAILABLE, "no more live connections are taken now")
    await socket.prepare(request)
    await service.serve(request, socket, _project_id(project_text))
    return socket


def _project_id(text: str) -> str:
    """In its canonical form; what is none is nobody's project."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""


REALTIME_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        PROJECT + "/realtime",
        realtime,
        Access.PUBLIC,
        "What happens now, over a WebSocket.",
        NoParameters,
        status=101,
    ),
    Route("GET", "/ws", realtime_alias),
)
