#pragma once

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dlfcn.h>

#include <repaint/error.hpp>

namespace repaint::detail::cuda {

/// A library that is found when it is first needed: a program with this backend starts, and its other backends work, on
/// machines that do not have it. It stays until the process ends.
class shared_library {
public:
    /// what: its name for people. files: tried in this order; those with a folder only there, the others where the
    /// system looks for libraries. Throws device_error naming what is missing.
    shared_library(std::string what, const std::vector<std::string>& files) : what_(std::move(what)) {
        std::string reasons;
        for (const std::string& file : files) {
            handle_ = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
            if (handle_ != nullptr) {
                return;
            }
            const char* const reason = ::dlerror();
            reasons += reasons.empty() ? "" : "; ";
            reasons += reason == nullptr ? file : reason;
        }
        throw device_error(what_ + " is missing, which the backend cuda needs: " + reasons);
    }

    /// An address that becomes whatever pointer to a function it is assigned to.
    class address {
    public:
        explicit address(void* at) : at_(at) {}
        template <class F>
        requires std::is_function_v<std::remove_pointer_t<F>>
        operator F() const { return reinterpret_cast<F>(at_); }

    private:
        void* at_;
    };

    /// Throws device_error when the library has no such function.
    [[nodiscard]] address operator[](const char* function) const {
        void* const at = ::dlsym(handle_, function);
        if (at == nullptr) {
            throw device_error(what_ + " has no function " + function + ": it is not the version that is needed");
        }
        return address(at);
    }

private:
    std::string what_;
    void* handle_ = nullptr;
};

} // namespace repaint::detail::cuda
