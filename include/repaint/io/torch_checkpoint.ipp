#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/mapped_file.hpp>
#include <repaint/io/pickle.hpp>
#include <repaint/io/stored_tensor.hpp>
#include <repaint/io/torch_checkpoint.hpp>
#include <repaint/io/zip_archive.hpp>

namespace repaint {

namespace detail {

/// Turns what an unpickler read into named tensors: joins the keys of nested dictionaries, and the numbers in lists, with
/// dots.
class state_dict_builder {
public:
    static constexpr std::size_t most_tensors = 65'536;
    static constexpr std::size_t longest_name = 256;
    static constexpr int deepest = 64;

    /// data holds the bytes of each storage of the unpickler.
    state_dict_builder(const unpickler& pickle, const std::vector<std::span<const std::byte>>& data,
                       std::shared_ptr<const mapped_file> file)
        : pickle_(pickle), data_(data), file_(std::move(file)) {}

    checkpoint build(const pickle_value& root, std::string format) {
        result_.format = std::move(format);
        result_.path = file_->path();
        if (!is_container(root)) {
            refuse(result_.path, joined_text({"holds a single ", root.is(pickle_kind::tensor) ? "tensor" : "object",
                                              strangers(" (", ")"), ", expected a dictionary of tensors"}));
        }
        std::string name;
        collect(root, name, 0);
        if (result_.tensors.empty()) {
            refuse(result_.path, joined_text({"holds no tensors", strangers(" (but ", ")")}));
        }
        if (left_out_ != 0) {
            result_.notes.push_back(joined_text({"entries that are not tensors were left out: ", left_out_}));
        }
        if (!pickle_.strangers().empty()) {
            result_.notes.push_back(
                joined_text({"what is not weights was left out, and nothing of it run: ", strangers("", "")}));
        }
        return std::move(result_);
    }

private:
    static bool is_sequence(const pickle_value& v) { return v.is(pickle_kind::list) || v.is(pickle_kind::tuple); }
    static bool is_container(const pickle_value& v) { return v.is(pickle_kind::dictionary) || is_sequence(v); }

    /// The first names of classes that are not known here, between two texts; empty when there are none.
    [[nodiscard]] std::string strangers(const char* before, const char* after) const {
        constexpr std::size_t most = 3;
        const auto& names = pickle_.strangers();
        std::string text;
        for (std::size_t i = 0; i < std::min(most, names.size()); ++i) {
            text += joined_text({i == 0 ? before : ", ", "objects of ", in_quotes(names[i])});
        }
        return names.empty() ? text : joined_text({text, names.size() > most ? ", ..." : "", after});
    }

    /// Counts an entry that is looked at: a few bytes of pickle can put one dictionary into itself or a thousand times
    /// into others.
    void visit() {
        if (++visited_ > unpickler::most_members) {
            refuse(result_.path, joined_text({"nests more than ", unpickler::most_members, " entries"}));
        }
    }

    void collect(const pickle_value& container, std::string& name, int depth) {
        if (depth == deepest) {
            refuse(result_.path, joined_text({"nests dictionaries more than ", deepest, " levels deep"}));
        }
        if (is_sequence(container)) {
            const auto& values = pickle_.sequence(container);
            for (std::size_t i = 0; i < values.size(); ++i) {
                take(std::to_string(i), values[i], name, depth);
            }
            return;
        }
        for (const auto& [key, value] : pickle_.dictionary(container)) {
            if (key.is(pickle_kind::text)) {
                take(key.string(), value, name, depth);
            } else if (key.is(pickle_kind::integer)) {
                take(std::to_string(key.integer), value, name, depth);
            } else {
                ++left_out_;
            }
        }
    }

    /// An entry of a container, of which `name` is what its own name begins with.
    void take(std::string_view key, const pickle_value& value, std::string& name, int depth) {
        visit();
        const bool is_tensor = value.is(pickle_kind::tensor);
        if (!is_tensor && !is_container(value)) {
            ++left_out_;
            return;
        }
        // A module that was saved whole keeps its tensors in these, which no state_dict shows.
        if (!is_tensor && (key == "_modules" || key == "_parameters" || key == "_buffers")) {
            collect(value, name, depth + 1);
            return;
        }
        const std::size_t length = name.size();
        const std::size_t longest = longest_name - length - (is_tensor ? 0 : 1);
        if (length == longest_name || key.size() > longest || !is_utf8(key) ||
            key.find('\0') != std::string_view::npos) {
            refuse(result_.path,
                   joined_text({"the tensor name ", in_quotes(name + std::string(key.substr(0, longest_name))),
                                " is not UTF-8 text of up to ", longest_name, " bytes"}));
        }
        name += key;
        if (is_tensor) {
            add(name, pickle_.tensor_of(value));
        } else {
            name += '.';
            collect(value, name, depth + 1);
        }
        name.resize(length);
    }

