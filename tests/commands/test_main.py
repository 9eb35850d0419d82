"""Help costs nothing; mistakes cost one line and the right exit code."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from commands.__main__ import VERBS, main
from training.run_state import StoppedBySystem

ROOT = Path(__file__).parents[2]
ALL = [verb for group in VERBS.values() for verb in group]
HEAVY = ("torch", "numpy", "transformers", "pyarrow", "matplotlib", "jinja2", "sklearn", "tqdm")


def loaded_by(code: str) -> set[str]:
    """Which of the heavy packages a fresh Python has loaded after `code`."""
    tail = f"\nimport sys; print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_help_loads_nothing_heavy():
    assert loaded_by("from commands.__main__ import main; main(['--help'])") == set()


@pytest.mark.parametrize("verb", ["label", "validate", "clamp", "show", "demo", "evaluate"])
def test_the_help_of_light_verbs_loads_no_torch(verb):
    code = f"from commands.__main__ import main\nassert main(['{verb}', '--help']) == 0"
    assert "torch" not in loaded_by(code)


def test_help_lists_every_verb_and_ends_with_an_example(run):
    for words in ((), ("--help",), ("help",)):
        code, out, _ = run(*words)
        assert code == 0
        assert all(f"  {verb}" in out for verb in ALL)
        assert out.strip().splitlines()[-1].strip().startswith("saes demo")


def test_every_verb_has_a_file_and_every_file_a_verb():
    beside = {"__init__", "__main__", "answer", "places", "spec_flags"}
    assert {path.stem for path in (ROOT / "commands").glob("*.py")} - beside == set(ALL)


@pytest.mark.parametrize("verb", ALL)
def test_every_verb_explains_itself(run, verb):
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert "common to all verbs" in out
    for flag in ("--json", "--device", "--seed"):
        assert flag in out
    assert out.strip().splitlines()[-1].strip().startswith(f"saes {verb}")


def test_python_m_commands_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "commands", "nothing"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "no verb 'nothing'" in done.stderr


def one_line(err: str) -> str:
    assert "Traceback" not in err
    lines = [line for line in err.strip().splitlines() if line.startswith("saes")]
    assert len(lines) == 1, err
    return lines[0]


def test_an_unknown_flag_is_one_line(run):
    code, _, err = run("show", "--nonsense")
    assert code == 2
    assert "--nonsense" in one_line(err)


def breaking(error):
    def run(arguments):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("k must be positive"), 2, "k must be positive"),
        (FileNotFoundError("there is no spec x"), 2, "there is no spec x"),
        (KeyError("oops"), 1, "--debug"),
        (AssertionError("two rows"), 1, "two rows"),
        (OSError(errno.ENOSPC, "could not write /x/y", "/x/y"), 2, "disk is full (/x/y); files from before"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "the disk is full"),
        (RuntimeError("could not write x: No space left on device"), 2, "the disk is full (could not write x"),
        (ImportError("wandb is not installed: pip install wandb"), 1, "pip install wandb"),
        (KeyboardInterrupt(), 130, "stopped"),
        (StoppedBySystem("at step 3"), 75, "stopped"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(run, monkeypatch, error, code, said):
    monkeypatch.setattr("commands.show.run", breaking(error))
    found, out, err = run("show")
    assert found == code
    assert out == ""
    assert said in one_line(err)


def test_debug_shows_where(run, monkeypatch):
    monkeypatch.setattr("commands.show.run", breaking(KeyError("oops")))
    code, _, err = run("show", "--debug")
    assert code == 1
    assert "Traceback" in err


def test_with_json_nothing_else_reaches_stdout(run, monkeypatch):
    from commands.answer import Answer

    def chatty(arguments):
        print("progress")
        return Answer("text", {"value": float("nan"), "path": "x"})

    monkeypatch.setattr("commands.show.run", chatty)
    code, out, err = run("show", "--json")
    assert (code, out) == (0, '{"value": null, "path": "x"}\n')
    assert "progress" in err


def test_main_reads_the_command_line_by_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["saes", "--help"])
    assert main() == 0
    assert "usage" in capsys.readouterr().out
