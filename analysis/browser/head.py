"""HEAD: the status and headers that GET would have, and no body."""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """Asks what is within for GET, passes on how the answer begins, and ends it there: no row of a download is written.

    Around everything else, so that refusals and errors answer HEAD as they answer GET. A route by route HEAD would stand
    beside each GET in the OpenAPI, and be forgotten at the next one.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def begun(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                enough.cancel()

        with anyio.CancelScope() as enough:
            await self.app({**scope, "method": "GET"}, receive, begun)
