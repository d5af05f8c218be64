"""A client of `tiltflow serve`: copy it to the robot. It needs websockets, msgpack and numpy alone."""

import msgpack
import numpy as np
from websockets.sync.client import connect


class PolicyClient:
    """policy(observation) -> action, by a server; `card` is what the server says of itself."""

    def __init__(self, address: str = "ws://127.0.0.1:8000", token: str | None = None):
        headers = None if token is None else {"Authorization": f"Api-Key {token}"}
        self._socket = connect(address, additional_headers=headers, compression=None)
        self.card = msgpack.unpackb(self._socket.recv())

    def __call__(self, observations: np.ndarray, **options: int) -> np.ndarray:
        """Actions [a] or [n, a] at observations [o] or [n, o]; the option `seed` fixes the drawing."""
        self._socket.send(msgpack.packb({"observations": observations, **options}, default=_pack))
        reply = self._socket.recv(timeout=10)
        if isinstance(reply, str):
            raise ValueError(reply)
        return msgpack.unpackb(reply, object_hook=_unpack)["actions"]

    def close(self) -> None:
        self._socket.close()


def _pack(array):
    return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}


def _unpack(value):
    if b"__ndarray__" not in value:
        return value
    return np.frombuffer(value[b"data"], value[b"dtype"]).reshape(value[b"shape"])
