#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/json_reader.hpp>
#include <repaint/io/mapped_file.hpp>
#include <repaint/io/safetensors.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

namespace detail {

/// Limits that keep a hostile header of the largest size within 200 MB of memory. Real checkpoints stay far below.
struct safetensors_limits {
    static constexpr std::uint64_t header = 100'000'000; // the format's own
    static constexpr std::size_t tensors = 65'536;
    static constexpr std::size_t name = 256;
    static constexpr std::size_t rank = 8;
    static constexpr std::size_t metadata_entries = 65'536;
    static constexpr std::size_t metadata = std::size_t{16} << 20U;
};

inline std::optional<dtype> parse_dtype(std::string_view name) {
    for (const dtype_entry& entry : dtypes) {
        if (name == entry.name) {
            return entry.type;
        }
    }
    return std::nullopt;
}

/// The header of a safetensors file: names, types, shapes and where the bytes are.
class safetensors_header {
public:
    struct entry {
        stored_tensor tensor;
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
    };

    safetensors_header(std::string_view json, const std::string& source)
        : reader_(json, joined_text({source, ", header"}), json_reader::place::byte) {
        if (reader_.next() != event::begin_object) {
            reader_.refuse("expected an object");
        }
        bool seen_metadata = false;
        while (reader_.next() == event::key) {
            if (reader_.text() == "__metadata__") {
                if (std::exchange(seen_metadata, true)) {
                    reader_.refuse("\"__metadata__\" appears twice");
                }
                read_metadata();
            } else {
                read_tensor();
            }
        }
        reader_.next();
    }

    std::map<std::string, entry> entries;
    std::map<std::string, std::string> metadata;

private:
    using event = json_reader::event;
    using limits = safetensors_limits;

    void read_metadata() {
        if (reader_.next() != event::begin_object) {
            reader_.refuse("\"__metadata__\" must be an object of strings");
        }
        std::size_t total = 0;
        while (reader_.next() == event::key) {
            std::string key(reader_.text());
            if (reader_.next() != event::string) {
                reader_.refuse(joined_text({"\"__metadata__\": the value of ", in_quotes(key), " must be a string"}));
            }
            total += key.size() + reader_.text().size();
            if (total > limits::metadata || metadata.size() == limits::metadata_entries) {
                reader_.refuse(joined_text({"\"__metadata__\" holds more than ", limits::metadata_entries,
                                            " strings or ", limits::metadata, " bytes"}));
            }
            const auto [at, fresh] = metadata.emplace(std::move(key), reader_.text());
            if (!fresh) {
                reader_.refuse(joined_text({"\"__metadata__\": the key ", in_quotes(at->first), " appears twice"}));
            }
        }
    }

    void read_tensor() {
        const std::string_view name = reader_.text();
        if (name.size() > limits::name || name.find('\0') != std::string_view::npos) {
            reader_.refuse(joined_text(
                {"the tensor name ", in_quotes(name), " has ",
                 (name.size() > limits::name ? joined_text({name.size(), " bytes, accepted are up to ", limits::name})
                                             : std::string("a NUL character in it"))}));
        }
        if (entries.size() == limits::tensors) {
            reader_.refuse(joined_text({"more than ", limits::tensors, " tensors"}));
        }
        const auto [at, fresh] = entries.try_emplace(std::string(name));
        if (!fresh) {
            reader_.refuse(joined_text({"the tensor ", in_quotes(at->first), " appears twice"}));
        }
        name_ = &at->first;
        entry& e = at->second;
        if (reader_.next() != event::begin_object) {
            refuse("must be an object with \"dtype\", \"shape\" and \"data_offsets\"");
        }
        bool has_type = false;
        bool has_shape = false;
        bool has_offsets = false;
        while (reader_.next() == event::key) {
            const std::string_view key = reader_.text();
            bool* const has = key == "dtype"          ? &has_type
                              : key == "shape"        ? &has_shape
                              : key == "data_offsets" ? &has_offsets
                                                      : nullptr;
            if (has == nullptr) {
                refuse(joined_text({"unknown key ", in_quotes(key)}));
            }
            if (std::exchange(*has, true)) {
                refuse(joined_text({"the key ", in_quotes(key), " appears twice"}));
            }
            if (has == &has_type) {
                read_type(e);
            } else if (has == &has_shape) {
                read_shape(e);
            } else {
                read_offsets(e);
            }
        }
        if (!has_type || !has_shape || !has_offsets) {
            refuse(std::string("has no \"") + (!has_type ? "dtype" : (!has_shape ? "shape" : "data_offsets")) + '"');
        }
        check_size(e);
    }

