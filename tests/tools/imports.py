#!/usr/bin/env python3
"""Checks that imports inside each crate go one way: imports.py [CRATE...] [--edges]

The script reads every path that begins with `crate::`, `self::` or `super::` in the product code of a crate (tests and
comments left out) and finds the module that it names. It draws arrows in two pictures:

- the top level: one node a module that lies directly in src/, a file or a folder;
- the folders: one node a folder, at any depth, with the files that lie directly in it. A folder and one inside it are
  parts of each other, so they have no arrow.

It fails on a circle in either picture, and on more than ALLOWED imports of the top level against the order in which
docs/architecture.md draws the modules of a crate ("## Modules"): a module may import those on floors to its left. A module
that the table lacks, or has too much, is an error. `--edges` prints all arrows with a place each.
"""

import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CRATES = {
    "netssm-wire": "replay/wire/src",
    "netssm-tokens": "model/tokens/src",
    "netssm-model": "model/src",
    "netssm-fidelity": "model/fidelity/src",
    "netssm-replay": "replay/src",
    "netssmd": "daemon/src",
}

DRAWN = ROOT / "docs/architecture.md"
ALLOWED = 4

COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/', re.S)
TEXT = re.compile(r'b?r#"(?:.|\n)*?"#|b?"(?:\\.|[^"\\])*"')
TESTS = re.compile(r'#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([a-z]+\))? )?mod \w+\s*\{')
USE = re.compile(r'\buse\s+([^;]+);')
PATH = re.compile(r'\b(?:crate|self|super)(?:::\w+)+')


def is_test(path: pathlib.Path, root: pathlib.Path) -> bool:
    parts = path.relative_to(root).parts
    name = parts[-1].removesuffix(".rs")
    return "tests" in parts[:-1] or name in {"tests", "testing", "test", "fixture"} or name.endswith("_tests")


def product_code(text: str) -> str:
    """The text without comments, strings and modules of tests."""
    text = TEXT.sub('""', COMMENT.sub("", text))
    while found := TESTS.search(text):
        depth, end = 1, found.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        text = text[:found.start()] + text[end:]
    return text


def spread(tree: str) -> list[str]:
    """The paths of a use tree: `a::{b, c::d}` gives a::b and a::c::d."""
    tree = "".join(tree.split(" as ")[0] if "{" not in tree else tree).strip()
    brace = tree.find("{")
    if brace < 0:
        return [re.sub(r"\s+as\s+\w+", "", tree).strip()]
    prefix, inside = tree[:brace], tree[brace + 1:tree.rindex("}")]
    paths, depth, start = [], 0, 0
    for at, char in enumerate(inside + ","):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            part = inside[start:at].strip()
            start = at + 1
            if part:
                paths += spread(prefix + part)
    return paths


Module = tuple[str, ...]


def name_of(module: Module) -> str:
    return "::".join(module) or "crate"


def drawn_floors(crate: str) -> dict[Module, int]:
    """The floor of each module of a crate, from below, by the table of docs/architecture.md."""
    row = re.search(rf"^\| `{crate}` \| (`[^|]*) \|$", DRAWN.read_text(), re.M)
    if not row:
        sys.exit(f"imports.py: {DRAWN.relative_to(ROOT)} has no row `{crate}` of modules")
    return {(name,): floor for floor, names in enumerate(row[1].split("<")) for name in re.findall(r"`(\w+)`", names)}


