#!/usr/bin/env python3
"""Every header compiles alone, with what it includes itself: header-only, and with REPAINT_COMPILED.

usage: headers.py COMPILE_COMMANDS SOURCE INCLUDE_FOLDER HEADER...
The compiler and its options are those that compile_commands.json has for SOURCE.
"""

import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys


def options(commands, source):
    for entry in json.loads(pathlib.Path(commands).read_text()):
        if os.path.samefile(entry["file"], source):
            found, words = [], iter(shlex.split(entry["command"]))
            for word in words:
                if word in ("-o", "-c", "-MF", "-MT"):
                    next(words)
                elif word != "-MD":
                    found.append(word)
            return found
    sys.exit(f"{commands} does not say how {source} is compiled")


def main():
    commands, source, include, *headers = sys.argv[1:]
    command = [*options(commands, source), "-fsyntax-only", "-x", "c++", "-"]
    names = [os.path.relpath(header, include) for header in headers]

    def wrong(case):
        name, defines = case
        done = subprocess.run(
            [*command[:1], *defines, *command[1:]], input=f"#include <{name}>\n", capture_output=True, text=True)
        return done.stderr if done.returncode else ""

    cases = [(name, defines) for name in names for defines in ([], ["-DREPAINT_COMPILED"])]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(wrong, cases))
    bad = 0
    for (name, defines), result in zip(cases, results):
        if result:
            bad += 1
            print(f"{name} does not compile alone {' '.join(defines)}\n" + "\n".join(result.splitlines()[:30]))
    print(f"{len(cases) - bad} of {len(cases)}: {len(names)} headers, header-only and compiled")
    return 1 if bad or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
