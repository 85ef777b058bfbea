#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/host_tensor.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/new_weights.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/weight_map.hpp>

namespace repaint {

namespace detail {

/// The names of a list, of which an error message gives the first and the number.
struct listed_names {
    static constexpr std::size_t shown = 8;
    std::size_t count = 0;
    std::string names;

    void add(const std::string& entry) {
        ++count;
        if (count <= shown) {
            names += (count == 1 ? "" : ", ") + entry;
        }
    }
};

} // namespace detail

struct weight_map::record {
    record(const checkpoint* c, name_map called, bool with_values)
        : source(c), names(std::move(called)), convert(with_values), used(names.ignored.begin(), names.ignored.end()) {}
    explicit record(weight_maker maker) : make(std::move(maker)) {}

    const checkpoint* source = nullptr;
    name_map names;
    bool convert = true;
    weight_maker make; // used when there is no checkpoint
    std::set<std::string> used;
    std::map<std::string, shape4> missing;
    std::map<std::string, std::string> misfits;
};

REPAINT_COLD weight_map::weight_map(weight_maker make) : record_(std::make_shared<record>(std::move(make))) {}

REPAINT_COLD bool weight_map::gives_values() const { return record_->source == nullptr || record_->convert; }

REPAINT_COLD weight_map::weight_map(const checkpoint& c, name_map names)
    : record_(std::make_shared<record>(&c, std::move(names), true)) {}

REPAINT_COLD weight_map::weight_map(const checkpoint& c, check_only_t, name_map names)
    : record_(std::make_shared<record>(&c, std::move(names), false)) {}

REPAINT_COLD host_weights weight_map::take(std::string_view name, const shape4& expected) {
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

REPAINT_COLD weight_map weight_map::scope(std::string_view name) const {
    weight_map inner = *this;
    inner.scope_ += std::string(name) + '.';
    return inner;
}

REPAINT_COLD bool weight_map::has(std::string_view name) const {
    const auto in_file = [this](const std::string& n) { return record_->source->tensors.contains(n); };
    if (record_->source == nullptr) {
        return true;
    }
    const auto names = names_in_file(scope_ + std::string(name));
    return std::all_of(names.begin(), names.end(), in_file);
}

REPAINT_COLD void weight_map::ignore(std::string_view name) {
    for (const auto& in_file : names_in_file(scope_ + std::string(name))) {
        record_->used.insert(in_file);
    }
}

REPAINT_COLD void weight_map::finish() const {
    const record& r = *record_;
    if (r.source == nullptr) {
        return;
    }
    using list = detail::listed_names;
    list missing;
    for (const auto& [name, expected] : r.missing) {
        missing.add(printable(name) + ' ' + to_string(expected));
    }
    list misfits;
    for (const auto& [name, difference] : r.misfits) {
        misfits.add(joined_text({printable(name), ": ", difference}));
    }
    list unused;
    for (const auto& [name, tensor] : r.source->tensors) {
        if (r.used.count(name) == 0) {
            unused.add(printable(name) + ' ' + to_string(tensor.shape));
        }
    }
    std::string parts;
    const auto report = [&](const list& l, const char* what) {
        if (l.count != 0) {
            parts += (parts.empty() ? "" : "; ") + std::to_string(l.count) + what + l.names +
                     (l.count > list::shown ? joined_text({" and ", l.count - list::shown, " more"}) : "") + ")";
        }
    };
    report(missing, " missing (");
    report(misfits, " mis-shaped (");
    report(unused, " unused (");
    if (!parts.empty()) {
        throw format_error(joined_text({shown(r.source->path), ": the tensors do not fit the network: ", parts}));
    }
}

REPAINT_COLD bool weight_map::same_shape(const std::vector<std::int64_t>& found, const shape4& expected) {
    if (found.empty() || found.size() > 4) {
        return false;
    }
    std::array<std::int64_t, 4> padded = {1, 1, 1, 1};
    std::copy(found.begin(), found.end(), padded.begin());
    return padded == std::array<std::int64_t, 4>{expected.n, expected.c, expected.h, expected.w};
}

REPAINT_COLD std::vector<std::string> weight_map::names_in_file(const std::string& full) const {
    const auto other = record_->names.files.find(full);
    return other == record_->names.files.end() ? std::vector<std::string>{full} : other->second;
}

REPAINT_COLD host_weights weight_map::take_file(const std::string& name, const shape4& expected) {
    const auto found = record_->source->tensors.find(name);
    if (found == record_->source->tensors.end()) {
        record_->missing.emplace(name, expected);
        return {expected, nullptr};
    }
    record_->used.insert(name);
    const stored_tensor& t = found->second;
    if (!same_shape(t.shape, expected)) {
        record_->misfits.emplace(name, joined_text({to_string(t.shape), " instead of ", to_string(expected)}));
        return {expected, nullptr};
    }
    if (!converts_to_float(t.type)) {
        record_->misfits.emplace(name, joined_text({to_string(t.type), " instead of floats"}));
        return {expected, nullptr};
    }
    if (!record_->convert) {
        return {expected, nullptr};
    }
    host_weights weights = read_weights(t, expected, name);
    if (const std::size_t broken = not_finite({weights.values.get(), expected.size()}); broken > 0) {
        throw format_error(joined_text({shown(record_->source->path), ": the tensor ", printable(name), " holds ",
                                        broken, " NaN or infinite of ", expected.size(),
                                        " values, so the network can return nothing else: take another checkpoint"}));
    }
    return weights;
}

REPAINT_COLD host_weights weight_map::take_joined(const std::vector<std::string>& names, const shape4& expected) {
    shape4 part = expected;
    part.n /= static_cast<int>(names.size());
    std::vector<host_weights> parts;
    for (const auto& name : names) {
        parts.push_back(take_file(name, part));
    }
    if (std::any_of(parts.begin(), parts.end(), [](const host_weights& w) { return !w.values; })) {
        return {expected, nullptr};
    }
    const detail::new_weights result = detail::make_weights(expected);
    float* to = result.values.data();
    for (const auto& w : parts) {
        to = std::copy_n(w.values.get(), part.size(), to);
    }
    return result.weights;
}

} // namespace repaint
