"""Whether the house is in order: `python tools/check_house.py [FOLDER]`, the root of the tree. Imports nothing of cmlp.

1. Imports go downward, or stay on their level (LEVELS), also those inside functions; no circle of modules.
2. No private name (_x) of a module is used outside its folder; nobody but the command imports from the root package.
3. A function has at most 60 lines of code, in Python, Cython and C.
4. A call of the compiled core takes at most 8 parameters: cmlp/_core.pyi, and the function pointers of src/kernels/*.h.

    python tools/check_house.py --count [REV]    lines of code of cmlp/ and src/, here or in another revision
"""

import argparse
import ast
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from code_lines import SUFFIXES, Function, code_lines, functions
from revision import unpack

MOST_LINES = 60
MOST_PARAMETERS = 8
CHECKED_FOR_LENGTH = ("cmlp", "src", "tools", "benchmarks")
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}  # public, by their documentation

LEVELS = {  # of modules, or of all modules in a package
    0: ["_base", "_core"],
    1: ["activations", "losses", "initializers", "layers", "schedules", "averaging", "optimizers"],
    2: ["data", "datasets", "reference"],
    3: ["_engine"],
    4: ["network", "mlp", "training"],
    5: [
        "saving",
        "estimators",
        "diagnostics",
        "plots",
        "callbacks",
        "many",
        "search",
        "dask",
        "mpi",
        "river",
        "interop",
    ],
    6: ["cli", "__main__"],
}
LEVEL_OF = {f"cmlp.{name}": level for level, names in LEVELS.items() for name in names}


@dataclass
class Module:
    """A Python file of the package."""

    name: str
    path: Path
    is_package: bool

    @cached_property
    def tree(self) -> ast.Module:
        """What is in it."""
        return ast.parse(self.path.read_text(), str(self.path))

    @property
    def folder(self) -> str:
        """The package that it lies in."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def level(self) -> int | None:
        """Its level in the house."""
        parts = self.name.split(".")
        return LEVEL_OF.get(".".join(parts[:2]))


@dataclass
class House:
    """The package's modules, and what they import of each other."""

    root: Path
    problems: list[str] = field(default_factory=list)
    edges: dict[tuple[str, str], int] = field(default_factory=dict)  # (importer, imported): line

    @cached_property
    def modules(self) -> dict[str, Module]:
        """Every module by its full name; the compiled one as well."""
        found = {}
        for path in sorted((self.root / "cmlp").rglob("*.py")):
            parts = list(path.relative_to(self.root).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found[name] = Module(name, path, is_package)
        return found

    def complain(self, path: Path, line: int, message: str) -> None:
        """Note a violation."""
        self.problems.append(f"{path.relative_to(self.root)}:{line}: {message}")


# ----------------------------------------------------------------------------------------------------------- imports


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from (inner for part in node.orelse for inner in (part, *at_run_time(part)))
        else:
            yield node
            yield from at_run_time(node)


def imported(node: ast.AST, module: Module) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name in it or None) for every import from cmlp."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "cmlp")
    elif isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if node.level:
            parts = module.folder.split(".")
            source = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [source])])
        if source.split(".")[0] == "cmlp":
            yield from ((source, alias.name) for alias in node.names)


def check_imports(house: House) -> None:
    """Check levels and the root package; collect the edges."""
    known = {*house.modules, "cmlp._core"}
    for module in house.modules.values():
        if module.name == "cmlp":
            continue  # the public names, imported on first use
        if module.level is None:
            house.complain(module.path, 1, f"{module.name} has no level: add it to LEVELS in tools/check_house.py")
        for node in at_run_time(module.tree):
            for source, name in imported(node, module):
                target = f"{source}.{name}" if f"{source}.{name}" in known else source
                if target == "cmlp":
                    if not module.name.startswith(("cmlp.cli", "cmlp.__main__")):
                        wanted = f"{name} from cmlp" if name else "cmlp"
                        house.complain(module.path, node.lineno, f"imports {wanted}: name the module that has it")
                elif target != module.name:
                    house.edges.setdefault((module.name, target), node.lineno)
    for (importer, target), line in house.edges.items():
        module, above = house.modules[importer], LEVEL_OF.get(".".join(target.split(".")[:2]))
        if None not in (module.level, above) and above > module.level:
            house.complain(module.path, line, f"level {module.level} imports {target} of level {above}: upward")