    void add(const std::string& name, const unpickler::tensor& t) {
        if (result_.tensors.size() == most_tensors) {
            refuse(result_.path, joined_text({"holds more than ", most_tensors, " tensors"}));
        }
        const unpickler::storage_view& view = pickle_.storage_views()[t.view];
        const unpickler::storage& storage = pickle_.storages()[view.root];
        stored_tensor stored;
        stored.shape = t.shape;
        stored.type = storage.type;
        stored.strides = t.strides;
        stored.data = data_[view.root].data() + (view.offset + t.offset) * (bits(storage.type) / 8);
        stored.owner = file_;
        stored.done_with = forget_mapped;
        if (!result_.tensors.emplace(name, std::move(stored)).second) {
            refuse(result_.path, joined_text({"the tensor ", in_quotes(name), " appears twice"}));
        }
    }

    const unpickler& pickle_;
    const std::vector<std::span<const std::byte>>& data_;
    std::shared_ptr<const mapped_file> file_;
    checkpoint result_;
    std::size_t visited_ = 0;
    std::size_t left_out_ = 0;
};

/// The checksums of weights are checked in files up to this size, in a fraction of a second. In larger files that would
/// read every byte before the first weight is used.
inline constexpr std::size_t most_summed_bytes = std::size_t{1} << 28U;

/// The zip container of torch 1.6 and later: <root>/data.pkl describes the object, <root>/data/<key> hold the storages.
inline checkpoint read_torch_zip(const std::shared_ptr<const mapped_file>& file) {
    const std::string& path = file->path();
    const zip_archive archive(file->bytes(), path);
    constexpr std::string_view suffix = "/data.pkl";
    const zip_entry* pickle_entry = nullptr;
    for (const zip_entry& e : archive.entries()) {
        if (e.name.size() > suffix.size() && e.name.ends_with(suffix)) {
            if (pickle_entry != nullptr) {
                refuse(path, joined_text({"has two descriptions, ", in_quotes(pickle_entry->name), " and ",
                                          in_quotes(e.name)}));
            }
            pickle_entry = &e;
        }
    }
    if (pickle_entry == nullptr) {
        refuse(path, "is a zip archive without an entry \".../data.pkl\", so torch.save did not write it");
    }
    const std::string root(pickle_entry->name.substr(0, pickle_entry->name.size() - suffix.size()));
    if (archive.find(joined_text({root, "/constants.pkl"})) != nullptr) {
        refuse(path, "is a TorchScript program, accepted are weights: torch.save(torch.jit.load(file).state_dict(), "
                     "other_file)");
    }
    for (const zip_entry& e : archive.entries()) {
        if (e.method != 0) {
            refuse(path, joined_text({"the entry ", in_quotes(e.name), " is compressed (method ", e.method,
                                      "), accepted are stored entries as torch.save writes them"}));
        }
    }
    if (const zip_entry* const order = archive.find(joined_text({root, "/byteorder"})); order != nullptr) {
        if (as_text(order->data) != "little") {
            refuse(path,
                   joined_text({"has the byte order ", in_quotes(as_text(order->data)), ", accepted is \"little\""}));
        }
    }
    // torch.serialization.set_crc32_options(False) writes 0 for every entry: no checksum, nothing to check.
    const auto check_sum = [&path](const zip_entry& e) {
        if (e.crc != 0 && crc32(e.data) != e.crc) {
            refuse(path, joined_text({"the checksum of ", in_quotes(e.name), " does not match, the file is damaged"}));
        }
    };
    check_sum(*pickle_entry);

    unpickler pickle(pickle_entry->data, joined_text({shown(path), ", ", printable(pickle_entry->name)}));
    const pickle_value object = pickle.read();
    if (pickle.position() != pickle_entry->data.size()) {
        refuse(path, joined_text({in_quotes(pickle_entry->name), " goes on after its pickle"}));
    }
    std::vector<std::span<const std::byte>> data;
    data.reserve(pickle.storages().size());
    for (const unpickler::storage& s : pickle.storages()) {
        const zip_entry* const e = archive.find(joined_text({root, "/data/", std::string(s.key)}));
        if (e == nullptr) {
            refuse(path, joined_text({"the entry ", in_quotes(joined_text({root, "/data/", std::string(s.key)})),
                                      " is missing"}));
        }
        std::uint64_t needed = 0;
        if (!checked_multiply(s.numel, bits(s.type) / 8, needed) || needed > e->data.size()) {
            refuse(path, joined_text({"the entry ", in_quotes(e->name), " has ", e->data.size(), " bytes, too few for ",
                                      s.numel, " elements of ", to_string(s.type)}));
        }
        if (file->bytes().size() <= most_summed_bytes) {
            check_sum(*e);
        }
        data.push_back(e->data);
    }
    return state_dict_builder(pickle, data, file).build(object, "torch zip");
}

/// The format before torch 1.6: five pickles (a magic number, 1001, the writer's sizes, the object, the storage keys),
/// then each storage as an int64 count and its elements.
inline checkpoint read_torch_stream(const std::shared_ptr<const mapped_file>& file) {
    constexpr std::string_view magic = "\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";
    const std::string& path = file->path();
    const std::span<const std::byte> bytes = file->bytes();
    unpickler pickle(bytes, shown(path));
    const pickle_value first = pickle.read();
    if (!first.is(pickle_kind::long_number) || first.string() != magic) {
        refuse(path, "is a pickle, but not one that torch.save wrote");
    }
    const pickle_value version = pickle.read();
    if (!version.is(pickle_kind::integer) || version.integer != 1001) {
        refuse(path, "is in a format of torch.save other than 1001");
    }
    const pickle_value writer = pickle.read();
    if (!writer.is(pickle_kind::dictionary)) {
        refuse(path, "does not say on which system it was written");
    }
    for (const auto& [key, value] : pickle.dictionary(writer)) {
        if (key.is(pickle_kind::text) && key.string() == "little_endian" &&
            !(value.is(pickle_kind::boolean) && value.integer == 1)) {
            refuse(path, "has the byte order \"big\", accepted is \"little\"");
        }
    }
    const pickle_value object = pickle.read();
    const pickle_value keys = pickle.read();
    if (!keys.is(pickle_kind::list)) {
        refuse(path, "does not list its storages");
    }

    std::vector<std::span<const std::byte>> data(pickle.storages().size());
    std::vector<bool> present(data.size(), false);
    std::size_t at = pickle.position();
    for (const pickle_value& key : pickle.sequence(keys)) {
        const std::optional<std::size_t> number =
            key.is(pickle_kind::text) ? pickle.find_storage(key.string()) : std::nullopt;
        if (!number || present[*number]) {
            refuse(path, joined_text({"lists a storage ",
                                      (key.is(pickle_kind::text) ? in_quotes(key.string()) : std::string()),
                                      " twice or without a tensor"}));
        }
        const unpickler::storage& s = pickle.storages()[*number];
        std::uint64_t needed = 0;
        if (bytes.size() - at < 8 || !checked_multiply(s.numel, bits(s.type) / 8, needed) ||
            needed > bytes.size() - at - 8) {
            refuse(path, joined_text({"is cut off in storage ", in_quotes(s.key)}));
        }
        const auto count = load<std::uint64_t>(bytes.data() + at);
        if (count != s.numel) {
            refuse(path, joined_text({"storage ", in_quotes(s.key), " has ", count, " elements, expected ", s.numel}));
        }
        data[*number] = bytes.subspan(at + 8, static_cast<std::size_t>(needed));
        present[*number] = true;
        at += 8 + static_cast<std::size_t>(needed);
    }
    if (const auto missing = std::find(present.begin(), present.end(), false); missing != present.end()) {
        const auto number = static_cast<std::size_t>(missing - present.begin());
        refuse(path, joined_text({"storage ", in_quotes(pickle.storages()[number].key), " is missing"}));
    }
    if (at != bytes.size()) {
        refuse(path, joined_text({"goes on for ", bytes.size() - at, " bytes after its last storage"}));
    }
    return state_dict_builder(pickle, data, file).build(object, "torch legacy");
}

} // namespace detail

REPAINT_COLD checkpoint read_torch_checkpoint(const std::shared_ptr<const mapped_file>& file) {
    const std::string& path = file->path();
    const std::string_view text = detail::as_text(file->bytes());
    if (text.starts_with("PK")) {
        return detail::read_torch_zip(file);
    }
    if (text.starts_with('\x80')) {
        return detail::read_torch_stream(file);
    }
    if (text.starts_with("PYTORCH1")) {
        detail::refuse(
            path, "is in torch's format \"PYTORCH1\", load it with an old torch and save it again with torch.save");
    }
    if (text.size() > 262 && text.substr(257, 5) == "ustar") {
        detail::refuse(path,
                       "is a tar archive, torch's format before 0.1.10: load it with torch and save it again with "
                       "torch.save");
    }
    detail::refuse(path, joined_text({"starts with the bytes ",
                                      detail::hexadecimal(file->bytes().first(std::min<std::size_t>(8, text.size()))),
                                      ", which torch.save does not write"}));
}

REPAINT_COLD checkpoint read_torch_checkpoint(const std::string& path) { return read_torch_checkpoint(map_file(path)); }

} // namespace repaint
