#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/core/host_weights.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

/// What a file calls the tensors of a network that asks for them by other names (guided-diffusion's).
struct name_map {
    /// Under the network's name one name of the file, or several tensors that are joined along their first axis. A name
    /// that is not here is the file's own.
    std::map<std::string, std::vector<std::string>> files;
    /// Names of the file that the network has no need of.
    std::vector<std::string> ignored;
};

/// The tensors of a checkpoint as a network asks for them: by name inside a scope, with the shape it expects. What is
/// missing, mis-shaped or left over is collected, and finish() reports all of it at once, in the file's names.
/// Copies and scopes share one record. The checkpoint must outlive them; the weights they hand out need not.
class weight_map {
public:
    struct check_only_t {
        explicit check_only_t() = default;
    };
    /// take() checks names and shapes and hands out shapes without values: a pass that reads nothing from the file.
    static constexpr check_only_t check_only{};

    /// Makes the weights of the given full name ("out.2.weight") and shape.
    using weight_maker = std::function<host_weights(const std::string&, const shape4&)>;

    explicit weight_map(const checkpoint& c, name_map names = {})
        : record_(std::make_shared<record>(&c, std::move(names), true)) {}
    weight_map(const checkpoint& c, check_only_t, name_map names = {})
        : record_(std::make_shared<record>(&c, std::move(names), false)) {}
    /// No checkpoint: every tensor that is asked for is there, made by `make` when it is taken and not kept.
    explicit weight_map(weight_maker make) : record_(std::make_shared<record>(std::move(make))) {}
    explicit weight_map(checkpoint&&, name_map = {}) = delete;
    weight_map(checkpoint&&, check_only_t, name_map = {}) = delete;

    /// The tensor of that name in this scope as float32, in the shape (out, in, kernel rows, kernel columns). A tensor
    /// of fewer than four axes counts as followed by ones: (n) as (n, 1, 1, 1), (out, in, 1) as (out, in, 1, 1).
    /// Zero-copy where the file allows it. A missing or mis-shaped tensor gives null values; finish() tells.
    host_weights take(std::string_view name, const shape4& expected) {
        std::string full = scope_ + std::string(name);
        if (record_->source == nullptr) {
            return record_->make(full, expected);
        }
        const auto other = record_->names.files.find(full);
        if (other == record_->names.files.end()) {
            return take_file(full, expected);
        }
        if (other->second.size() == 1) {
            return take_file(other->second.front(), expected);
        }
        return take_joined(other->second, expected);
    }

    /// False for a checking pass, where take() gives null values whatever the file holds.
    [[nodiscard]] bool gives_values() const { return record_->source == nullptr || record_->convert; }

    /// The same map seen from inside a module: scope("input_blocks.1.0").take("in_layers.0.weight", ...).
    [[nodiscard]] weight_map scope(std::string_view name) const {
        weight_map inner = *this;
        inner.scope_ += std::string(name) + '.';
        return inner;
    }
    [[nodiscard]] weight_map operator[](std::string_view name) const { return scope(name); }

    /// True when the checkpoint has the tensor of that name in this scope; without a checkpoint always.
    [[nodiscard]] bool has(std::string_view name) const {
        const auto in_file = [this](const std::string& n) { return record_->source->tensors.contains(n); };
        if (record_->source == nullptr) {
            return true;
        }
        const auto names = names_in_file(scope_ + std::string(name));
        return std::all_of(names.begin(), names.end(), in_file);
    }

    /// Marks a tensor as used that the network has no need of, so that finish() accepts it.
    void ignore(std::string_view name) {
        for (const auto& in_file : names_in_file(scope_ + std::string(name))) {
            record_->used.insert(in_file);
        }
    }

