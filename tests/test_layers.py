"""The layers of DESIGN.md and the homes of heavy packages, read from the imports; and what a process really loads."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from archive_index import Row, write_index
from conftest import environment_with

ROOT = Path(__file__).resolve().parents[1] / "live_cam"

# From the lowest layer to the highest. A name stands for a module, or for a folder with everything in it.
LAYERS = (
    {"settings", "frame", "errors", "closing", "version", "timing_harness"},
    {"sources", "sinks", "render"},
    {"models", "preprocess", "predictions"},
    {"gradmodel", "engines"},
    {"explain", "temporal"},
    {"viewers", "pipeline"},
    {"evaluation", "bench", "doctor"},
    {"jobs", "archive"},
    {"cli", "__main__", "__init__"},
)
# The modules that may import a heavy package. An import for a type checker only does not count here.
TENSORFLOW_HOMES = {
    "gradmodel",
    "engines.tensorflow",
    "engines.convert",
    "models.build",
    "models.efficientnet_lite",
    "models.graph_network",
    "models.graph_ops",
    "models.hub",
    "models.keras2_file",
    "models.keras_network",
    "models.saved_model",
}
HOMES = {
    "typer": {"cli"},
    "rich": {"cli"},
    "av": {"sources", "sinks", "archive.clips"},
    "duckdb": {"archive.search"},
    "pyarrow": {"archive"},
    "tensorflow": TENSORFLOW_HOMES,
    "keras": TENSORFLOW_HOMES,
    "keras_hub": {"models.hub"},
    "tf_keras": {"models.keras2_file"},
    "starlette": {"viewers.web"},
    "uvicorn": {"viewers.web.server"},
    "cryptography": {"viewers.web.certificate"},
    "ray": {"archive.ray_pool"},
    "matplotlib": {"evaluation.plot_style", "evaluation.plots", "evaluation.timeline_plot"},
}
# Calls and values of the process that belong to the command line.
PROCESS_WIDE = {"print", "input", "exit", "quit", "sys.exit", "os._exit", "os.environ", "os.getenv", "os.dup2"}


@dataclass(frozen=True)
class Module:
    """A module: its full name below the package, such as "models.build"; a folder's own is "models.__init__"."""

    name: str
    tree: ast.Module

    def is_in(self, places: set[str]) -> bool:
        return any(self.name == place or self.name.startswith(f"{place}.") for place in places)

    @property
    def layer(self) -> int:
        layers = [number for number, places in enumerate(LAYERS) if self.is_in(places)]
        assert len(layers) == 1, f"{self.name} is in {len(layers)} layers"
        return layers[0]


class Package:
    """All modules of a folder that is imported as ``live_cam``."""

    def __init__(self, root: Path) -> None:
        modules = [module_of(path, root) for path in sorted(root.rglob("*.py"))]
        self.modules = {module.name: module for module in modules}

    def imports(self, module: Module, *, type_checking: bool) -> set[str]:
        """Returns the names of the package's modules that a module imports."""
        paths = imported_paths(module.tree, type_checking=type_checking)
        return {
            name
            for path in paths
            if path.partition(".")[0] == "live_cam" and (name := self._module_name(path.partition(".")[2]))
        } - {module.name}

    def _module_name(self, path: str) -> str | None:
        # "models.registry.MODEL_SPECS" is a name in the module "models.registry".
        while path:
            for name in (path, f"{path}.__init__"):
                if name in self.modules:
                    return name
            path = path.rpartition(".")[0]
        return "__init__" if "__init__" in self.modules else None

    def upward_imports(self) -> set[tuple[str, str]]:
        """Returns all imports from a higher layer, as (importer, imported)."""
        return {
            (module.name, name)
            for module in self.modules.values()
            for name in self.imports(module, type_checking=True)
            if self.modules[name].layer > module.layer
        }

    def modules_in_cycles(self) -> set[str]:
        """Returns the modules that import each other, also indirectly, and those that lie between such modules."""
        # Kahn's algorithm in both directions: remove all modules that import, or are imported by, none that is left.
        left = {module.name: self.imports(module, type_checking=True) for module in self.modules.values()}
        while True:
            imported = set().union(*left.values())
            free = {name for name, names in left.items() if not names & left.keys() or name not in imported}
            if not free:
                return set(left)
            left = {name: names for name, names in left.items() if name not in free}

    def heavy_imports_elsewhere(self) -> set[tuple[str, str]]:
        """Returns the imports of heavy packages outside their homes, as (importer, package)."""
        return {
            (module.name, package)
            for module in self.modules.values()
            for package in packages_of(module) & HOMES.keys()
            if not module.is_in(HOMES[package])
        }

    def foreign_imports_of_the_lowest_layer(self) -> set[tuple[str, str]]:
        """Returns what the lowest layer imports besides the standard library and numpy."""
        lowest = [module for module in self.modules.values() if module.layer == 0]
        allowed = sys.stdlib_module_names | {"numpy", "live_cam"}
        return {(module.name, package) for module in lowest for package in packages_of(module) - allowed}

    def process_wide_uses(self) -> set[tuple[str, str]]:
        """Returns what modules outside the command line use of the process, as (module, name)."""
        return {
            (module.name, used)
            for module in self.modules.values()
            if not module.is_in({"cli", "__main__"})
            for used in map(ast.unparse, nodes_at_run_time(module.tree))
            if used in PROCESS_WIDE
        }