class Crate:
    def __init__(self, name: str, root: pathlib.Path):
        self.name, self.root = name, root
        self.modules: dict[Module, pathlib.Path] = {}
        for path in sorted(root.rglob("*.rs")):
            module = path.relative_to(root).with_suffix("").parts
            module = module[:-1] if module[-1] in {"mod", "lib", "main"} else module
            self.modules[module] = path
        self.top: dict[tuple[Module, Module], list[str]] = collections.defaultdict(list)
        self.folders: dict[tuple[Module, Module], list[str]] = collections.defaultdict(list)
        for module, path in self.modules.items():
            if not is_test(path, root):
                self.read(module, path)

    def resolve(self, module: Module, names: list[str]) -> Module:
        """The deepest module on a path."""
        at = () if names[0] == "crate" else module
        for name in names if names[0] != "crate" else names[1:]:
            if name == "super":
                at = at[:-1]
            elif name != "self":
                if at + (name,) not in self.modules:
                    break
                at = at + (name,)
        return at

    def folder(self, module: Module) -> Module:
        """The folder that a module lies in; a module with modules inside is one itself."""
        has_inner = any(len(other) > len(module) and other[:len(module)] == module for other in self.modules)
        return module if has_inner else module[:-1]

    def read(self, module: Module, path: pathlib.Path) -> None:
        code = product_code(path.read_text())
        paths = [one for tree in USE.findall(code) for one in spread(tree)]
        paths += PATH.findall(USE.sub("", code))
        for text in paths:
            names = text.split("::")
            if names[0] not in {"crate", "self", "super"}:
                continue
            target = self.resolve(module, names)
            place = f"{path.relative_to(ROOT)}: {text}"
            if module and target and module[0] != target[0]:
                self.top[module[:1], target[:1]].append(place)
            source, target = self.folder(module), self.folder(target)
            shorter = min(len(source), len(target))
            if source[:shorter] != target[:shorter]:
                self.folders[source, target].append(place)

    def circles(self) -> list[str]:
        found = []
        for what, arrows in [("modules", self.top), ("folders", self.folders)]:
            graph = collections.defaultdict(set)
            for source, target in arrows:
                graph[source].add(target)
            for group in strongly_connected(graph):
                lines = [f"{self.name}: circle of {what}: {', '.join(map(name_of, sorted(group)))}"]
                for (source, target), places in sorted(arrows.items()):
                    if source in group and target in group:
                        lines.append(f"    {name_of(source)} -> {name_of(target)} ({len(places)}), {places[0]}")
                found.append("\n".join(lines))
        return found

    def against(self) -> list[str]:
        floors = drawn_floors(self.name)
        gone = [name_of(module) for module in floors if module not in self.modules]
        product = [module for module in self.modules if len(module) == 1 and not is_test(self.modules[module], self.root)]
        new = [name_of(module) for module in product if module not in floors]
        if gone or new:
            sys.exit(f"imports.py: correct the row {self.name} of {DRAWN.relative_to(ROOT)}: gone {gone}, missing {new}")
        return [
            f"{self.name}: against the order: {name_of(source)} -> {name_of(target)}: {place}"
            for (source, target), places in sorted(self.top.items())
            if source in floors and floors[source] <= floors.get(target, -1)
            for place in places
        ]


def strongly_connected(graph: dict[Module, set[Module]]) -> list[set[Module]]:
    """Groups of more than one node in which each reaches each: Tarjan's algorithm."""
    index: dict[Module, int] = {}
    low: dict[Module, int] = {}
    stack: list[Module] = []
    groups = []

    def visit(node: Module) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = set()
            while node not in group:
                group.add(stack.pop())
            if len(group) > 1:
                groups.append(group)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return groups


def main() -> None:
    wanted = [arg for arg in sys.argv[1:] if not arg.startswith("--")] or list(CRATES)
    unknown = [name for name in wanted if name not in CRATES]
    if unknown:
        sys.exit(f"imports.py: no crate {', '.join(unknown)}; expected {', '.join(CRATES)}")
    crates = [Crate(name, ROOT / CRATES[name]) for name in wanted]
    circles = [circle for crate in crates for circle in crate.circles()]
    against = [line for crate in crates for line in crate.against()]
    if "--edges" in sys.argv:
        for crate in crates:
            for (source, target), places in sorted({**crate.folders, **crate.top}.items()):
                print(f"{crate.name}: {name_of(source)} -> {name_of(target)} ({len(places)}), {places[0]}")
    for line in circles + against:
        print(line)
    print(f"imports: {len(circles)} circles, {len(against)} imports against the drawn order ({ALLOWED} allowed)")
    if circles or len(against) > ALLOWED:
        sys.exit(1)


if __name__ == "__main__":
    main()
