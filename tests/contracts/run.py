#!/usr/bin/env python3
"""What compilers say about the mistakes in this folder: within nine lines, and naming the thing.

Each .cpp here does not compile. Its comments say what is expected:

    // says: REGEX          every one of them is found in what the compiler prints
    // entry: MACRO a b c   compiled once for each word, with MACRO defined and WITHOUT=word; @ in REGEX is the word
    // errors: N            exactly N lines have "error:" in them
    // may compile          and when it does, without a word

usage: run.py INCLUDE_FOLDER [--first] COMPILER...
--first takes only the first word of each entry.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

MOST_LINES = 9


def cases(file, first):
    """(name, defines, word) for each time that the file is compiled."""
    entries = {}
    for macro, words in re.findall(r"^// entry: (\w+) (.*)$", file.read_text(), re.M):
        entries.setdefault(macro, []).extend(words.split())
    for macro, words in entries.items():
        for word in words[:1] if first else words:
            yield f"{file.stem}, {macro}, {word}", [f"-D{macro}", f"-DWITHOUT={word}"], word
    if not entries:
        yield file.stem, [], ""


def wrong(compiler, include, file, defines, word):
    """What is wrong with what the compiler says: "" when nothing is."""
    text = file.read_text()
    command = [compiler, "-std=c++20", "-fsyntax-only", "-fdiagnostics-color=never", f"-I{include}", *defines, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    said = done.stdout + done.stderr
    if done.returncode == 0:
        return "" if re.search(r"^// may compile$", text, re.M) and not said else "it compiles"
    lines = [line for line in said.splitlines() if line.strip()]
    shown = "\n".join("    " + line[:200] for line in lines[:40])
    if done.returncode < 0:
        return f"the compiler crashed\n{shown}"
    for pattern in re.findall(r"^// says: (.*)$", text, re.M):
        if not re.search(pattern.replace("@", re.escape(word)), said):
            return f"it does not say {pattern.replace('@', word)}:\n{shown}"
    errors = re.search(r"^// errors: (\d+)$", text, re.M)
    if errors and said.count("error:") != int(errors[1]):
        return f"{said.count('error:')} errors, expected {errors[1]}:\n{shown}"
    if len(lines) > MOST_LINES:
        return f"{len(lines)} lines, at most {MOST_LINES} are wanted:\n{shown}"
    return ""


def main():
    include, *compilers = sys.argv[1:]
    first = "--first" in compilers
    work = []
    for compiler in compilers:
        if compiler != "--first":
            for file in sorted(pathlib.Path(__file__).parent.glob("*.cpp")):
                work += [(compiler, file, *case) for case in cases(file, first)]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(lambda w: wrong(w[0], include, w[1], w[3], w[4]), work))
    bad = 0
    for (compiler, _, name, *_), result in zip(work, results):
        if result:
            bad += 1
            print(f"{os.path.basename(compiler)}: {name}: {result}")
    print(f"{len(work) - bad} of {len(work)} messages are as they should be")
    return 1 if bad or not work else 0


if __name__ == "__main__":
    sys.exit(main())