    void read_type(entry& e) {
        if (reader_.next() != event::string) {
            refuse("\"dtype\" must be a string");
        }
        const std::optional<dtype> type = parse_dtype(reader_.text());
        if (!type) {
            refuse(joined_text({"unknown dtype ", in_quotes(reader_.text())}));
        }
        e.tensor.type = *type;
    }

    void read_shape(entry& e) {
        if (reader_.next() != event::begin_array) {
            refuse("\"shape\" must be an array");
        }
        for (event next = reader_.next(); next != event::end_array; next = reader_.next()) {
            if (e.tensor.shape.size() == limits::rank) {
                refuse(joined_text({"\"shape\" has more than ", limits::rank, " extents"}));
            }
            const std::uint64_t extent = whole(next, "\"shape\"");
            if (extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
                refuse(joined_text({"the extent ", extent, " is too large"}));
            }
            e.tensor.shape.push_back(static_cast<std::int64_t>(extent));
        }
    }

    void read_offsets(entry& e) {
        if (reader_.next() != event::begin_array) {
            refuse("\"data_offsets\" must be an array of two offsets");
        }
        e.begin = whole(reader_.next(), "\"data_offsets\"");
        e.end = whole(reader_.next(), "\"data_offsets\"");
        if (reader_.next() != event::end_array) {
            refuse("\"data_offsets\" must be an array of two offsets");
        }
    }

    std::uint64_t whole(event found, const char* what) {
        if (found == event::unsigned_integer) {
            return reader_.unsigned_integer();
        }
        if (found != event::integer || reader_.integer() < 0) {
            refuse(joined_text({std::string(what), " must hold non-negative integers only"}));
        }
        return static_cast<std::uint64_t>(reader_.integer());
    }

    void check_size(entry& e) {
        stored_tensor& t = e.tensor;
        std::uint64_t elements = 1;
        std::uint64_t total_bits = 0;
        bool fits = true;
        for (const std::int64_t extent : t.shape) {
            fits = fits && checked_multiply(elements, static_cast<std::uint64_t>(extent), elements);
        }
        if (!fits || !checked_multiply(elements, bits(t.type), total_bits)) {
            refuse(joined_text({"shape ", to_string(t.shape), " overflows"}));
        }
        if (total_bits % 8 != 0) {
            refuse(
                joined_text({"shape ", to_string(t.shape), " of ", to_string(t.type), " does not fill whole bytes"}));
        }
        if (e.end < e.begin) {
            refuse(joined_text({"data_offsets [", e.begin, ", ", e.end, "] run backwards"}));
        }
        if (e.end - e.begin != total_bits / 8) {
            refuse(joined_text({"shape ", to_string(t.shape), " of ", to_string(t.type), " needs ", total_bits / 8,
                                " bytes, data_offsets [", e.begin, ", ", e.end, "] give ", e.end - e.begin}));
        }
        t.strides = contiguous_strides(t.shape);
    }

    [[noreturn]] void refuse(const std::string& what) const {
        reader_.refuse(joined_text({"tensor ", in_quotes(*name_), ": ", what}));
    }

    json_reader reader_;
    const std::string* name_ = nullptr;
};

} // namespace detail

