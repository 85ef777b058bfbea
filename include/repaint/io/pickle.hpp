#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/io/bytes.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

namespace detail {

enum class pickle_kind : std::uint8_t {
    none,
    boolean,
    integer,     // fits int64
    long_number, // does not fit int64: its little-endian bytes
    real,
    text,
    tuple,
    list,
    dictionary,
    global,  // index into pickle_globals
    storage, // index into unpickler::storage_views
    tensor,  // index into unpickler::tensors
    opaque   // not used: sets, byte strings, torch.Size, and objects of classes that are not known here
};

/// A value of a pickle. Containers, tensors and storages are numbers of objects that the unpickler owns, so values are
/// trivially copied and destroyed, however deeply a hostile pickle nests them.
struct pickle_value {
    pickle_kind kind = pickle_kind::none;
    std::uint32_t length = 0; // of text and long_number
    union {
        std::int64_t integer = 0; // also 0 and 1 of boolean, and the number of an object
        double real;
        const char* text; // in the stream
    };

    [[nodiscard]] bool is(pickle_kind k) const { return kind == k; }
    [[nodiscard]] std::size_t index() const { return static_cast<std::size_t>(integer); }
    [[nodiscard]] std::string_view string() const { return {text, length}; }
};

/// What a name in a pickle may stand for. What any other name builds is left out, and no meaning runs code of the file.
enum class pickle_meaning : std::uint8_t {
    ordered_dict,
    rebuild_tensor,
    rebuild_tensor_v2,
    rebuild_parameter,
    parameter,
    storage_type,
    dictionary, // whatever it is made with
    inert
};

struct pickle_global {
    std::string_view module;
    std::string_view name;
    pickle_meaning meaning;
    dtype type = dtype::u8; // of a storage_type
};

inline constexpr std::array<pickle_global, 25> pickle_globals = {{
    {"collections", "OrderedDict", pickle_meaning::ordered_dict},
    {"collections", "defaultdict", pickle_meaning::dictionary},
    {"torch._utils", "_rebuild_tensor", pickle_meaning::rebuild_tensor},
    {"torch._utils", "_rebuild_tensor_v2", pickle_meaning::rebuild_tensor_v2},
    {"torch._utils", "_rebuild_parameter", pickle_meaning::rebuild_parameter},
    {"torch.nn.parameter", "Parameter", pickle_meaning::parameter},
    {"torch", "FloatStorage", pickle_meaning::storage_type, dtype::f32},
    {"torch", "DoubleStorage", pickle_meaning::storage_type, dtype::f64},
    {"torch", "HalfStorage", pickle_meaning::storage_type, dtype::f16},
    {"torch", "BFloat16Storage", pickle_meaning::storage_type, dtype::bf16},
    {"torch", "LongStorage", pickle_meaning::storage_type, dtype::i64},
    {"torch", "IntStorage", pickle_meaning::storage_type, dtype::i32},
    {"torch", "ShortStorage", pickle_meaning::storage_type, dtype::i16},
    {"torch", "CharStorage", pickle_meaning::storage_type, dtype::i8},
    {"torch", "ByteStorage", pickle_meaning::storage_type, dtype::u8},
    {"torch", "BoolStorage", pickle_meaning::storage_type, dtype::boolean},
    {"torch", "ComplexFloatStorage", pickle_meaning::storage_type, dtype::complex64},
    {"torch.storage", "UntypedStorage", pickle_meaning::storage_type, dtype::u8},
    {"torch", "Size", pickle_meaning::inert},
    {"torch", "device", pickle_meaning::inert},
    {"torch", "float32", pickle_meaning::inert},
    {"torch", "float16", pickle_meaning::inert},
    {"torch", "bfloat16", pickle_meaning::inert},
    {"builtins", "set", pickle_meaning::inert},
    {"__builtin__", "set", pickle_meaning::inert},
}};

/// Reads the pickles that torch.save writes: protocol 2 with the opcodes of a state_dict, and the framing and memo
/// opcodes that protocols 3 to 5 add. It knows some twenty names and what each of them builds. Objects of other names are
/// opaque, but for the state or the items that they are given, which are read as a dictionary; it never imports or calls
/// anything. Time is linear in the stream, memory is bounded by the limits.
class unpickler {
public:
    static constexpr std::size_t most_values = std::size_t{1} << 20U;  // on the stack
    static constexpr std::size_t most_objects = std::size_t{1} << 20U; // containers, tensors, storages
    static constexpr std::size_t most_members = std::size_t{1} << 22U; // of all containers together
    static constexpr std::size_t most_memos = std::size_t{1} << 21U;
    static constexpr std::size_t deepest = 1000;
    static constexpr std::size_t longest_axes = 64;
    /// An expanded tensor may have this many elements even when its storage has fewer.
    static constexpr std::uint64_t most_expanded = std::uint64_t{1} << 20U;

    struct storage {
        std::string_view key;
        dtype type = dtype::f32;
        std::uint64_t numel = 0;
    };

