"""saes browse: it says where it is, ends cleanly, and refuses in one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from analysis.browser.serving import place_at
from analysis.study import Study
from commands.__main__ import main
from tests.analysis.report.filled_study import filled


@pytest.fixture
def study(tmp_path):
    return filled(tmp_path / "study").folder


@pytest.fixture
def started(study):
    """A function: starts the command with further words, and returns the process and the address that it says."""
    running = []

    def start(*words: str) -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "commands", "browse", str(study), "--port", "0", "--json", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        running.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return process, json.loads(line)["address"]

    yield start
    for process in running:
        process.kill()
        process.wait()


def status(address: str) -> int:
    try:
        return urllib.request.urlopen(address, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_where_it_says_and_ends_cleanly(started, stop):
    process, address = started()
    assert address.startswith("http://127.0.0.1:")
    assert status(address) == 200
    process.send_signal(stop)
    out, complaints = process.communicate(timeout=60)
    assert "Traceback" not in complaints
    assert out == ""  # the one object, and nothing after it
    assert process.returncode in ((0,) if stop == signal.SIGINT else (0, -signal.SIGTERM, 75))


def test_beyond_this_machine_a_token_is_wanted(started):
    _, address = started("--host", "0.0.0.0")
    port = address.split(":")[2].split("/")[0]
    assert "?token=" in address
    assert status(f"http://127.0.0.1:{port}/") == 401
    assert status(f"http://127.0.0.1:{port}/?token={address.split('=')[1]}") in (200, 401)  # urllib keeps no cookie
    assert status(f"http://127.0.0.1:{port}/?token=another-token") == 401


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "somewhere"], "--live"),
        (["--token", "short"], "8 to 200"),
        (["--port", "70000"], "no port 70000"),
        (["--host", "203.0.113.1", "--port", "0"], "no address of this machine"),
        (["--compare", "nowhere-at-all"], "nowhere-at-all"),
    ],
)
def test_wrong_words_are_one_line(study, words, said, capsys):
    assert main(["browse", str(study), *words]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


def test_a_port_in_use_is_said(study, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["browse", str(study), "--no-open", "--port", str(port)]) == 2
    complaint = capsys.readouterr().err
    assert f"port {port} is in use" in complaint
    assert "--port 0" in complaint


@pytest.mark.parametrize("content", ["{", '{"schema": 1}', "[]"])
def test_a_broken_study_is_one_line(study, content, capsys):
    (study / "study.json").write_text(content)
    assert main(["browse", str(study), "--no-open", "--port", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_a_study_is_one_line(tmp_path, capsys):
    assert main(["browse", str(tmp_path), "--no-open"]) == 2
    assert "study" in capsys.readouterr().err


def test_names_that_are_answered_to():
    own = place_at("127.0.0.1", 8421)
    assert own.token is None
    assert set(own.hosts) == {"127.0.0.1", "localhost", "[::1]"}
    assert place_at("::1", 8421).address(8421) == "http://[::1]:8421/"
    lab = place_at("lab.example", 8421, "a-given-token")
    assert "lab.example" in lab.hosts
    assert lab.address(8421) == "http://lab.example:8421/?token=a-given-token"
    made = {place_at("0.0.0.0", 8421).token for _ in range(3)}
    assert len(made) == 3
    assert all(len(token) >= 32 for token in made)
    assert socket.gethostname().lower() in place_at("0.0.0.0", 8421).hosts


def test_an_empty_study_is_served(started, study):
    for table in study.glob("*.parquet"):
        table.unlink()
    assert Study.open(study).read("cards") == []
    _, address = started()
    assert status(address) == 200
