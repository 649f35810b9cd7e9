"""The layers and the pinned heavy packages, read from the imports; and what a process really loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import environment_with

PACKAGE = Path(__file__).resolve().parents[1] / "live_cam"

# Package or module below live_cam -> layer. What is not named here is in layer 1.
LAYERS = {
    "frame": 0,
    "errors": 0,
    "timing": 0,
    "channel": 0,
    "lifetime": 0,
    "native_output": 0,
    "commands": 0,
    "explainer": 2,
    "loading": 2,
    "pass_loader": 2,
    "recorded": 2,
    "scorecam": 2,
    "steady.contrast": 2,
    "steady.steady_pass": 2,
    "bench": 3,
    "doctor": 3,
    "evaluation.evaluate": 3,
    "evaluation.judging": 3,
    "evaluation.plot": 3,
    "figures": 3,
    "run": 3,
    "timeline": 3,
    "timeline_plot": 3,
    "cli": 4,
    "__main__": 4,
}
# Heavy package -> where alone it may be imported.
HOMES = {
    "typer": {"cli"},
    "rich": {"cli"},
    "av": {"sources", "sinks"},
    "tensorflow": {
        "one_pass.gradmodel",
        "one_pass.doubts",
        "one_pass.heads",
        "cam",
        "one_pass.litert_gradients",
        "models.build",
        "models.efficientnet_lite",
        "models.own_code",
        "models.quiet_tensorflow",
        "engines.tensorflow",
        "engines.convert",
    },
}
HOMES["keras"] = HOMES["tensorflow"]
HOMES["matplotlib"] = {"figures", "evaluation.plot", "timeline_plot"}


@dataclass(frozen=True)
class Module:
    """A module's dotted name below live_cam ("" for the package itself) and its syntax tree."""

    name: str
    tree: ast.Module

    @property
    def layer(self) -> int:
        return LAYERS.get(self.name, LAYERS.get(self.name.partition(".")[0], 1))

    def is_in(self, homes: set[str]) -> bool:
        return any(self.name == home or self.name.startswith(f"{home}.") for home in homes)


def module_of(path: Path) -> Module:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return Module(name.removesuffix("__init__").rstrip("."), ast.parse(path.read_text(encoding="utf-8")))


MODULES = [module_of(path) for path in sorted(PACKAGE.rglob("*.py"))]
NAMES = {module.name for module in MODULES}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from nodes_at_run_time(child)