def check_circles(house: House) -> None:
    """Report circles of imports until none is left, leaving out the last edge of each."""
    edges = dict(house.edges)
    while True:
        graph: dict[str, set[str]] = {}
        for importer, target in edges:
            graph.setdefault(importer, set()).add(target)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]  # importer first
            line = edges.pop((circle[0], circle[1]))
            house.complain(house.modules[circle[0]].path, line, f"circle: {' imports '.join(circle)}")
        else:
            return


# ----------------------------------------------------------------------------------------------------- private names


def is_private(name: str) -> bool:
    """Tell whether a name is one of its folder alone."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name != "_"


def is_own(node: ast.expr) -> bool:
    """Tell whether an attribute's owner is self, cls or super()."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def defined(tree: ast.AST) -> set[str]:
    """Return the private names that code defines: functions, classes, variables, fields and attributes of self."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            names.add(node.attr)
    return {name for name in names if is_private(name)}


def check_private(house: House) -> None:
    """Check that private names are used in the folder that defines them, or by classes that inherit them."""
    by_folder: dict[str, set[str]] = {}
    classes: dict[str, tuple[str, ast.ClassDef]] = {}  # by name: folder and body
    for module in house.modules.values():
        by_folder.setdefault(module.folder, set()).update(defined(module.tree))
        found = (node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef))
        classes.update({node.name: (module.folder, node) for node in found})
    everywhere = set().union(*by_folder.values())
    for module in house.modules.values():
        check_private_imports(house, module)
        guests = annotated_from_elsewhere(module, classes)
        for node, owner in attributes(module.tree, None):
            is_guest = isinstance(node.value, ast.Name) and node.value.id in guests
            here = NAMED_TUPLE if is_guest else by_folder[module.folder] | NAMED_TUPLE
            if not is_private(node.attr) or node.attr in here:
                continue
            inherited, foreign = family(owner, classes) if is_own(node.value) else (set(), False)
            if node.attr not in inherited and not (foreign and node.attr not in everywhere):
                house.complain(module.path, node.lineno, f"uses the private {ast.unparse(node)} of another folder")


def check_private_imports(house: House, module: Module) -> None:
    """Check that no private name is imported from another folder; modules are no names."""
    for node in ast.walk(module.tree):
        for source, name in imported(node, module):
            is_module = f"{source}.{name}" in {*house.modules, "cmlp._core"}
            folder = house.modules[source].folder if source in house.modules else None
            if name and is_private(name) and not is_module and folder != module.folder:
                house.complain(module.path, node.lineno, f"imports the private {name} of {source}")


def annotated_from_elsewhere(module: Module, classes: dict[str, tuple[str, ast.ClassDef]]) -> set[str]:
    """Return the names of parameters that hold objects of another folder's classes, as far as annotations tell."""
    parameters = [node for node in ast.walk(module.tree) if isinstance(node, ast.arg) and node.annotation]
    kinds = {(p.arg, ast.unparse(p.annotation).strip("'\"")) for p in parameters}
    return {name for name, kind in kinds if kind in classes and classes[kind][0] != module.folder}


def attributes(tree: ast.AST, owner: ast.ClassDef | None) -> Iterator[tuple[ast.Attribute, ast.ClassDef | None]]:
    """Yield every attribute, with the class in whose body it is used."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Attribute):
            yield node, owner
        yield from attributes(node, node if isinstance(node, ast.ClassDef) else owner)


def family(owner: ast.ClassDef | None, classes: dict[str, tuple[str, ast.ClassDef]]) -> tuple[set[str], bool]:
    """Return the private names of a class and its bases, and whether some base is another library's."""
    names: set[str] = set()
    foreign, seen, left = False, set(), [owner.name] if owner else []
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in classes:
            body = classes[name][1]
            names |= defined(body)
            left += [ast.unparse(base).split("[")[0].split(".")[-1] for base in body.bases]
        else:
            foreign = True
    return names, foreign


