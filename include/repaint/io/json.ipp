#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/json_reader.hpp>
#include <repaint/io/mapped_file.hpp>

namespace repaint {

REPAINT_COLD void json_value::require(kind wanted, const char* what) const {
    if (kind_ != wanted) {
        expected(what);
    }
}

REPAINT_COLD bool json_value::as_boolean() const {
    require(kind::boolean, "true or false");
    return boolean_;
}

REPAINT_COLD std::int64_t json_value::as_integer() const {
    require(kind::integer, "an integer");
    return integer_;
}

REPAINT_COLD std::uint64_t json_value::as_unsigned() const {
    if (kind_ == kind::unsigned_integer) {
        return unsigned_;
    }
    if (kind_ != kind::integer || integer_ < 0) {
        expected("a non-negative integer");
    }
    return static_cast<std::uint64_t>(integer_);
}

REPAINT_COLD double json_value::as_number() const {
    if (kind_ == kind::integer) {
        return static_cast<double>(integer_);
    }
    if (kind_ == kind::unsigned_integer) {
        return static_cast<double>(unsigned_);
    }
    require(kind::real, "a number");
    return real_;
}

REPAINT_COLD const std::string& json_value::as_string() const {
    require(kind::string, "a string");
    return string_;
}

REPAINT_COLD const json_value::array_type& json_value::as_array() const {
    require(kind::array, "an array");
    return array_;
}

REPAINT_COLD const json_value::object_type& json_value::as_object() const {
    require(kind::object, "an object");
    return object_;
}

REPAINT_COLD const json_value* json_value::find(std::string_view key) const {
    for (const member& m : as_object()) {
        if (m.first == key) {
            return &m.second;
        }
    }
    return nullptr;
}

REPAINT_COLD const json_value& json_value::at(std::string_view key) const {
    const json_value* const found = find(key);
    if (found == nullptr) {
        throw format_error(joined_text({place(), "the key ", in_quotes(key), " is missing"}));
    }
    return *found;
}

namespace detail {

/// Reads the member under a key; an error then names the key as well.
template <class Read>
std::invoke_result_t<Read, const json_value&> read_member(const json_value& object, std::string_view key, Read read) {
    const json_value& v = object.at(key);
    try {
        return read(v);
    } catch (const format_error& wrong) {
        const std::string start = v.place();
        throw format_error(joined_text({start, in_quotes(key), ": ", (wrong.what() + start.size())}));
    }
}

} // namespace detail

REPAINT_COLD bool json_value::boolean(std::string_view key) const {
    return detail::read_member(*this, key, [](const json_value& v) { return v.as_boolean(); });
}

REPAINT_COLD std::int64_t json_value::integer(std::string_view key) const {
    return detail::read_member(*this, key, [](const json_value& v) { return v.as_integer(); });
}

REPAINT_COLD double json_value::number(std::string_view key) const {
    return detail::read_member(*this, key, [](const json_value& v) { return v.as_number(); });
}

REPAINT_COLD const std::string& json_value::string(std::string_view key) const {
    return detail::read_member(*this, key, [](const json_value& v) -> const std::string& { return v.as_string(); });
}

REPAINT_COLD const json_value::array_type& json_value::array(std::string_view key) const {
    return detail::read_member(*this, key,
                               [](const json_value& v) -> const json_value::array_type& { return v.as_array(); });
}

REPAINT_COLD const json_value::object_type& json_value::object(std::string_view key) const {
    return detail::read_member(*this, key,
                               [](const json_value& v) -> const json_value::object_type& { return v.as_object(); });
}

REPAINT_COLD std::string json_value::place() const {
    return source_ ? joined_text({*source_, ", line ", line_, ": "}) : std::string();
}

REPAINT_COLD void json_value::expected(const char* what) const {
    throw format_error(joined_text({place(), "expected ", what, ", found ", description()}));
}

REPAINT_COLD std::string json_value::description() const {
    switch (kind_) {
    case kind::boolean: return boolean_ ? "true" : "false";
    case kind::integer: return std::to_string(integer_);
    case kind::unsigned_integer: return std::to_string(unsigned_);
    case kind::real: return std::to_string(real_);
    case kind::string: return joined_text({"the string ", in_quotes(string_)});
    case kind::array: return "an array";
    case kind::object: return "an object";
    default: return "null";
    }
}

namespace detail {

/// Builds json_values from the events of a reader, refusing duplicate keys and more than most_values values.
class json_builder {
public:
    static constexpr std::size_t most_values = std::size_t{1} << 18U;

    /// The text must outlive the builder. source is what messages call it.
    json_builder(std::string_view text, const std::string& source);

    json_value build();

private:
    using event = json_reader::event;

    json_value value(event e);

    json_value::object_type object();

    json_reader reader_;
    std::shared_ptr<const std::string> source_;
    std::size_t values_ = 0;
};

REPAINT_COLD json_builder::json_builder(std::string_view text, const std::string& source)
    : reader_(text, source), source_(std::make_shared<const std::string>(source)) {}

REPAINT_COLD json_value json_builder::build() {
    json_value v = value(reader_.next());
    reader_.next();
    return v;
}

REPAINT_COLD json_value json_builder::value(event e) {
    if (++values_ > most_values) {
        reader_.refuse(joined_text({"more than ", most_values, " values"}));
    }
    json_value v;
    v.source_ = source_;
    v.line_ = reader_.line();
    using kind = json_value::kind;
    switch (e) {
    case event::begin_object:
        v.kind_ = kind::object;
        v.object_ = object();
        break;
    case event::begin_array:
        v.kind_ = kind::array;
        for (event next = reader_.next(); next != event::end_array; next = reader_.next()) {
            v.array_.push_back(value(next));
        }
        break;
    case event::string:
        v.kind_ = kind::string;
        v.string_ = reader_.text();
        break;
    case event::integer:
        v.kind_ = kind::integer;
        v.integer_ = reader_.integer();
        break;
    case event::unsigned_integer:
        v.kind_ = kind::unsigned_integer;
        v.unsigned_ = reader_.unsigned_integer();
        break;
    case event::real:
        v.kind_ = kind::real;
        v.real_ = reader_.real();
        break;
    case event::boolean:
        v.kind_ = kind::boolean;
        v.boolean_ = reader_.boolean();
        break;
    default: break;
    }
    return v;
}

REPAINT_COLD json_value::object_type json_builder::object() {
    json_value::object_type members;
    while (reader_.next() == event::key) {
        std::string key(reader_.text());
        const event next = reader_.next();
        members.emplace_back(std::move(key), value(next));
    }
    std::vector<const std::string*> keys;
    keys.reserve(members.size());
    for (const auto& m : members) {
        keys.push_back(&m.first);
    }
    std::sort(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a < *b; });
    const auto twice =
        std::adjacent_find(keys.begin(), keys.end(), [](const auto* a, const auto* b) { return *a == *b; });
    if (twice != keys.end()) {
        reader_.refuse(joined_text({"the object that ends here has the key ", in_quotes(**twice), " twice"}));
    }
    return members;
}

} // namespace detail

REPAINT_COLD json_value parse_json(std::string_view text, const std::string& source) {
    constexpr std::size_t largest = std::size_t{16} << 20U;
    if (text.size() > largest) {
        throw format_error(joined_text({source, ": ", text.size(), " bytes of JSON, accepted are up to ", largest}));
    }
    return detail::json_builder(text, source).build();
}

REPAINT_COLD json_value read_json(const std::string& path) {
    const mapped_file file(path);
    return parse_json(detail::as_text(file.bytes()), shown(path));
}

} // namespace repaint
