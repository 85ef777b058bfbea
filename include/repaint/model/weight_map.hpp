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

/// The tensors of a checkpoint as a network asks for them: by name inside a scope, with the shape it expects. What is
/// missing, mis-shaped or left over is collected, and finish() reports all of it at once.
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

    explicit weight_map(const checkpoint& c) : record_(std::make_shared<record>(&c, true)) {}
    weight_map(const checkpoint& c, check_only_t) : record_(std::make_shared<record>(&c, false)) {}
    /// No checkpoint: every tensor that is asked for is there, made by `make` when it is taken and not kept.
    explicit weight_map(weight_maker make) : record_(std::make_shared<record>(std::move(make))) {}
    explicit weight_map(checkpoint&&) = delete;
    weight_map(checkpoint&&, check_only_t) = delete;

    /// The tensor of that name in this scope as float32, in the shape (out, in, kernel rows, kernel columns). A tensor
    /// of fewer than four axes counts as followed by ones: (n) as (n, 1, 1, 1), (out, in, 1) as (out, in, 1, 1).
    /// Zero-copy where the file allows it. A missing or mis-shaped tensor gives null values; finish() tells.
    host_weights take(std::string_view name, const shape4& expected) {
        std::string full = scope_ + std::string(name);
        if (record_->source == nullptr) {
            return record_->make(full, expected);
        }
        const auto found = record_->source->tensors.find(full);
        if (found == record_->source->tensors.end()) {
            record_->missing.emplace(std::move(full), expected);
            return {expected, nullptr};
        }
        record_->used.insert(full);
        const stored_tensor& t = found->second;
        if (!same_shape(t.shape, expected)) {
            record_->misfits.emplace(std::move(full), to_string(t.shape) + " instead of " + to_string(expected));
            return {expected, nullptr};
        }
        if (!converts_to_float(t.type)) {
            record_->misfits.emplace(std::move(full), to_string(t.type) + " instead of floats");
            return {expected, nullptr};
        }
        return record_->convert ? read_weights(t, expected, full) : host_weights{expected, nullptr};
    }

    /// The same map seen from inside a module: scope("input_blocks.1.0").take("in_layers.0.weight", ...).
    [[nodiscard]] weight_map scope(std::string_view name) const {
        weight_map inner = *this;
        inner.scope_ += std::string(name) + '.';
        return inner;
    }
    [[nodiscard]] weight_map operator[](std::string_view name) const { return scope(name); }

    /// True when the checkpoint has a tensor of that name in this scope; without a checkpoint always.
    [[nodiscard]] bool has(std::string_view name) const {
        return record_->source == nullptr || record_->source->tensors.count(scope_ + std::string(name)) != 0;
    }

    /// Marks a tensor as used that the network has no need of, so that finish() accepts it.
    void ignore(std::string_view name) { record_->used.insert(scope_ + std::string(name)); }

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
        record(const checkpoint* c, bool with_values) : source(c), convert(with_values) {}
        explicit record(weight_maker maker) : make(std::move(maker)) {}

        const checkpoint* source = nullptr;
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

    std::shared_ptr<record> record_;
    std::string scope_;
};

} // namespace repaint
