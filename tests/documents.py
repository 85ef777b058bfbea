#!/usr/bin/env python3
"""Every code block of every document does what the text around it says.

usage: documents.py SOURCE_FOLDER SCRATCH_FOLDER --compiler C++ --cmake CMAKE [--program REPAINT] [--library LIB...]
                    [--build BUILD_FOLDER]

What happens to a block, fenced or indented, is said by the comment before it, which readers do not see:

    <!-- test: same as examples/inpaint.cpp -->   it is that file, which the build compiles and other tests run
    <!-- test: compile -->                        C++ that compiles: #include lines and what belongs into a function
    <!-- test: compile, given T& a, U b -->       the same, with these parameters of that function
    <!-- test: compile as it stands -->           C++ that compiles: a whole file
    <!-- test: run -->                            C++: compiled, linked and run. sh: run in a folder that has
                                                  repaint on PATH, examples/, and of 32x32 pixels
                                                  model.safetensors, face.png, keep.png, mask.png
    <!-- test: run, says TEXT -->                 the same, and TEXT is in the output
    <!-- test: configure -->                      CMake, after add_executable(my_program): the installed package is found
    <!-- test: parse -->                          JSON
    <!-- test: text -->                           no code: output, a formula, a table
    <!-- test: skip because ... -->               cannot be tried here, and why

A block without such a line is an error, except ```text, and ```cpp with a main, which is run.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

SECONDS = 300


def blocks(text):
    """(line number, language, code, marker) of every code block: fenced, or indented by four spaces after a blank line."""
    lines = text.splitlines()
    marker, index = "", 0
    while index < len(lines):
        line = lines[index]
        comment = re.fullmatch(r"\s*<!-- test: (.*?) -->\s*", line)
        fence = re.match(r"( *)(```+|~~~+) *([\w+-]*)", line)
        start = index
        if comment:
            marker, index = comment[1], index + 1
            continue
        if fence:
            index += 1
            code = []
            while index < len(lines) and not lines[index].strip().startswith(fence[2]):
                code.append(lines[index][len(fence[1]):])
                index += 1
            yield start + 1, fence[3] or "sh", "\n".join(code) + "\n", marker
        elif line.startswith("    ") and (start == 0 or not lines[start - 1].strip()) and line.strip():
            code = []
            while index < len(lines) and (lines[index].startswith("    ") or not lines[index].strip()):
                code.append(lines[index][4:])
                index += 1
            index -= 1
            yield start + 1, "", "\n".join(code).rstrip() + "\n", marker
        elif not line.strip():
            index += 1
            continue
        marker, index = "", index + 1


class wrong(Exception):
    pass


def call(command, folder, **more):
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=SECONDS, **more)
    except subprocess.TimeoutExpired as late:
        raise wrong(f"it takes more than {SECONDS} s") from late
    if done.returncode != 0:
        raise wrong(f"exit status {done.returncode}\n" + "\n".join(done.stdout.splitlines()[:40]))
    return done.stdout


class workshop:
    def __init__(self, given):
        self.given = given
        self.source = pathlib.Path(given.source).resolve()
        self.scratch = pathlib.Path(given.scratch).resolve()
        self.cxx = [given.compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-DREPAINT_COMPILED",
                    f"-I{self.source / 'include'}"]
        self.environment = {**os.environ, "LC_ALL": "C", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        if given.program:
            self.environment["PATH"] = f"{pathlib.Path(given.program).resolve().parent}{os.pathsep}{os.environ['PATH']}"

    def folder(self, name):
        """Where a block is tried, with what its commands may name."""
        made = self.scratch / name
        made.mkdir()
        models = self.source / "examples" / "models"
        (made / "examples").symlink_to(self.source / "examples")
        (made / "face.png").symlink_to(models / "demo" / "face-1.png")
        for ending in ("safetensors", "json"):
            (made / f"model.{ending}").symlink_to(models / f"faces32.{ending}")
        return made

    def compile(self, code, folder, function=None):
        if function is not None:
            includes = [line for line in code.splitlines() if re.match(r"\s*#\s*include", line)]
            rest = [line for line in code.splitlines() if not re.match(r"\s*#\s*include", line)]
            code = "\n".join([*includes, "#include <repaint/repaint.hpp>", "#include <repaint/backend/cpu.hpp>",
                              "#include <repaint/backend/dry.hpp>", "#include <repaint/image/codecs.hpp>",
                              f"void fragment({function});", f"void fragment({function}) {{", *rest, "}"]) + "\n"
        (folder / "block.cpp").write_text(code)
        unused = ["-Wno-unused-variable", "-Wno-unused-but-set-variable", "-Wno-unused-parameter"]
        call([*self.cxx, *unused, "-fsyntax-only", "block.cpp"], folder)

    def run_cpp(self, code, folder):
        (folder / "block.cpp").write_text(code)
        call([*self.cxx, "-O1", "block.cpp", "-o", "block", *self.given.library, "-pthread"], folder)
        return call(["./block"], folder, env=self.environment)

    def run_sh(self, code, folder):
        for mask in ("keep.png", "mask.png"):
            if mask in code and self.given.program:
                call([self.given.program, "mask", "half", "--size", "32x32", "-o", mask], folder, env=self.environment)
        return call(["sh", "-e", "-c", code], folder, env=self.environment)

    def configure(self, code, folder):
        prefix = folder / "prefix"
        call([self.given.cmake, "--install", self.given.build, "--prefix", str(prefix),
              "--component", "repaint_development"], folder)
        if "my_program" in code and "add_executable" not in code:
            code = "add_executable(my_program main.cpp)\n" + code
        (folder / "main.cpp").write_text("int main() {}\n")
        (folder / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(block LANGUAGES CXX)\n" + code)
        call([self.given.cmake, "-S", ".", "-B", "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}",
              f"-DCMAKE_CXX_COMPILER={self.given.compiler}"], folder)

    def judge(self, name, language, code, marker):
        """What became of a block, in a word; raises wrong."""
        fate, _, more = marker.partition(", ")
        if not fate:
            if language == "text":
                return "text"
            if language == "cpp" and re.search(r"\bint main\(", code):
                fate = "run"
            else:
                raise wrong("nothing says what becomes of it: <!-- test: ... --> before it, see tests/documents.py")
        if marker.startswith("skip because "):
            return "skipped"
        if marker.startswith("same as "):
            if (self.source / marker.removeprefix("same as ")).read_text() != code:
                raise wrong(f"it is not the {marker}")
            return "same"
        if fate == "text":
            return "text"
        if fate == "parse":
            try:
                json.loads(code)
            except ValueError as why:
                raise wrong(f"no JSON: {why}") from why
            return "parsed"
        folder = self.folder(name)
        said = ""
        if fate == "compile":
            self.compile(code, folder, more.removeprefix("given "))
        elif fate == "compile as it stands":
            self.compile(code, folder)
        elif fate == "configure":
            self.configure(code, folder)
        elif fate == "run":
            said = self.run_cpp(code, folder) if language == "cpp" else self.run_sh(code, folder)
            if more.startswith("says ") and more.removeprefix("says ") not in said:
                raise wrong(f"it does not say {more.removeprefix('says ')!r}:\n{said}")
        else:
            raise wrong(f"unknown: <!-- test: {marker} -->")
        return "tried"


def documents(source):
    listed = subprocess.run(["git", "-C", str(source), "ls-files", "*.md"], capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return sorted(listed.stdout.split("\n")[:-1])
    return sorted(str(file.relative_to(source)) for file in source.rglob("*.md")
                  if file.relative_to(source).parts[0] != "build")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("scratch")
    parser.add_argument("--compiler", default="c++")
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--program")
    parser.add_argument("--build")
    parser.add_argument("--library", nargs="*", default=[])
    given = parser.parse_args()
    shop = workshop(given)

    work = []
    for document in documents(shop.source):
        for line, language, code, marker in blocks((shop.source / document).read_text()):
            work.append((f"{document}:{line}", re.sub(r"\W", "_", f"{document}_{line}"), language, code, marker))

    def tried(item):
        try:
            return shop.judge(*item[1:]), ""
        except wrong as why:
            return "wrong", str(why)

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(tried, work))
    counts = {}
    for (where, *_), (fate, why) in zip(work, results):
        counts[fate] = counts.get(fate, 0) + 1
        if fate == "wrong":
            print(f"{where}: {why}")
    print(f"{len(work)} blocks: " + ", ".join(f"{count} {fate}" for fate, count in sorted(counts.items())))
    return 1 if "wrong" in counts else 0


if __name__ == "__main__":
    sys.exit(main())
