#!/usr/bin/env python3
"""Lines of the documents that are wider than 120 columns: `prose.py [FILE.md ...]`, by default all Markdown files.

Tables and code blocks are exempt, because a cell and a command cannot be wrapped. The target of a link does not count.
Exit code 1 if any line is too wide.
"""

import re
import subprocess
import sys

WIDTH = 120


def documents():
    """Every Markdown file of the repository, tracked or new."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        check=True, capture_output=True, text=True,
    )
    return sorted(set(listed.stdout.split()))


def wide_lines(text):
    """Number and width of each line of prose in `text` that is too wide."""
    in_fence, in_indented, after_blank = False, False, True
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            in_fence = not in_fence
            continue
        # Four spaces after a blank line begin a code block. It ends with the indentation.
        in_indented = line.startswith("    ") and (in_indented or after_blank)
        after_blank = not line.strip()
        if in_fence or in_indented or line.lstrip().startswith("|"):
            continue
        width = len(re.sub(r"\]\([^)]*\)", "]", line))
        if width > WIDTH:
            yield number, width


def main():
    bad = 0
    for path in sys.argv[1:] or documents():
        with open(path, encoding="utf-8") as file:
            for number, width in wide_lines(file.read()):
                print(f"{path}:{number}: {width} columns, at most {WIDTH}")
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
