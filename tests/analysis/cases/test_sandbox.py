"""Programs that try to get out, or to take the machine with them, and do neither."""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from analysis.cases import sandbox
from analysis.cases.sandbox import NONE, TOOLS, Limits, find_isolation, run_python

QUICK = Limits(seconds=6.0, memory_mb=256, disk_mb=4, processes=16)


def works(tool: str) -> bool:
    try:
        return run_python({"a.py": "print('in')"}, "a.py", tool, QUICK).out == "in\n"
    except FileNotFoundError:
        return False


@pytest.fixture(params=TOOLS, scope="module")
def isolation(request) -> str:
    if not works(request.param):
        pytest.skip(f"{request.param} does not work on this machine")
    return request.param


def attempt(isolation: str, code: str, limits: Limits = QUICK) -> sandbox.Ran:
    return run_python({"solution.py": "secret = 41", "check.py": code}, "check.py", isolation, limits)


def test_a_program_runs_with_its_files_beside_it(isolation):
    ran = attempt(isolation, "from solution import secret\nprint(secret + 1)")
    assert (ran.code, ran.out, ran.timed_out, ran.passed) == (0, "42\n", False, True)


def test_a_failure_is_told(isolation):
    ran = attempt(isolation, "assert 1 == 2, 'one is not two'")
    assert ran.code == 1
    assert "one is not two" in ran.err
    assert not ran.passed


def test_it_sees_no_home_and_no_files_of_others(isolation, tmp_path):
    (tmp_path / "secret.txt").write_text("hidden")
    places = [
        str(tmp_path / "secret.txt"),
        os.path.abspath(__file__),
        "/etc/passwd",
        "/etc/hostname",
        "/home",
        "/var",
        "/tmp",
        "/sys",
    ]
    code = f"""
import os
for place in {places!r}:
    try:
        print(place, os.listdir(place) if os.path.isdir(place) else open(place).read())
    except OSError:
        pass
print(sorted(os.environ), os.getcwd())
"""
    ran = attempt(isolation, code)
    assert ran.passed, ran.err
    assert ran.out.count("\n") == 1, ran.out
    assert "hidden" not in ran.out
    environment, folder = ran.out.rsplit(" ", 1)
    assert folder == f"{sandbox.BOX}\n"
    assert set(eval(environment)) <= {"HOME", "PATH", "PWD", "LC_CTYPE", "SHLVL", "_"}


def test_it_can_write_nowhere_but_in_its_folder(isolation):
    code = """
import os
def can(path):
    try:
        with open(path, "w") as file:
            file.write("x")
        return True
    except OSError:
        return False
prefix = os.path.dirname(os.__file__)
print([path for path in ("/usr/x", "/bin/x", "/lib/x", "/x", "/etc/x", "/proc/x", prefix + "/x", "mine", "check.py") if can(path)])
"""
    before = set(Path(os.__file__).parent.iterdir())
    ran = attempt(isolation, code)
    assert ran.passed, ran.err
    assert set(eval(ran.out)) <= {"mine", "check.py"}
    assert "mine" in ran.out
    assert set(Path(os.__file__).parent.iterdir()) == before


def test_what_it_writes_is_gone_the_next_time(isolation):
    attempt(isolation, "open('left', 'w').write('here')")
    assert attempt(isolation, "import os; print(os.path.exists('left'))").out == "False\n"


def test_there_is_no_network(isolation):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1.0)
        heard = []

        def listen():
            with suppress(TimeoutError):
                heard.append(server.accept())

        thread = threading.Thread(target=listen)
        thread.start()
        port = server.getsockname()[1]
        code = f"""
import socket
for address in (("127.0.0.1", {port}), ("192.0.2.1", 80)):
    try:
        socket.create_connection(address, 1)
        print("connected", address)
    except OSError as error:
        print("no", type(error).__name__)
"""
        ran = attempt(isolation, code)
        thread.join()
    assert "connected" not in ran.out
    assert ran.out.count("no ") == 2
    assert not heard


