"""What is not Python reaches an installed package too: every such file is one that pyproject.toml names."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("saes", "training", "analysis", "commands", "checkpoints")


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("which files belong to the project is known to git alone, and there is no git or no .git here")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_every_data_file_is_named_as_package_data():
    globs = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packaged = {
        path
        for package, patterns in globs.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    data = [path for path in tracked() if path.suffix != ".py" and path.exists()]
    assert data
    left_out = [str(path.relative_to(ROOT)) for path in data if path not in packaged]
    assert not left_out, f"no package-data of pyproject.toml names {', '.join(left_out)}"
