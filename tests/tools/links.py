#!/usr/bin/env python3
"""Links of the documents that lead nowhere: `links.py [FILE.md ...]`, by default all Markdown files of the repository.

What is checked:

* `[text](path)`: the path, relative to the document, is a file or folder;
* `[text](path#name)`: in a Markdown file `name` is the anchor of a heading; in any other file it is a word of its text;
* `` `name` in [text](path) `` and `` [`name`](path) ``: each part of `name` (`Type::method` has two) is a word of the
  file's text. So a tour of the code fails here when a function moves or is renamed;
* `` `folder/file` `` without a link, where `folder` is one of the repository's own: the path exists from the root on.

Links with a scheme (`https:`) are not followed, and code blocks are not read. Exit code 1 if any link is broken.
"""

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"\[((?:[^\[\]`]|`[^`]*`)*)\]\(([^()\s]+)\)")
# Names before a link: "`a` and `b` in [file](path)".
NAMED = re.compile(r"((?:`[^`]+`(?:,\s+|\s+and\s+|,\s+and\s+)?)+)\s+in\s+$")
SPAN = re.compile(r"`([^`]+)`")
# Code spans that are paths from the repository's root. `*` matches as in a shell.
PATH = re.compile(r"(?:configs|daemon|docs|model|replay|systemd|tests)/[\w./*-]*")


def documents():
    """Every Markdown file of the repository, tracked or new."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        check=True, capture_output=True, text=True,
    )
    return sorted(path for path in set(listed.stdout.split()) if Path(path).is_file())


def prose(text):
    """`text` with its code blocks blanked, so that places stay where they are."""
    lines, in_fence, in_indented, after_blank = [], False, False, True
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        in_indented = line.startswith("    ") and (in_indented or after_blank)
        after_blank = not line.strip()
        lines.append("" if fence or in_fence or in_indented else line)
        in_fence ^= fence
    return "\n".join(lines)


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    found = set()
    for line in prose(text).splitlines():
        if heading := re.match(r"#+\s+(.*)", line):
            title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            anchor = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
            count = sum(1 for known in found if re.fullmatch(re.escape(anchor) + r"(-\d+)?", known))
            found.add(f"{anchor}-{count}" if count else anchor)
    return found


def has_words(text, name):
    """Whether each part of a name, `Type::method` or `method()`, is a word of `text`."""
    parts = re.sub(r"\(.*\)$", "", name).strip().split("::")
    return all(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) for part in parts)


def problems(path):
    """Line and description of each broken link of a document."""
    source = Path(path).read_text(encoding="utf-8")
    text = prose(source)
    for link in LINK.finditer(text):
        label, target = link[1], link[2]
        if re.match(r"[a-z]+:", target):
            continue
        line = text.count("\n", 0, link.start()) + 1
        file, _, fragment = target.partition("#")
        there = Path(path).parent / file if file else Path(path)
        if not there.exists():
            yield line, f"{target}: no such file"
            continue
        if there.is_dir():
            if fragment:
                yield line, f"{target}: a folder has no anchors"
            continue
        content = there.read_text(encoding="utf-8", errors="replace")
        if fragment and there.suffix == ".md":
            if fragment not in anchors(content):
                yield line, f"{target}: no such heading"
            continue
        names = [fragment] if fragment else []
        if there.suffix != ".md":
            before = NAMED.search(text, max(0, link.start() - 400), link.start())
            names += SPAN.findall(before[1]) if before else []
            if whole := re.fullmatch(r"`([\w:]+(?:\(\))?)`", label):
                names.append(whole[1])
        for name in names:
            if not has_words(content, name):
                yield line, f"{target}: no `{name}` in it"


    for span in SPAN.finditer(text):
        if PATH.fullmatch(span[1]) and not any(Path().glob(span[1].rstrip("/"))):
            yield text.count("\n", 0, span.start()) + 1, f"{span[1]}: no such file"


def main():
    bad = 0
    for path in sys.argv[1:] or documents():
        for line, what in problems(path):
            print(f"{path}:{line}: {what}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