    /// A storage, or a range of one (format of torch before 1.6).
    struct storage_view {
        std::size_t root = 0;
        std::uint64_t offset = 0;
        std::uint64_t numel = 0;
    };

    /// A tensor that is known to lie inside its storage view.
    struct tensor {
        std::size_t view = 0;
        std::uint64_t offset = 0;
        std::vector<std::int64_t> shape;
        std::vector<std::int64_t> strides;
    };

    using members = std::vector<std::pair<pickle_value, pickle_value>>;

    static constexpr std::size_t most_strangers = 16;

    /// The stream must outlive the unpickler and everything it read. source is what messages call it.
    unpickler(std::span<const std::byte> stream, std::string source) : stream_(stream), source_(std::move(source)) {}

    /// Reads one pickle, up to and including its STOP. Throws format_error.
    pickle_value read();

    /// The names that are not known here, as "module.name", in the order in which they first came; at most
    /// most_strangers.
    [[nodiscard]] const std::vector<std::string>& strangers() const { return strangers_; }

    /// Where the next pickle, or what follows the last one, starts.
    [[nodiscard]] std::size_t position() const { return at_; }

    [[nodiscard]] const std::vector<pickle_value>& sequence(const pickle_value& v) const;
    [[nodiscard]] const members& dictionary(const pickle_value& v) const { return dictionaries_[v.index()]; }
    [[nodiscard]] const tensor& tensor_of(const pickle_value& v) const { return tensors_[v.index()]; }
    [[nodiscard]] const std::vector<storage>& storages() const { return storages_; }
    [[nodiscard]] const std::vector<storage_view>& storage_views() const { return views_; }

    /// Number of the storage with that key.
    [[nodiscard]] std::optional<std::size_t> find_storage(std::string_view key) const;

    /// Throws format_error with the place of the last opcode.
    [[noreturn]] void refuse(const std::string& what) const;

private:
    template <class T> T next() {
        if (sizeof(T) > stream_.size() - at_) {
            refuse("the pickle is cut off");
        }
        const T value = load<T>(stream_.data() + at_);
        at_ += sizeof(T);
        return value;
    }

    std::string_view next_text(std::uint64_t length);

    std::string_view next_line();

    static pickle_value make(pickle_kind kind, std::int64_t integer = 0);

    static pickle_value make(pickle_kind kind, std::size_t index);

    pickle_value make_text(std::string_view text, pickle_kind kind = pickle_kind::text);

    void push(const pickle_value& v);

    /// Values above the last MARK are all an opcode may take.
    [[nodiscard]] std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

    pickle_value& top();

    pickle_value pop();

    /// Takes the values above the last MARK, and the mark, off the stack.
    std::vector<pickle_value> pop_marked();

    void count_object();

    void count_members(std::size_t more);

    void push_sequence(pickle_kind kind, std::vector<pickle_value> values);

    void push_tuple(std::size_t length);

    pickle_value new_dictionary();

    void append(std::span<const pickle_value> values);

    void set_items(std::span<const pickle_value> values);

    void memoize(std::size_t number);

    void recall(std::size_t number);

    /// None never carries a number: one that does marks a memo that was not stored.
    static pickle_value unset() { return make(pickle_kind::none, std::int64_t{-1}); }
    static bool is_unset(const pickle_value& v) { return v.is(pickle_kind::none) && v.integer == -1; }

    void push_global(std::string_view module, std::string_view name);

    void push_long(std::string_view bytes);

    void push_real();

    /// Executes one opcode. False at STOP.
    bool step();

    void skip_bytes(std::uint64_t length);

    pickle_value build(const pickle_global& callee, const std::vector<pickle_value>& arguments);

    /// OrderedDict() and, as Python 2 wrote it, OrderedDict([[key, value], ...]).
    pickle_value build_dictionary(const std::vector<pickle_value>& arguments);

    std::uint64_t non_negative(const pickle_value& v, const char* what) const;

    std::vector<std::int64_t> extents(const pickle_value& v, const char* what) const;

    /// _rebuild_tensor(storage, offset, size, strides) and _rebuild_tensor_v2(..., requires_grad, hooks[, metadata]).
    pickle_value build_tensor(const pickle_global& callee, const std::vector<pickle_value>& arguments);

    void check_inside(tensor& t, std::uint64_t available) const;

    /// ('storage', type, key, location, numel[, None or (view key, offset, numel)])
    pickle_value persistent(const pickle_value& id);

    std::span<const std::byte> stream_;
    std::string source_;
    std::size_t at_ = 0;
    std::size_t start_ = 0; // of the opcode being executed
    std::vector<pickle_value> stack_;
    std::vector<std::size_t> marks_;
    std::vector<pickle_value> memo_;
    std::vector<std::vector<pickle_value>> sequences_;
    std::vector<members> dictionaries_;
    std::vector<tensor> tensors_;
    std::vector<storage> storages_;
    std::vector<storage_view> views_;
    std::map<std::string_view, std::size_t> storage_of_key_;
    std::vector<std::string> strangers_;
    std::size_t objects_ = 0;
    std::size_t members_ = 0;
};

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/pickle.ipp>
#endif
