"""Runs Python that nobody has read: in its own processes, without network, home or other people's processes.

    ran = run_python({"check.py": code}, "check.py", find_isolation())

The program sees an empty root with the system's libraries and the Python that runs this, read-only, and one folder of its
own, in memory, that is gone afterwards. Memory, CPU time, wall time, processes, open files and what it can write are
limited. Isolation is bubblewrap's where it is installed, else that of the kernel's namespaces by way of util-linux. Where
neither works nothing is run, unless the caller asks for that by name.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BOX = "/box"
"""The program's own folder."""
NOBODY = 65534
MOST_OUTPUT = 20_000
"""Letters kept of each stream: the beginning and the end."""
NONE = "none"
"""Says that the program is run without isolation, under limits alone."""
TOOLS = ("bubblewrap", "namespaces")
"""In the order in which they are tried."""


@dataclass(frozen=True)
class Limits:
    seconds: float = 10.0
    """Wall time; CPU time is held to as many, rounded up."""
    memory_mb: int = 512
    """Address space of each process."""
    disk_mb: int = 16
    """Of the folder, and of each file in it."""
    processes: int = 32
    files: int = 64


@dataclass(frozen=True)
class Ran:
    """What became of the program."""

    code: int
    """The exit status; negative: the signal that ended it."""
    out: str
    err: str
    timed_out: bool

    @property
    def passed(self) -> bool:
        return self.code == 0 and not self.timed_out


def run_python(files: Mapping[str, str], entry: str, isolation: str, limits: Limits | None = None) -> Ran:
    """Runs `entry`, one of `files` (name -> text; no folders), and waits for it, at most `limits.seconds`.

    ``isolation`` is what `find_isolation` gave, or NONE.
    """
    limits = limits or Limits()
    for name in (*files, entry):
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} is not a plain file name")
    with tempfile.TemporaryDirectory(prefix="box-") as outside:
        given = Path(outside) / "given"
        given.mkdir(mode=0o755)
        for name, text in files.items():
            (given / name).write_text(text, encoding="utf-8")
            (given / name).chmod(0o644)
        os.chmod(outside, 0o755)
        return _run(_command(isolation, given, entry, limits), given, limits)


@cache
def find_isolation() -> str:
    """The first of TOOLS that works here. Raises RuntimeError with what would do where none does."""
    for tool in TOOLS:
        try:
            ran = run_python({"try.py": "print('in')"}, "try.py", tool, Limits(seconds=20.0))
        except (OSError, KeyError):
            continue
        if ran.passed and ran.out.strip() == "in":
            return tool
    raise RuntimeError(
        "no isolation works here, so code that a model wrote is not run: install bubblewrap (bwrap) or allow user "
        "namespaces; or say --unsafe-no-sandbox, on a machine that may be lost"
    )


def _run(command: list[str], given: Path, limits: Limits) -> Ran:
    out_path, err_path = given.parent / "out", given.parent / "err"
    with out_path.open("wb") as out, err_path.open("wb") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=given, start_new_session=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"},
        )  # fmt: skip
        try:
            code, timed_out = process.wait(limits.seconds), False
        except subprocess.TimeoutExpired:
            timed_out = True
            _end(process)
            code = process.wait()
        finally:
            _end(process)
    return Ran(_signal_of(code), _kept(out_path), _kept(err_path), timed_out)


def _end(process: subprocess.Popen) -> None:
    """All that the program started; in a process namespace the rest goes with its first process."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _signal_of(code: int) -> int:
    """A shell's 128 + signal as the signal."""
    return 128 - code if 128 < code < 160 else code


