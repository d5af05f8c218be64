"""A WebSocket server of one policy, in openpi's manner; docs/serving.md is its protocol."""

import asyncio
import hmac
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import numpy as np

from tiltflow.errors import UserError
from tiltflow.packages import require
from tiltflow.serving.compiled_policy import CompiledPolicy
from tiltflow.serving.messages import pack_message, unpack_message

MESSAGE_LIMIT = 2**20
"""Bytes of a message; a client that sends a longer one is cut off."""
QUEUE_LIMIT = 4
"""Messages of a client that wait for an answer; more are left in the socket."""
CLIENT_LIMIT = 16
ROW_LIMIT = 1024
"""Observations of a message."""


def answer(policy: CompiledPolicy, content: bytes | str) -> bytes | str:
    """The reply to a message: bytes with the actions, or the text of what is wrong with it."""
    try:
        message = unpack_message(content)
        columns = {signal.name for signal in policy.card.interface.observations}
        unknown = message.keys() - {"observations", "seed", *columns}
        if unknown:
            raise UserError(f"The message has the unknown key {min(unknown, key=str)!r}.")
        seed = message.pop("seed", None)
        if seed is not None and not (isinstance(seed, int | np.integer) and 0 <= seed < 2**32):
            raise UserError(f"seed is {seed!r}, but must be an integer from 0 up, below 2³².")
        observations = policy.checked(message.get("observations", message))
        if observations.ndim == 2 and len(observations) > ROW_LIMIT:
            raise UserError(f"The message has {len(observations)} observations: at most {ROW_LIMIT} a time.")
        began = time.perf_counter()
        actions = policy(observations, seed=None if seed is None else int(seed))
    except UserError as error:
        return str(error)
    return pack_message(
        {"actions": actions, "server_timing": {"infer_ms": 1e3 * (time.perf_counter() - began)}}
    )


async def serve_policy(
    policy: CompiledPolicy,
    *,
    host: str,
    port: int,
    token: str | None,
    stop: asyncio.Event,
    announce: Callable[[int], Any],
) -> int:
    """Answer clients until `stop` is set; returns how many messages were answered.

    `announce` is told the port as soon as clients can connect; 0 asks for any that is free. Requests of web
    pages (with an Origin) are refused, and those without the `token`, if there is one. Raises UserError
    where the address cannot be listened at.
    """
    server_module = require("websockets.asyncio.server")
    closed = require("websockets.exceptions").ConnectionClosed
    metadata = pack_message(policy.card.to_json())
    answered, clients = 0, set[Any]()

    def admit(connection: Any, request: Any) -> Any:
        given = request.headers.get("Authorization", "")
        if token is not None and not hmac.compare_digest(given.encode(), f"Api-Key {token}".encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "The token is missing or wrong.\n")
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if len(clients) >= CLIENT_LIMIT:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{CLIENT_LIMIT} clients are here.\n")
        return None

    async def converse(connection: Any) -> None:
        nonlocal answered
        clients.add(connection)
        try:
            await connection.send(metadata)
            async for content in connection:
                await connection.send(answer(policy, content))
                answered += 1
        except closed:  # a robot that is switched off says no goodbye
            pass
        finally:
            clients.discard(connection)

    try:
        server = await server_module.serve(
            converse,
            host,
            port,
            process_request=admit,
            origins=[None],
            compression=None,
            max_size=MESSAGE_LIMIT,
            max_queue=QUEUE_LIMIT,
        )
    except OSError as error:
        raise UserError(
            f"Cannot listen at {host}, port {port}: {error.strerror or error}. Choose another --port "
            "or --host."
        ) from error
    async with server:
        announce(server.sockets[0].getsockname()[1])
        await stop.wait()
    return answered