REPAINT_COLD checkpoint read_safetensors(const std::shared_ptr<const mapped_file>& file) {
    using detail::refuse;
    const std::string& path = file->path();
    const std::span<const std::byte> bytes = file->bytes();
    if (bytes.size() < 8) {
        refuse(path, joined_text({"has ", bytes.size(), " bytes, a safetensors file starts with 8 of header length"}));
    }
    const auto length = detail::load<std::uint64_t>(bytes.data());
    if (length > detail::safetensors_limits::header) {
        refuse(path, joined_text({"the safetensors header claims ", length, " bytes, accepted are up to ",
                                  detail::safetensors_limits::header}));
    }
    if (length > bytes.size() - 8) {
        refuse(path, joined_text({"the safetensors header claims ", length, " bytes, the file has ", bytes.size() - 8,
                                  " after the length"}));
    }
    const std::span<const std::byte> data = bytes.subspan(8 + static_cast<std::size_t>(length));
    detail::safetensors_header header(detail::as_text(bytes.subspan(8, static_cast<std::size_t>(length))), shown(path));

    using item = std::map<std::string, detail::safetensors_header::entry>::value_type;
    std::vector<item*> in_order;
    in_order.reserve(header.entries.size());
    for (item& i : header.entries) {
        in_order.push_back(&i);
    }
    std::sort(in_order.begin(), in_order.end(), [](const item* a, const item* b) {
        return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
    });
    std::uint64_t reached = 0;
    for (const item* i : in_order) {
        if (i->second.begin != reached) {
            refuse(path, joined_text({"tensor ", in_quotes(i->first), " starts at data offset ", i->second.begin,
                                      ", the tensor before it ends at ", reached,
                                      ": there may be neither holes nor overlaps"}));
        }
        reached = i->second.end;
    }
    if (reached != data.size()) {
        refuse(path, joined_text({"the tensors need ", reached, " bytes of data, the file has ", data.size()}));
    }

    checkpoint result;
    for (auto& [name, entry] : header.entries) {
        entry.tensor.data = data.data() + entry.begin;
        entry.tensor.owner = file;
        entry.tensor.done_with = detail::forget_mapped;
    }
    while (!header.entries.empty()) {
        auto node = header.entries.extract(header.entries.begin());
        result.tensors.emplace_hint(result.tensors.end(), std::move(node.key()), std::move(node.mapped().tensor));
    }
    result.metadata = std::move(header.metadata);
    result.format = "safetensors";
    result.path = path;
    return result;
}

REPAINT_COLD checkpoint read_safetensors(const std::string& path) { return read_safetensors(map_file(path)); }

REPAINT_COLD checkpoint read_safetensors_index(const std::string& path,
                                               checkpoint (*read)(const std::shared_ptr<const mapped_file>&)) {
    using detail::refuse;
    namespace fs = std::filesystem;
    constexpr std::size_t most_files = 4096;

    const json_value index = read_json(path);
    if (!index.is_object() || !index.contains("weight_map")) {
        refuse(path, "is not a safetensors index: the key \"weight_map\" is missing");
    }
    std::map<std::string, std::vector<const std::string*>> names_in;
    for (const auto& [name, file] : index.object("weight_map")) {
        names_in[file.as_string()].push_back(&name);
    }
    if (names_in.size() > most_files) {
        refuse(path, joined_text({"names ", names_in.size(), " files, accepted are up to ", most_files}));
    }

    std::error_code failed;
    const fs::path real_index = fs::canonical(path, failed);
    const fs::path folder = failed ? fs::path() : fs::canonical(fs::absolute(path).parent_path(), failed);
    if (failed) {
        refuse(path, joined_text({"cannot be resolved: ", failed.message()}));
    }
    checkpoint result;
    result.format = "sharded safetensors";
    result.path = path;
    std::size_t unlisted = 0;
    for (const auto& [file, names] : names_in) {
        const bool plain = !file.empty() && file != "." && file != ".." &&
                           file.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
        if (!plain) {
            refuse(path, joined_text({"the weight map names the file ", in_quotes(file),
                                      ", accepted are names of files beside the index"}));
        }
        const fs::path shard = fs::canonical(folder / file, failed);
        if (failed) {
            refuse(path, joined_text({"the weight map names the file ", in_quotes(file),
                                      ", which cannot be found: ", failed.message()}));
        }
        if (shard.parent_path() != folder && shard.parent_path() != real_index.parent_path()) {
            refuse(path, joined_text({"the weight map names the file ", in_quotes(file),
                                      ", which is a link out of the folder"}));
        }
        const auto mapped = map_file(folder / file);
        checkpoint part = read(mapped);
        result.format = joined_text({"sharded ", part.format});
        unlisted += part.tensors.size();
        for (const std::string* name : names) {
            auto node = part.tensors.extract(*name);
            if (node.empty()) {
                refuse(path, joined_text({"the weight map puts tensor ", in_quotes(*name), " into ", in_quotes(file),
                                          ", which does not have it"}));
            }
            result.tensors.insert(std::move(node));
            --unlisted;
        }
        for (auto& [key, value] : part.metadata) {
            result.metadata.try_emplace(key, std::move(value));
        }
    }
    if (unlisted != 0) {
        result.notes.push_back(
            joined_text({unlisted, " tensors of the files are not listed in the index and were left out"}));
    }
    return result;
}