    /// Throws one format_error that lists missing, mis-shaped and unused tensors (of the whole checkpoint, whatever the
    /// scope), with found and expected shapes, when there are any.
    void finish() const {
        const record& r = *record_;
        if (r.source == nullptr) {
            return;
        }
        list missing;
        for (const auto& [name, expected] : r.missing) {
            missing.add(detail::printable(name) + ' ' + to_string(expected));
        }
        list misfits;
        for (const auto& [name, difference] : r.misfits) {
            misfits.add(detail::printable(name) + ": " + difference);
        }
        list unused;
        for (const auto& [name, tensor] : r.source->tensors) {
            if (r.used.count(name) == 0) {
                unused.add(detail::printable(name) + ' ' + to_string(tensor.shape));
            }
        }
        std::string parts;
        const auto report = [&](const list& l, const char* what) {
            if (l.count != 0) {
                parts += (parts.empty() ? "" : "; ") + std::to_string(l.count) + what + l.names +
                         (l.count > list::shown ? " and " + std::to_string(l.count - list::shown) + " more" : "") + ")";
            }
        };
        report(missing, " missing (");
        report(misfits, " mis-shaped (");
        report(unused, " unused (");
        if (!parts.empty()) {
            throw format_error(detail::shown(r.source->path) + ": the tensors do not fit the network: " + parts);
        }
    }

private:
    struct record {
        record(const checkpoint* c, name_map called, bool with_values)
            : source(c), names(std::move(called)), convert(with_values),
              used(names.ignored.begin(), names.ignored.end()) {}
        explicit record(weight_maker maker) : make(std::move(maker)) {}

        const checkpoint* source = nullptr;
        name_map names;
        bool convert = true;
        weight_maker make; // used when there is no checkpoint
        std::set<std::string> used;
        std::map<std::string, shape4> missing;
        std::map<std::string, std::string> misfits;
    };

    struct list {
        static constexpr std::size_t shown = 8;
        std::size_t count = 0;
        std::string names;

        void add(const std::string& entry) {
            if (++count <= shown) {
                names += (names.empty() ? "" : ", ") + entry;
            }
        }
    };

    static bool same_shape(const std::vector<std::int64_t>& found, const shape4& expected) {
        if (found.empty() || found.size() > 4) {
            return false;
        }
        std::array<std::int64_t, 4> padded = {1, 1, 1, 1};
        std::copy(found.begin(), found.end(), padded.begin());
        return padded == std::array<std::int64_t, 4>{expected.n, expected.c, expected.h, expected.w};
    }

    [[nodiscard]] std::vector<std::string> names_in_file(const std::string& full) const {
        const auto other = record_->names.files.find(full);
        return other == record_->names.files.end() ? std::vector<std::string>{full} : other->second;
    }

    host_weights take_file(const std::string& name, const shape4& expected) {
        const auto found = record_->source->tensors.find(name);
        if (found == record_->source->tensors.end()) {
            record_->missing.emplace(name, expected);
            return {expected, nullptr};
        }
        record_->used.insert(name);
        const stored_tensor& t = found->second;
        if (!same_shape(t.shape, expected)) {
            record_->misfits.emplace(name, to_string(t.shape) + " instead of " + to_string(expected));
            return {expected, nullptr};
        }
        if (!converts_to_float(t.type)) {
            record_->misfits.emplace(name, to_string(t.type) + " instead of floats");
            return {expected, nullptr};
        }
        return record_->convert ? read_weights(t, expected, name) : host_weights{expected, nullptr};
    }

    /// Equal parts of the rows of `expected` from each name, in one array.
    host_weights take_joined(const std::vector<std::string>& names, const shape4& expected) {
        shape4 part = expected;
        part.n /= static_cast<int>(names.size());
        std::vector<host_weights> parts;
        for (const auto& name : names) {
            parts.push_back(take_file(name, part));
        }
        if (std::any_of(parts.begin(), parts.end(), [](const host_weights& w) { return !w.values; })) {
            return {expected, nullptr};
        }
        const std::shared_ptr<float[]> values(new float[expected.size()]);
        float* to = values.get();
        for (const auto& w : parts) {
            to = std::copy_n(w.values.get(), part.size(), to);
        }
        return {expected, std::shared_ptr<const float>(values, values.get())};
    }

    std::shared_ptr<record> record_;
    std::string scope_;
};

} // namespace repaint