def module_of(path: Path, root: Path) -> Module:
    return Module(".".join(path.relative_to(root).with_suffix("").parts), ast.parse(path.read_text(encoding="utf-8")))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Yields all nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from nodes_at_run_time(child)


def imported_paths(tree: ast.Module, *, type_checking: bool) -> set[str]:
    """Returns the dotted paths of all imports, inside functions too; "a.b" for "from a import b"."""
    paths: set[str] = set()
    for node in ast.walk(tree) if type_checking else nodes_at_run_time(tree):
        if isinstance(node, ast.Import):
            paths.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import, which this test does not follow"
            paths.update(f"{node.module}.{alias.name}" for alias in node.names)
    return paths


def packages_of(module: Module) -> set[str]:
    return {path.partition(".")[0] for path in imported_paths(module.tree, type_checking=False)}


PACKAGE = Package(ROOT)


def test_every_module_is_in_one_layer():
    assert {module.layer for module in PACKAGE.modules.values()} == set(range(len(LAYERS)))
    assert {"cli.options", "sinks.video.sink", "models.build", "jobs.job", "models.__init__"} <= PACKAGE.modules.keys()


def test_no_module_imports_from_a_higher_layer():
    assert not PACKAGE.upward_imports()


def test_there_is_no_cycle_of_imports():
    assert not PACKAGE.modules_in_cycles()


def test_heavy_packages_are_imported_at_home_only():
    assert not PACKAGE.heavy_imports_elsewhere()
    imported = set().union(*map(packages_of, PACKAGE.modules.values()))
    assert imported >= HOMES.keys(), "nobody imports a package of HOMES: does this test still look at the right thing?"


def test_the_lowest_layer_needs_the_standard_library_and_numpy_only():
    assert not PACKAGE.foreign_imports_of_the_lowest_layer()


def test_only_the_command_line_prints_exits_and_reads_the_environment():
    assert not PACKAGE.process_wide_uses()


def package_with(tmp_path: Path, files: dict[str, str]) -> Package:
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return Package(tmp_path)


FOR_TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("name", "source", "imported"),
    [
        ("sources/video.py", "from live_cam.models.registry import MODEL_SPECS", "models.registry"),
        ("sources/video.py", "import live_cam.models.registry", "models.registry"),
        ("sources/video.py", "from live_cam.models import registry", "models.registry"),
        ("sources/video.py", "from live_cam import models", "models.__init__"),
        ("sources/video.py", "from live_cam import load_explainer", "__init__"),
        ("sources/video.py", "def f():\n    import live_cam.models.registry", "models.registry"),
        ("sources/video.py", f"{FOR_TYPES}import live_cam.models.registry", "models.registry"),
        ("sinks/video/sink.py", "from live_cam.temporal import smoothing", "temporal.smoothing"),
        ("temporal/cuts.py", "from live_cam.pipeline.feed import Feed", "pipeline.feed"),
        ("evaluation/plots.py", "from live_cam.jobs.job import run_job", "jobs.job"),
        ("settings.py", "import live_cam.sources.open", "sources.open"),
    ],
)
def test_an_import_from_a_higher_layer_is_found(tmp_path: Path, name: str, source: str, imported: str):
    others = ["models/__init__", "models/registry", "temporal/smoothing", "pipeline/feed", "jobs/job", "sources/open"]
    package = package_with(tmp_path, {f"{other}.py": "" for other in [*others, "__init__"]} | {name: source})
    importer = name.removesuffix(".py").replace("/", ".")
    assert package.upward_imports() == {(importer, imported)}


def test_a_module_without_a_layer_is_found(tmp_path: Path):
    package = package_with(tmp_path, {"utils.py": "import live_cam.errors", "errors.py": ""})
    with pytest.raises(AssertionError, match="utils is in 0 layers"):
        package.upward_imports()


def test_cycles_are_found_also_those_for_type_checkers(tmp_path: Path):
    files = {
        "sinks/first.py": "import live_cam.sinks.second",
        "sinks/second.py": f"{FOR_TYPES}from live_cam.sinks.third import Third",
        "sinks/third.py": "def f():\n    from live_cam.sinks import first",
        "sinks/above.py": "import live_cam.sinks.first",
        "sinks/below.py": "",
        "render/other.py": "from live_cam.sinks import below",
    }
    assert package_with(tmp_path, files).modules_in_cycles() == {"sinks.first", "sinks.second", "sinks.third"}