def _kept(path: Path) -> str:
    with path.open("rb") as file:
        size = path.stat().st_size
        if size <= MOST_OUTPUT:
            return file.read().decode("utf-8", "replace")
        head = file.read(MOST_OUTPUT // 2)
        file.seek(size - MOST_OUTPUT // 2)
        tail = file.read(MOST_OUTPUT // 2)
    left = size - len(head) - len(tail)
    return f"{head.decode('utf-8', 'replace')}\n... {left} bytes left out ...\n{tail.decode('utf-8', 'replace')}"


# ---- the command lines


def _command(isolation: str, given: Path, entry: str, limits: Limits) -> list[str]:
    match isolation:
        case "bubblewrap":
            return _bubblewrap(given, entry, limits)
        case "namespaces":
            return _namespaces(given, entry, limits)
        case "none":
            return [*_limited(limits), *_python(entry, str(given))]
    raise ValueError(f"isolation is one of {', '.join(TOOLS)}, none; got {isolation!r}")


def _python(entry: str, folder: str = BOX) -> list[str]:
    """Without site packages, the user's or the environment's; the folder of the program comes first on the path."""
    return [_interpreter(), "-E", "-s", "-S", "-B", f"{folder}/{entry}"]


def _interpreter() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _seen() -> list[str]:
    """The folders of the system that a program may read: libraries, tools, this Python."""
    places = ["/usr", "/lib", "/lib64", "/bin", "/etc/alternatives", "/etc/ld.so.cache"]
    prefix = os.path.realpath(sys.base_prefix)
    if not any(prefix == place or prefix.startswith(place + "/") for place in places):
        places.append(prefix)
    return [place for place in places if os.path.exists(place)]


def _limited(limits: Limits) -> list[str]:
    size, memory = limits.disk_mb << 20, limits.memory_mb << 20
    cpu = int(limits.seconds) + 1
    return [
        _tool("prlimit"), f"--as={memory}", f"--cpu={cpu}", f"--fsize={size}", f"--nproc={limits.processes}",
        f"--nofile={limits.files}", "--core=0", "--",
    ]  # fmt: skip


def _given_up() -> list[str]:
    """Every power of the root that makes the namespaces, as far as there is one."""
    words = [_tool("setpriv"), "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    if os.geteuid() == 0:  # a real change of user: limits on processes do not hold for root, by whatever name
        words += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return words


def _bubblewrap(given: Path, entry: str, limits: Limits) -> list[str]:
    words = [_tool("bwrap"), "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try",
             "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]  # fmt: skip
    if os.geteuid() == 0:
        for power in ("SETUID", "SETGID", "SETPCAP"):
            words += ["--cap-add", f"CAP_{power}"]
    else:
        words += ["--unshare-user"]
    for place in _seen():
        for parent in reversed(Path(place).parents[:-1]):  # made without these, they are closed to others than root
            words += ["--perms", "0755", "--dir", str(parent)]
        words += ["--symlink", os.readlink(place), place] if os.path.islink(place) else ["--ro-bind", place, place]
    words += [
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--perms",
        "0777",
        "--size",
        str(limits.disk_mb << 20),
        "--tmpfs",
        BOX,
    ]
    for path in sorted(given.iterdir()):
        words += ["--ro-bind", str(path), f"{BOX}/{path.name}"]
    words += ["--remount-ro", "/dev", "--remount-ro", "/"]
    words += ["--chdir", BOX, "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", BOX, "--"]
    return [*words, *_limited(limits), *_given_up(), *_python(entry)]


def _namespaces(given: Path, entry: str, limits: Limits) -> list[str]:
    """unshare(1), then a root of its own, made by a script that runs as the namespaces' root and then gives that up."""
    root = given.parent / "root"
    root.mkdir()
    lines = [
        "set -e",
        f"mount -t tmpfs -o size=4m,mode=755,nosuid,nodev tmpfs {shlex.quote(str(root))}",
        f"cd {shlex.quote(str(root))}",
        f"mkdir -p proc dev old .{BOX}",
    ]
    for place in _seen():
        inside = f".{shlex.quote(place)}"
        if os.path.islink(place):
            lines.append(f"ln -s {shlex.quote(os.readlink(place))} {inside}")
        elif os.path.isdir(place):
            lines += [f"mkdir -p {inside}", *_read_only(place, inside)]
        else:
            lines += [f"mkdir -p $(dirname {inside})", f"touch {inside}", *_read_only(place, inside)]
    for device in ("null", "zero", "urandom"):
        lines += [f"touch dev/{device}", f"mount --bind /dev/{device} dev/{device}"]
    owner = f",uid={NOBODY},gid={NOBODY}" if os.geteuid() == 0 else ""
    lines += [
        f"mount -t tmpfs -o size={limits.disk_mb}m,nr_inodes=1k,mode=755,nosuid,nodev{owner} tmpfs .{BOX}",
        f"cp {shlex.quote(str(given))}/* .{BOX}/",
        "mount -t proc -o nosuid,nodev,noexec proc proc",
        "pivot_root . old",
        "cd /",
        "umount -l /old",
        "rmdir /old",
        "mount -o remount,bind,ro,nosuid,nodev /",
        f"cd {BOX}",
    ]
    program = [*_limited(limits), *_given_up(), *_python(entry)]
    lines.append(f"exec env -i PATH=/usr/bin:/bin HOME={BOX} {shlex.join(program)}")
    words = [_tool("unshare"), "--net", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        words += ["--user", "--map-root-user"]
    return [*words, "sh", "-c", "\n".join(lines)]


def _read_only(place: str, inside: str) -> list[str]:
    bind = "--bind" if os.geteuid() == 0 else "--rbind"  # a user namespace may not take a part from what lies on it
    return [
        f"mount {bind} {shlex.quote(place)} {inside}",
        f"mount -o remount,bind,ro,nosuid,nodev {inside}",
    ]


def _tool(name: str) -> str:
    """The full path of a program; FileNotFoundError where there is none."""
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"there is no {name} on this machine")
    return found
