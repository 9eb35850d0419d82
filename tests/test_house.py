"""The house holds: imports run down only and in no circle, each outside package has one door, readers load no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("saes", "training", "analysis", "commands")
"""From the ground up: a floor imports itself and those before it."""
DOORS = {
    "sae_lens": {"saes/sae_lens_bridge.py"},
    "transformer_lens": {"training/language_models/transformer_lens.py"},
    "datasets": {"training/corpora/corpus.py"},
    "wandb": {"training/journal.py"},
    "matplotlib": {"analysis/figures.py", "analysis/cases/figures/canvas.py"},
    "pyarrow": {
        "analysis/study.py",
        "analysis/browser/downloads.py",
        "analysis/browser/queries/feature_index.py",
    },
    "duckdb": {"analysis/browser/queries/store.py"},
    "triton": {f"saes/kernels/triton_{part}.py" for part in ("candidates", "rows", "latents")},
}
"""Where each outside package may be imported."""
BEHIND = {
    "triton": {"saes.kernels.gpu"} | {f"saes.kernels.triton_{part}" for part in ("candidates", "rows", "latents")}
}
"""Modules that may import a package, or each other, at the top, since all others import them only when needed: a Triton
kernel is a decorated function of its module."""


def sources() -> list[Path]:
    return sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, top_only: bool = False) -> set[str]:
    """The modules that a file imports, as dotted names; with top_only only what happens when it is imported itself."""
    tree = ast.parse(path.read_text())
    nodes = _running_at_import(tree) if top_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute in this house"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _running_at_import(tree: ast.AST):
    """Every node outside functions and outside `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _running_at_import(node)


def test_there_is_a_house():
    assert {path.relative_to(ROOT).parts[0] for path in sources()} == set(FLOORS)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_down_only(path):
    floor = FLOORS.index(path.relative_to(ROOT).parts[0])
    above = {name for name in imports(path) if name.split(".")[0] in FLOORS[floor + 1 :]}
    assert not above, f"{path.relative_to(ROOT)} imports from a floor above it: {', '.join(sorted(above))}"
    assert not {name for name in imports(path) if name.split(".")[0] in ("tests", "benchmarks")}


def test_no_circles():
    modules = {module_name(path): path for path in sources()}
    graph = {
        name: {other for other in imports(path, top_only=True) if other in modules and other != name}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, "a circle of imports: " + " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("package", DOORS)
def test_each_outside_package_has_one_door(package):
    users = {
        str(path.relative_to(ROOT))
        for path in sources()
        if any(name.split(".")[0] == package for name in imports(path))
    }
    assert users <= DOORS[package], f"{package} also enters by {', '.join(sorted(users - DOORS[package]))}"


@pytest.mark.parametrize("package", DOORS)
def test_doors_are_opened_only_when_needed(package):
    behind = BEHIND.get(package, set())
    at_import = {
        str(path.relative_to(ROOT))
        for path in sources()
        if module_name(path) not in behind
        and any(name.split(".")[0] == package or name in behind for name in imports(path, top_only=True))
    }
    assert not at_import, f"{package} is imported at the top of {', '.join(sorted(at_import))}"


def test_no_room_is_called_utils_or_common():
    assert not [path for path in sources() if path.stem in ("utils", "common", "helpers", "misc")]


@pytest.mark.parametrize(
    "module",
    [
        "analysis.records",
        "analysis.study",
        "analysis.report.report",
        "analysis.report.card",
        "analysis.concepts.concept",
        "analysis.figures",
        "analysis.cases.figures",
    ],
)
def test_readers_load_no_torch(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("floor", FLOORS)
def test_importing_a_floor_loads_nothing(floor):
    code = f"import sys, {floor}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_the_journeys_are_functions_of_their_packages():
    import analysis.clamping
    import analysis.explaining
    import analysis.labelling

    journeys = ((analysis.labelling, "label"), (analysis.clamping, "validate"), (analysis.explaining, "explain"))
    for package, name in journeys:
        assert callable(getattr(package, name))
        with pytest.raises(AttributeError, match="no attribute 'lable'"):
            package.lable  # noqa: B018