def test_a_heavy_package_outside_its_home_is_found(tmp_path: Path):
    files = {
        "cli/options.py": "import typer, rich.console",
        "jobs/job.py": "def f():\n    import rich.console",
        "models/build.py": "from keras import layers",
        "models/registry.py": "import tensorflow as tf",
        "render/overlay.py": "from matplotlib.figure import Figure",
        "explain/load.py": f"{FOR_TYPES}import keras",
    }
    assert package_with(tmp_path, files).heavy_imports_elsewhere() == {
        ("jobs.job", "rich"),
        ("models.registry", "tensorflow"),
        ("render.overlay", "matplotlib"),
    }


def test_a_package_in_the_lowest_layer_is_found(tmp_path: Path):
    files = {"frame.py": "import numpy\nimport cv2", "settings.py": "import re", "sources/video.py": "import cv2"}
    assert package_with(tmp_path, files).foreign_imports_of_the_lowest_layer() == {("frame", "cv2")}


def test_what_belongs_to_the_command_line_is_found_elsewhere(tmp_path: Path):
    files = {
        "jobs/job.py": "import os\nprint(os.environ['HOME'])",
        "explain/load.py": "import sys\ndef f():\n    sys.exit(1)",
        "cli/console.py": "print(1)",
    }
    assert package_with(tmp_path, files).process_wide_uses() == {
        ("jobs.job", "print"),
        ("jobs.job", "os.environ"),
        ("explain.load", "sys.exit"),
    }


def distribution_name(name: str) -> str:
    """Returns a distribution's name in the form in which all its spellings are equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_imported_package_is_declared():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [extra for name, extra in project["optional-dependencies"].items() if name != "test"]
    requirements = chain(project["dependencies"], *extras)
    declared = {distribution_name(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}
    imported = set().union(*map(packages_of, PACKAGE.modules.values()))
    installed = importlib.metadata.packages_distributions()
    # A package that is not installed is looked up under its own name.
    undeclared = {
        name
        for name in imported - sys.stdlib_module_names - {"live_cam"}
        if not declared & {distribution_name(distribution) for distribution in installed.get(name, [name])}
    }
    assert {"cv2", "typer", "rich", "matplotlib"} <= imported
    assert not undeclared


def loaded_by(statement: str) -> set[str]:
    """Returns the top-level modules in a fresh interpreter after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sorted(sys.modules), sep='\\n')"],
        capture_output=True,
        text=True,
        env=environment_with(),
        check=True,
    )
    return {line.partition(".")[0] for line in done.stdout.splitlines()}


RUN_LIVECAM = """
import sys
from live_cam.cli import main
sys.argv = ["livecam", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code
"""


def test_import_live_cam_loads_nothing_heavy():
    heavy = {"tensorflow", "keras", "cv2", "av", "numpy", "pyarrow", "duckdb", "ray", "typer", "rich"}
    assert not loaded_by("import live_cam") & heavy


def test_help_loads_no_engine_and_no_codec():
    loaded = loaded_by(RUN_LIVECAM.format(arguments=["--help"]))
    assert "typer" in loaded
    assert not loaded & {"tensorflow", "keras", "cv2", "av", "ai_edge_litert", "pyarrow", "duckdb", "ray"}


def test_the_list_of_models_loads_no_tensorflow():
    assert not loaded_by(RUN_LIVECAM.format(arguments=["models"])) & {"tensorflow", "keras", "cv2", "av"}


def test_a_search_loads_no_engine_and_no_codec(tmp_path: Path):
    arguments = ["search", str(write_index(tmp_path, {"/a.mp4": [Row(0.0, {0: 0.9})]})), "zebra > 0.5"]
    loaded = loaded_by(RUN_LIVECAM.format(arguments=arguments))
    assert {"duckdb", "pyarrow"} <= loaded
    assert not loaded & {"tensorflow", "keras", "cv2", "av", "ai_edge_litert"}


@pytest.mark.parametrize("name", ["jobs.api", "explain.load", "models.registry", "evaluation.evaluate", "bench"])
def test_importing_a_module_loads_no_tensorflow(name: str):
    assert not loaded_by(f"import live_cam.{name}") & {"tensorflow", "keras"}


def test_a_warm_run_over_an_image_loads_neither_tensorflow_nor_av(
    warm_cache: None, photograph_path: Path, tmp_path: Path
):
    arguments = ["--image", str(photograph_path), "--output", str(tmp_path / "cat.png"), "--quiet"]
    loaded = loaded_by(RUN_LIVECAM.format(arguments=arguments))
    assert "cv2" in loaded
    assert not loaded & {"tensorflow", "keras", "av"}