# ------------------------------------------------------------------------------------------- functions and parameters


def sources(root: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    """Yield the source files in some folders."""
    for folder in folders:
        found = (path for path in sorted((root / folder).rglob("*")) if path.suffix in SUFFIXES)
        # A build for coverage leaves the generated src/_core.c beside its source.
        yield from (path for path in found if not path.with_suffix(".pyx").exists() or path.suffix == ".pyx")


def check_lengths(house: House) -> Function:
    """Check the lines of code of every function; return the longest."""
    longest = Function("none", 0, 0)
    for path in sources(house.root, CHECKED_FOR_LENGTH):
        for function in functions(path):
            longest = max(longest, function, key=lambda f: f.n_lines)
            if function.n_lines > MOST_LINES:
                house.complain(path, function.line, f"{function.name} has {function.n_lines} lines, over {MOST_LINES}")
    return longest


def core_calls(root: Path) -> Iterator[tuple[Path, int, str, int]]:
    """Yield (file, line, name, parameters but self) of every call of the core and every pointer to a kernel."""
    for path in (root / "cmlp").glob("*.pyi"):
        tree = ast.parse(path.read_text())
        methods = {id(f) for node in tree.body if isinstance(node, ast.ClassDef) for f in node.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
                a = node.args
                n = len([*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, [a.vararg, a.kwarg])])
                yield path, node.lineno, node.name, n - (id(node) in methods and not static)
    for path in (root / "src" / "kernels").glob("*.h"):
        text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), path.read_text(), flags=re.DOTALL)
        for match in re.finditer(r"\(\*(\w+)\)\s*\(([^()]*)\)", text):
            yield path, text.count("\n", 0, match.start()) + 1, match[1], match[2].count(",") + 1


def check_parameters(house: House) -> tuple[str, int]:
    """Check the number of parameters of the core's calls; return the longest list's name and length."""
    longest = ("none", 0)
    for path, line, name, n in core_calls(house.root):
        longest = max(longest, (name, n), key=lambda call: call[1])
        if n > MOST_PARAMETERS:
            house.complain(path, line, f"{name} takes {n} parameters, over {MOST_PARAMETERS}")
    return longest


# --------------------------------------------------------------------------------------------------------- the command


def check(root: Path) -> bool:
    """Print violations and a summary; tell whether all is in order."""
    house = House(root)
    if not house.modules:
        sys.exit(f"no package cmlp/ in {root}: give the root of the tree")
    check_imports(house)
    check_circles(house)
    check_private(house)
    function, (call, n_parameters) = check_lengths(house), check_parameters(house)
    problems = list(dict.fromkeys(house.problems))
    for problem in problems:
        print(problem)
    print(
        f"{len(house.modules)} modules, {len(house.edges)} imports among them; longest function: {function.name}, "
        f"{function.n_lines} lines; longest parameter list of the core: {call}, {n_parameters}; "
        f"violations: {len(problems)}"
    )
    return not house.problems


def print_count(root: Path) -> None:
    """Print the lines of code of cmlp/ and src/, by kind of file."""
    total = 0
    for folder in ("cmlp", "src"):
        counts: Counter[str] = Counter()
        for path in sources(root, (folder,)):
            counts[path.suffix] += len(code_lines(path))
        kinds = ", ".join(f"{suffix} {n}" for suffix, n in sorted(counts.items()))
        print(f"{folder}: {counts.total()} lines of code ({kinds})")
        total += counts.total()
    print(f"total: {total}")


def main() -> None:
    """Check, or count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("root", nargs="?", type=Path, default=here, metavar="FOLDER", help="default: this tree")
    parser.add_argument("--count", nargs="?", const="", metavar="REV", help="count lines of code instead")
    options = parser.parse_args()
    if options.count is None:
        sys.exit(not check(options.root.resolve()))
    with tempfile.TemporaryDirectory() as folder:
        print_count(unpack(options.count, Path(folder)) if options.count else options.root)


if __name__ == "__main__":
    main()
