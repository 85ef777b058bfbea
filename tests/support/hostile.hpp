#pragma once

// What tests of file readers share: bytes built by hand, and the demand that a bad file gives one clear sentence.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <repaint/error.hpp>
#include <repaint/io/mapped_file.hpp>
#include <repaint/io/stored_tensor.hpp>

#include "support/catch.hpp"

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

/// The little-endian bytes of a value.
template <class T> std::string le(T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

inline std::string repeated(std::string_view part, std::size_t bytes) {
    std::string all;
    all.reserve(bytes + part.size());
    while (all.size() < bytes) {
        all += part;
    }
    return all;
}

/// A file that never was on a disk.
inline std::shared_ptr<const repaint::mapped_file> in_memory(std::string_view text, const std::string& name = "file") {
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    return std::make_shared<const repaint::mapped_file>(std::vector<std::byte>(first, first + text.size()), name);
}

inline std::string file_text(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_text(const std::filesystem::path& path, std::string_view text) {
    std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

inline std::filesystem::path test_data(const std::string& name) {
    return std::filesystem::path(REPAINT_TEST_DATA) / name;
}

/// A folder that goes when the test ends.
class temporary_folder {
public:
    temporary_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "repaint-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("no temporary folder");
        }
        path_ = name;
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

/// The message of the format_error that f throws: one line, not long, without control characters.
template <class F> std::string refusal(F f) {
    try {
        static_cast<void>(f());
    } catch (const repaint::format_error& e) {
        const std::string message = e.what();
        CHECK_FALSE(message.empty());
        CHECK(message.size() < 1500);
        for (const char c : message) {
            if (static_cast<unsigned char>(c) < 0x20) {
                FAIL("control character in: " << message);
            }
        }
        return message;
    }
    FAIL("nothing was refused");
    return {};
}

/// The same, for something that must be refused within a time that a hostile file cannot stretch.
/// The limit is ten times what the slowest case takes on a slow machine; sanitizers get ten times more.
template <class F> std::string quick_refusal(F f, double seconds = 2.0) {
    const auto begin = std::chrono::steady_clock::now();
    std::string message = refusal(f);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    CHECK(taken.count() < (sanitized ? 10 * seconds : seconds));
    return message;
}

/// Largest resident memory in bytes of a process that runs f and nothing else; 0 if it could not run.
template <class F> std::size_t peak_memory(F f) {
    const pid_t child = ::fork();
    if (child == 0) {
        int result = 0;
        try {
            f();
        } catch (const repaint::format_error&) {
        } catch (...) {
            result = 1;
        }
        ::_exit(result);
    }
    int status = 0;
    rusage usage{};
    const bool ran = child > 0 && ::wait4(child, &status, 0, &usage) == child && status == 0;
    return ran ? static_cast<std::size_t>(usage.ru_maxrss) * 1024 : 0;
}

/// Every element of a tensor as float32.
inline std::vector<float> values_of(const repaint::stored_tensor& t) {
    std::vector<float> values(t.numel());
    repaint::detail::gather(t, "tensor", values.data());
    return values;
}

/// Touches every byte that a checkpoint says it has, for the sanitizers to watch.
inline float sum_of(const repaint::checkpoint& c) {
    float sum = 0;
    for (const auto& [name, tensor] : c.tensors) {
        if (repaint::converts_to_float(tensor.type)) {
            for (const float v : values_of(tensor)) {
                sum += v;
            }
        }
    }
    return sum;
}