def imported_names(tree: ast.Module) -> set[str]:
    """Dotted names of all that is imported at run time, inside functions too; "a.b" of "from a import b"."""
    names: set[str] = set()
    for node in nodes_at_run_time(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import, which this reader does not follow"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own_imports(module: Module) -> set[str]:
    """The modules of live_cam that a module imports, named as in NAMES."""
    below = {name.partition(".")[2] for name in imported_names(module.tree) if name.partition(".")[0] == "live_cam"}
    # "models.specs.MODEL_SPECS" is a name in the module "models.specs".
    return {name if name in NAMES else name.rpartition(".")[0] for name in below}


def ids(module: Module) -> str:
    return module.name or "live_cam"


def test_the_reader_sees_imports_in_functions_and_not_those_for_type_checkers():
    source = (
        "if TYPE_CHECKING:\n    import hidden\ndef f():\n    from live_cam.models import specs\n    import av.logging\n"
    )
    assert imported_names(ast.parse(source)) == {"live_cam.models.specs", "av.logging"}


def test_every_layer_was_found():
    assert {module.layer for module in MODULES} == {0, 1, 2, 3, 4}
    assert {"cli.options", "sinks.video", "models.build", "run.running"} <= NAMES


@pytest.mark.parametrize("module", [module for module in MODULES if module.name], ids=ids)
def test_no_module_imports_from_a_higher_layer(module: Module):
    higher = {name for name in own_imports(module) if name and LAYERS.get(name.partition(".")[0], 1) > module.layer}
    assert not higher


@pytest.mark.parametrize("module", [module for module in MODULES if module.layer == 0], ids=ids)
def test_the_lowest_layer_needs_the_standard_library_and_numpy_only(module: Module):
    packages = {name.partition(".")[0] for name in imported_names(module.tree)}
    assert packages <= sys.stdlib_module_names | {"numpy", "live_cam"}


@pytest.mark.parametrize("package", HOMES)
def test_heavy_packages_are_imported_at_home_only(package: str):
    importers = {
        module.name for module in MODULES if package in {name.partition(".")[0] for name in imported_names(module.tree)}
    }
    assert importers, f"nobody imports {package}: is this test still looking at the right thing?"
    assert not {name for name in importers if not Module(name, ast.Module([], [])).is_in(HOMES[package])}


@pytest.mark.parametrize("module", [one for one in MODULES if one.is_in({"sources", "sinks", "render"})], ids=ids)
def test_sources_sinks_and_render_never_see_models_or_engines(module: Module):
    families = {name.partition(".")[0] for name in own_imports(module)}
    assert not families & {"models", "engines", "one_pass", "cam", "cache", "explainer", "loading"}


def test_no_circle_of_imports():
    # Kahn: take away what imports nothing that is left, until nothing is left; a circle stays.
    # A package's __init__ that is imported with each of its modules is no circle by itself.
    left = {module.name: own_imports(module) - {module.name, ""} for module in MODULES if module.name}
    while free := {name for name, imports in left.items() if not imports & left.keys()}:
        left = {name: imports for name, imports in left.items() if name not in free}
    assert not left


@pytest.mark.parametrize("module", [module for module in MODULES if not module.is_in({"cli"})], ids=ids)
def test_only_the_command_line_prints_exits_and_reads_the_environment(module: Module):
    said = {ast.unparse(node) for node in nodes_at_run_time(module.tree) if isinstance(node, ast.Name | ast.Attribute)}
    forbidden = {"print", "exit", "quit", "sys.exit", "os._exit", "os.environ", "os.getenv", "input"}
    allowed = {"os.environ"} if module.name == "models.quiet_tensorflow" else set()
    assert not said & (forbidden - allowed)


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in a fresh interpreter after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sorted(sys.modules), sep='\\n')"],
        capture_output=True,
        text=True,
        env=environment_with(),
        check=True,
    )
    return {line.partition(".")[0] for line in done.stdout.splitlines()}


HELP = """
import sys
from live_cam.cli import main
sys.argv = ["livecam", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def test_import_live_cam_loads_nothing_heavy():
    assert not loaded_by("import live_cam") & {"tensorflow", "keras", "cv2", "av", "numpy", "typer", "rich"}


def test_help_loads_no_engine_and_no_codec():
    loaded = loaded_by(HELP.format(arguments=["--help"]))
    assert "typer" in loaded
    assert not loaded & {"tensorflow", "keras", "cv2", "av", "ai_edge_litert"}


def test_the_list_of_models_loads_no_tensorflow():
    assert not loaded_by(HELP.format(arguments=["models"])) & {"tensorflow", "keras", "cv2", "av"}


@pytest.mark.parametrize("module", ["run.session", "loading", "explainer", "run.pipeline", "models.specs", "cam"])
def test_importing_a_module_loads_no_tensorflow(module: str):
    assert not loaded_by(f"import live_cam.{module}") & {"tensorflow", "keras"}


def test_a_warm_run_over_a_picture_loads_neither_tensorflow_nor_av(
    warm_cache: None, photograph_path: Path, tmp_path: Path
):
    arguments = ["--image", str(photograph_path), "--output", str(tmp_path / "cat.png"), "--quiet"]
    loaded = loaded_by(HELP.format(arguments=arguments))
    assert "cv2" in loaded
    assert not loaded & {"tensorflow", "keras", "av"}