def test_it_cannot_see_or_kill_other_processes(isolation):
    code = f"""
import os, signal
seen = [name for name in os.listdir("/proc") if name.isdigit()]
print(len(seen))
for pid in ({os.getpid()}, {os.getppid()}, os.getppid(), -1):
    try:
        os.kill(pid, signal.SIGKILL)
    except (OSError, OverflowError):
        pass
print("still here")
"""
    ran = attempt(isolation, code)
    assert int(ran.out.split()[0]) < 5
    assert os.getpid() > 0, "and so are we"


def test_forks_are_few_and_none_outlives_it(isolation):
    code = """
import os, sys, time
made = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
            os._exit(0)
        made += 1
except OSError:
    pass
print(made, flush=True)
"""
    started = time.monotonic()
    ran = attempt(isolation, code)
    assert time.monotonic() - started < QUICK.seconds + 4
    assert 0 <= int(ran.out.split()[0]) < 100
    assert not [one for one in Path("/proc").glob("[0-9]*/cmdline") if b"/box/check.py" in _read(one)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_disk_memory_and_output_are_limited(isolation):
    code = """
written = 0
try:
    with open("big", "wb") as file:
        while written < 64 << 20:
            written += file.write(b"x" * (1 << 20))
except OSError:
    pass
print(written >> 20)
"""
    ran = attempt(isolation, "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + code)
    assert int(ran.out) <= 5
    ran = attempt(isolation, "x = bytearray(1 << 30)")
    assert "MemoryError" in ran.err
    ran = attempt(isolation, "print('a' * 1_000_000)")
    assert len(ran.out) < 2 * sandbox.MOST_OUTPUT
    assert "bytes left out" in ran.out


def test_a_loop_and_a_sleeper_are_ended(isolation):
    for code in (
        "while True: pass",
        "import time, signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\ntime.sleep(60)",
    ):
        started = time.monotonic()
        ran = attempt(isolation, code, Limits(seconds=1.5))
        assert ran.timed_out
        assert not ran.passed
        assert time.monotonic() - started < 5


def test_it_has_no_power_to_take_back(isolation):
    code = """
import ctypes, os
print(os.getuid() != 0 or open("/proc/self/uid_map").read().split()[1] != "0")
libc = ctypes.CDLL(None, use_errno=True)
print(libc.mount(b"none", b"/box", b"tmpfs", 0, None), libc.setuid(0) if os.getuid() else -1, libc.sethostname(b"x", 1), libc.chroot(b"/usr"))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "NoNewPrivs"))])
"""
    ran = attempt(isolation, code)
    assert ran.passed, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "True"
    assert lines[1] == "-1 -1 -1 -1"
    assert int(eval(lines[2])[0], 16) == 0
    assert eval(lines[2])[1] == "1"


def test_without_isolation_only_when_asked_by_name():
    assert run_python({"a.py": "print(6 * 7)"}, "a.py", NONE, QUICK).out == "42\n"
    assert run_python({"a.py": "while True: pass"}, "a.py", NONE, Limits(seconds=1.0)).timed_out
    with pytest.raises(ValueError, match="isolation is one of bubblewrap, namespaces, none; got 'magic'"):
        run_python({"a.py": ""}, "a.py", "magic")


def test_where_nothing_isolates_nothing_runs(monkeypatch):
    monkeypatch.setattr(sandbox, "TOOLS", ())
    find_isolation.cache_clear()
    with pytest.raises(RuntimeError, match=r"install bubblewrap .* --unsafe-no-sandbox"):
        find_isolation()
    find_isolation.cache_clear()


@pytest.mark.parametrize("name", ["../a.py", "a/b.py", ".hidden", "/etc/passwd"])
def test_file_names_are_plain(name):
    with pytest.raises(ValueError, match="not a plain file name"):
        run_python({name: ""}, "a.py", NONE)
