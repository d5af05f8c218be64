"""A served policy over a real socket, by the client of the examples: answers, errors, limits, and its end."""

import contextlib
import io
import json
import os
import re
import runpy
import signal
import threading
from pathlib import Path

import msgpack
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tiltflow.cli.main import main
from tiltflow.serving.load_policy import load_policy
from tiltflow.serving.policy_server import CLIENT_LIMIT, MESSAGE_LIMIT

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
PolicyClient = runpy.run_path(str(EXAMPLES / "policy_client.py"))["PolicyClient"]
TOKEN = "opensésame"
HEADERS = {"Authorization": f"Api-Key {TOKEN}"}


@pytest.fixture(scope="module")
def policy(run_of):
    return load_policy(run_of("bc-flow")).warm_up()


@pytest.fixture(scope="module")
def address(policy, serving):
    """Of a server with a token in a thread of this process."""
    with serving(policy, TOKEN) as address:
        yield address


@pytest.fixture
def client(address):
    client = PolicyClient(address, TOKEN)
    yield client
    client.close()


def test_the_client_gets_the_actions_of_the_policy_and_its_card(policy, client):
    states = np.random.default_rng(1).normal(size=(5, 3))
    assert client.card == json.loads(json.dumps(policy.card.to_json()))
    for observations in (states[0], states, states.astype(np.float32)):
        np.testing.assert_array_equal(client(observations, seed=3), policy(observations, seed=3))
    assert not np.array_equal(client(states[0]), client(states[0]))


def test_a_wrong_message_is_answered_by_its_fault_and_the_connection_stays(client):
    for observations, options, text in (
        (np.zeros(2), {}, "must be \\[3\\]"),
        (np.array([0, np.nan, 0]), {}, r"nan at entry 1 \(speed\)"),
        (np.zeros((2000, 3)), {}, "at most 1024"),
        (np.zeros(3), {"seed": -1}, "seed is -1"),
        (np.zeros(3), {"best_of": 4}, "unknown key 'best_of'"),
    ):
        with pytest.raises(ValueError, match=text):
            client(observations, **options)
    assert client(np.zeros(3)).shape == (2,)


def test_bytes_of_strangers_are_refused_in_words(address):
    objects = {b"__ndarray__": True, b"data": b"12345678", b"dtype": "|O", b"shape": [1]}
    with connect(address, additional_headers=HEADERS) as socket:
        socket.recv()
        for message, text in (
            ("text", "must be a binary one"),
            (b"\xc1", "not msgpack"),
            (msgpack.packb([1]), "must be a map"),
            (msgpack.packb({"observations": objects}), "no plain number"),
            (msgpack.packb({"gap": 0.0}), "has no 'motion'"),
        ):
            socket.send(message)
            assert text in socket.recv()
        socket.send(msgpack.packb({"gap": 0.0, "motion": [1.0, 0.0]}))
        assert isinstance(socket.recv(), bytes)


def test_without_the_token_from_a_web_page_or_as_one_too_many_nobody_comes_in(address):
    for options, status in (
        ({}, 401),
        ({"additional_headers": {"Authorization": "Api-Key other"}}, 401),
        ({"additional_headers": HEADERS, "origin": "https://page.example"}, 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            connect(address, **options)
        assert refused.value.response.status_code == status
    clients = [PolicyClient(address, TOKEN) for _ in range(CLIENT_LIMIT)]
    with pytest.raises(InvalidStatus) as refused:
        PolicyClient(address, TOKEN)
    assert refused.value.response.status_code == 503
    for client in clients:
        client.close()


def test_a_message_that_is_too_long_ends_its_connection_alone(address, client):
    with connect(address, additional_headers=HEADERS) as socket:
        socket.recv()
        socket.send(b"0" * (MESSAGE_LIMIT + 1))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
        assert closed.value.rcvd.code == 1009
    assert client(np.zeros(3)).shape == (2,)


class Watched(io.StringIO):
    """What a command prints; calls back with the port once it says where it serves."""

    def __init__(self, serving):
        super().__init__()
        self.serving = serving

    def write(self, text):
        if found := re.search(r"at ws://127\.0\.0\.1:(\d+)", text):
            threading.Thread(target=self.serving, args=(int(found[1]),)).start()
        return super().write(text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal_comes(run_of, tmp_path, number):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    answers = []

    def act_then_stop(port):
        try:
            answers.append(PolicyClient(f"ws://127.0.0.1:{port}", TOKEN)(np.zeros(3)))
        finally:
            os.kill(os.getpid(), number)

    output = Watched(act_then_stop)
    with contextlib.redirect_stdout(output):
        words = ["serve", str(run_of("bc-flow")), "--port", "0", "--token-file", str(tmp_path / "token")]
        assert main(words) == 0
    assert answers[0].shape == (2,)
    assert output.getvalue().splitlines()[-1] == "Stopped after 1 messages."


def test_what_cannot_be_served_is_refused(run_of, address, tmp_path, capsys):
    (tmp_path / "empty").touch()
    port = address.rpartition(":")[2]
    for words, text in (
        (["runs/none"], "is no run folder"),
        ([str(run_of("bc-flow")), "--port", "70000"], "from 0 to 65535"),
        ([str(run_of("bc-flow")), "--port", port], "Cannot listen at 127.0.0.1"),
        ([str(run_of("bc-flow")), "--token-file", str(tmp_path / "empty")], "first line is empty"),
    ):
        assert main(["serve", *words]) == 2
        assert text in " ".join(capsys.readouterr().err.split())
