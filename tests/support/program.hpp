#pragma once

#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "catch.hpp"

/// The programs, started as a user starts them: `repaint` unless another one is named.
namespace program {

/// A folder of its own for every test, removed at the end.
class workplace {
public:
    workplace() {
        std::string pattern = (std::filesystem::temp_directory_path() / "repaint-program-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        folder_ = pattern;
    }
    ~workplace() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    workplace(const workplace&) = delete;
    workplace& operator=(const workplace&) = delete;

    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }
    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

private:
    std::filesystem::path folder_;
};

struct finished {
    int status = -1;
    std::string out;
    std::string error;
    long peak_kilobytes = 0;
};

inline std::string content(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

/// Starts the program in a folder, `here` when none is given, with its output in files of `here`; finish() waits for it.
inline pid_t start(const workplace& here, const std::vector<std::string>& arguments,
                   const std::optional<std::filesystem::path>& from = std::nullopt,
                   const std::string& executable = REPAINT_PROGRAM) {
    std::vector<std::string> words{executable};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (auto& word : words) {
        pointers.push_back(word.data());
    }
    pointers.push_back(nullptr);
    const std::string folder = from.value_or(here.folder()).string();
    const std::string out = (here / "stdout").string();
    const std::string error = (here / "stderr").string();
    std::filesystem::remove(error); // an earlier run's: whoever waits for this one's output looks at it
    std::fflush(nullptr);           // or the child would write it again
    const pid_t child = ::fork();
    if (child == 0) {
        if (::chdir(folder.c_str()) == 0 && std::freopen(out.c_str(), "w", stdout) != nullptr &&
            std::freopen(error.c_str(), "w", stderr) != nullptr) {
            ::execv(executable.c_str(), pointers.data());
        }
        ::_exit(127);
    }
    REQUIRE(child > 0);
    return child;
}

inline finished finish(const workplace& here, pid_t child) {
    int status = 0;
    rusage used{};
    REQUIRE(::wait4(child, &status, 0, &used) == child);
    INFO(content(here / "stderr"));
    REQUIRE(WIFEXITED(status));
    return {WEXITSTATUS(status), content(here / "stdout"), content(here / "stderr"), used.ru_maxrss};
}

inline finished run(const workplace& here, const std::vector<std::string>& arguments,
                    const std::optional<std::filesystem::path>& from = std::nullopt,
                    const std::string& executable = REPAINT_PROGRAM) {
    return finish(here, start(here, arguments, from, executable));
}

inline std::vector<std::string> joined(std::vector<std::string> command, const std::vector<std::string>& more) {
    command.insert(command.end(), more.begin(), more.end());
    return command;
}

/// Nothing on stdout and, unless it is about the usage (2), one sentence on stderr, in one line; before it the pictures may
/// have been counted, which is said at once.
inline void check_refused(const finished& f, int status, const std::string& part) {
    INFO(f.error);
    CHECK(f.status == status);
    CHECK(f.out.empty());
    CHECK_THAT(f.error, contains(part));
    if (status == 1) {
        const auto lines = std::count(f.error.begin(), f.error.end(), '\n');
        const std::string first = f.error.substr(0, f.error.find('\n'));
        const bool counted = first.find(" picture") != std::string::npos && first.ends_with(" to fill");
        CHECK(lines == (counted ? 2 : 1));
    }
}

} // namespace program