REPAINT_COLD void write_safetensors(const std::string& path, const std::map<std::string, stored_tensor>& tensors,
                                    const std::map<std::string, std::string>& metadata) {
    using limits = detail::safetensors_limits;
    using item = std::map<std::string, stored_tensor>::value_type;
    if (tensors.size() > limits::tensors) {
        throw std::invalid_argument(
            joined_text({"write_safetensors: ", tensors.size(), " tensors, accepted are up to ", limits::tensors}));
    }
    const auto length_of = [](const item& i) { return i.second.numel() * bits(i.second.type) / 8; };
    std::vector<const item*> in_order;
    for (const item& i : tensors) {
        if (i.first == "__metadata__" || !is_utf8(i.first) || i.first.find('\0') != std::string::npos ||
            i.first.size() > limits::name) {
            throw std::invalid_argument(
                joined_text({"write_safetensors: ", in_quotes(i.first), " cannot name a tensor"}));
        }
        if (i.second.shape.size() > limits::rank) {
            throw std::invalid_argument(
                joined_text({"write_safetensors: tensor ", in_quotes(i.first), " has ", i.second.shape.size(),
                             " axes, accepted are up to ", limits::rank}));
        }
        if (!i.second.is_contiguous()) {
            throw std::invalid_argument(
                joined_text({"write_safetensors: tensor ", in_quotes(i.first), " is not contiguous"}));
        }
        in_order.push_back(&i);
    }
    std::stable_sort(in_order.begin(), in_order.end(),
                     [](const item* a, const item* b) { return bits(a->second.type) > bits(b->second.type); });

    std::string header = "{";
    if (!metadata.empty()) {
        header += "\"__metadata__\":{";
        std::size_t total = 0;
        for (const auto& [key, value] : metadata) {
            total += key.size() + value.size();
            if (!is_utf8(key) || !is_utf8(value)) {
                throw std::invalid_argument(
                    joined_text({"write_safetensors: the metadata ", in_quotes(key), " is not UTF-8"}));
            }
            header += joined_text({(header.back() == '{' ? "" : ","), json_string(key), ":", json_string(value)});
        }
        header += "}";
        if (metadata.size() > limits::metadata_entries || total > limits::metadata) {
            throw std::invalid_argument(joined_text({"write_safetensors: ", metadata.size(), " metadata strings of ",
                                                     total, " bytes, accepted are up to ", limits::metadata_entries,
                                                     " of ", limits::metadata, " bytes"}));
        }
    }
    std::size_t offset = 0;
    for (const item* i : in_order) {
        const std::size_t length = length_of(*i);
        header += header.size() == 1 ? "" : ",";
        header += joined_text({json_string(i->first), ":{\"dtype\":\"", to_string(i->second.type), "\",\"shape\":["});
        for (std::size_t axis = 0; axis < i->second.shape.size(); ++axis) {
            header += axis == 0 ? "" : ",";
            header += std::to_string(i->second.shape[axis]);
        }
        header += joined_text({"],\"data_offsets\":[", offset, ",", offset + length, "]}"});
        offset += length;
    }
    header += "}";
    header.append((8 - header.size() % 8) % 8, ' ');
    if (header.size() > limits::header) {
        throw std::invalid_argument(joined_text({"write_safetensors: the header would have ", header.size(),
                                                 " bytes, accepted are up to ", limits::header}));
    }

    const std::uint64_t length = header.size();
    atomic_file file(path);
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(detail::as_bytes(header));
    for (const item* i : in_order) {
        file.write({i->second.data, length_of(*i)});
    }
    file.commit();
}

} // namespace repaint
