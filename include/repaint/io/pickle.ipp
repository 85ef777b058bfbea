#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/pickle.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD pickle_value unpickler::read() {
    stack_.clear();
    marks_.clear();
    memo_.clear();
    start_ = at_;
    if (at_ >= stream_.size() || next<std::uint8_t>() != 0x80U) {
        refuse("a pickle of protocol 2 to 5 is expected here");
    }
    at_ = start_;
    while (step()) {
    }
    if (!marks_.empty() || stack_.size() != 1) {
        refuse(joined_text({"the pickle stops with ", stack_.size(), " values, expected one"}));
    }
    return stack_.back();
}

REPAINT_COLD const std::vector<pickle_value>& unpickler::sequence(const pickle_value& v) const {
    return sequences_[v.index()];
}

REPAINT_COLD std::optional<std::size_t> unpickler::find_storage(std::string_view key) const {
    const auto at = storage_of_key_.find(key);
    return at == storage_of_key_.end() ? std::nullopt : std::optional<std::size_t>(at->second);
}

REPAINT_COLD void unpickler::refuse(const std::string& what) const {
    throw format_error(joined_text({source_, ", byte ", start_, ": ", what}));
}

REPAINT_COLD std::string_view unpickler::next_text(std::uint64_t length) {
    if (length > stream_.size() - at_) {
        refuse(joined_text({"a string of ", length, " bytes runs beyond the end of the pickle"}));
    }
    const auto text = as_text(stream_.subspan(at_, static_cast<std::size_t>(length)));
    at_ += text.size();
    return text;
}

REPAINT_COLD std::string_view unpickler::next_line() {
    constexpr std::size_t longest = 256;
    const std::string_view rest = as_text(stream_.subspan(at_, std::min(longest, stream_.size() - at_)));
    const std::size_t length = rest.find('\n');
    if (length == std::string_view::npos) {
        refuse(joined_text({"a name of a GLOBAL has no end within ", longest, " bytes"}));
    }
    at_ += length + 1;
    return rest.substr(0, length);
}

REPAINT_COLD pickle_value unpickler::make(pickle_kind kind, std::int64_t integer) {
    pickle_value v;
    v.kind = kind;
    v.integer = integer;
    return v;
}

REPAINT_COLD pickle_value unpickler::make(pickle_kind kind, std::size_t index) {
    return make(kind, static_cast<std::int64_t>(index));
}

REPAINT_COLD pickle_value unpickler::make_text(std::string_view text, pickle_kind kind) {
    if (text.size() > 0xFFFFFFFFU) {
        refuse(joined_text({"a string of ", text.size(), " bytes"}));
    }
    pickle_value v;
    v.kind = kind;
    v.length = static_cast<std::uint32_t>(text.size());
    v.text = text.data();
    return v;
}

REPAINT_COLD void unpickler::push(const pickle_value& v) {
    if (stack_.size() == most_values) {
        refuse(joined_text({"more than ", most_values, " values on the stack"}));
    }
    stack_.push_back(v);
}

REPAINT_COLD pickle_value& unpickler::top() {
    if (stack_.size() <= floor()) {
        refuse("an opcode needs more values than the stack has");
    }
    return stack_.back();
}

REPAINT_COLD pickle_value unpickler::pop() {
    const pickle_value v = top();
    stack_.pop_back();
    return v;
}

REPAINT_COLD std::vector<pickle_value> unpickler::pop_marked() {
    if (marks_.empty()) {
        refuse("an opcode needs a MARK, and there is none");
    }
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    const std::vector<pickle_value> values(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return values;
}

REPAINT_COLD void unpickler::count_object() {
    if (++objects_ > most_objects) {
        refuse(joined_text({"more than ", most_objects, " objects"}));
    }
}

REPAINT_COLD void unpickler::count_members(std::size_t more) {
    members_ += more;
    if (members_ > most_members) {
        refuse(joined_text({"containers with more than ", most_members, " members in all"}));
    }
}

REPAINT_COLD void unpickler::push_sequence(pickle_kind kind, std::vector<pickle_value> values) {
    count_object();
    count_members(values.size());
    push(make(kind, sequences_.size()));
    sequences_.push_back(std::move(values));
}

REPAINT_COLD void unpickler::push_tuple(std::size_t length) {
    std::vector<pickle_value> values(length);
    for (std::size_t i = length; i-- > 0;) {
        values[i] = pop();
    }
    push_sequence(pickle_kind::tuple, std::move(values));
}

REPAINT_COLD pickle_value unpickler::new_dictionary() {
    count_object();
    dictionaries_.emplace_back();
    return make(pickle_kind::dictionary, dictionaries_.size() - 1);
}

REPAINT_COLD void unpickler::append(std::span<const pickle_value> values) {
    const pickle_value& list = top();
    if (list.is(pickle_kind::opaque)) {
        return;
    }
    if (!list.is(pickle_kind::list)) {
        refuse("something is appended to what is not a list");
    }
    count_members(values.size());
    auto& sequence = sequences_[list.index()];
    sequence.insert(sequence.end(), values.begin(), values.end());
}

REPAINT_COLD void unpickler::set_items(std::span<const pickle_value> values) {
    if (values.size() % 2 != 0) {
        refuse("items are set from an odd number of values");
    }
    if (top().is(pickle_kind::opaque)) { // a kind of dictionary that is not known here
        top() = new_dictionary();
    }
    const pickle_value& target = top();
    if (!target.is(pickle_kind::dictionary)) {
        refuse("items are set in what is not a dictionary");
    }
    count_members(values.size());
    auto& dictionary = dictionaries_[target.index()];
    for (std::size_t i = 0; i < values.size(); i += 2) {
        dictionary.emplace_back(values[i], values[i + 1]);
    }
}

REPAINT_COLD void unpickler::memoize(std::size_t number) {
    const pickle_value v = top();
    if (number >= most_memos) {
        refuse(joined_text({"memo number ", number, ", accepted are numbers below ", most_memos}));
    }
    if (number >= memo_.size()) {
        memo_.resize(number + 1, unset());
    }
    memo_[number] = v;
}

REPAINT_COLD void unpickler::recall(std::size_t number) {
    if (number >= memo_.size() || is_unset(memo_[number])) {
        refuse(joined_text({"memo number ", number, " was never stored"}));
    }
    push(memo_[number]);
}

REPAINT_COLD void unpickler::push_global(std::string_view module, std::string_view name) {
    for (std::size_t i = 0; i < pickle_globals.size(); ++i) {
        if (pickle_globals[i].module == module && pickle_globals[i].name == name) {
            push(make(pickle_kind::global, i));
            return;
        }
    }
    const std::string stranger = joined_text({module.substr(0, 256), ".", name.substr(0, 256)});
    if (strangers_.size() < most_strangers &&
        std::find(strangers_.begin(), strangers_.end(), stranger) == strangers_.end()) {
        strangers_.push_back(stranger);
    }
    push(make(pickle_kind::opaque));
}

REPAINT_COLD void unpickler::push_long(std::string_view bytes) {
    if (bytes.size() > 8) {
        push(make_text(bytes, pickle_kind::long_number));
        return;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    }
    const bool negative = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80U) != 0;
    if (negative && bytes.size() < 8) {
        value |= ~std::uint64_t{0} << (8 * bytes.size());
    }
    push(make(pickle_kind::integer, static_cast<std::int64_t>(value)));
}

REPAINT_COLD void unpickler::push_real() {
    std::uint64_t big_endian = 0;
    for (int i = 0; i < 8; ++i) {
        big_endian = (big_endian << 8U) | next<std::uint8_t>();
    }
    pickle_value v;
    v.kind = pickle_kind::real;
    v.real = std::bit_cast<double>(big_endian);
    push(v);
}

REPAINT_COLD bool unpickler::step() {
    start_ = at_;
    const auto opcode = next<std::uint8_t>();
    switch (opcode) {
    case 0x80: { // PROTO
        const auto protocol = next<std::uint8_t>();
        if (protocol < 2 || protocol > 5) {
            refuse(joined_text({"pickle protocol ", protocol, ", accepted are 2 to 5"}));
        }
        break;
    }
    case 0x95: next<std::uint64_t>(); break; // FRAME: its length only helps buffering
    case '.': return false;
    case '(':
        if (marks_.size() == deepest) {
            refuse(joined_text({"nested more than ", deepest, " levels deep"}));
        }
        marks_.push_back(stack_.size());
        break;
    case 'c': {
        const std::string_view module = next_line();
        push_global(module, next_line());
        break;
    }
    case 0x93: { // STACK_GLOBAL
        const pickle_value name = pop();
        const pickle_value module = pop();
        if (!name.is(pickle_kind::text) || !module.is(pickle_kind::text)) {
            refuse("a name is expected to be two strings");
        }
        push_global(module.string(), name.string());
        break;
    }
    case 'R':    // REDUCE
    case 0x81: { // NEWOBJ
        const pickle_value arguments = pop();
        const pickle_value callee = pop();
        if (callee.is(pickle_kind::opaque)) {
            push(callee);
            break;
        }
        if (!callee.is(pickle_kind::global) || !arguments.is(pickle_kind::tuple)) {
            refuse("something is built from what is not a name and a tuple");
        }
        push(build(pickle_globals[callee.index()], sequence(arguments)));
        break;
    }
    case 0x92: { // NEWOBJ_EX
        pop();
        pop();
        if (!pop().is(pickle_kind::opaque)) {
            refuse("something known is built with named arguments");
        }
        push(make(pickle_kind::opaque));
        break;
    }
    case 'b': { // BUILD: the state of an OrderedDict or Parameter holds nothing of the tensors, that of a module does
        const pickle_value state = pop();
        pickle_value& object = top();
        if (object.is(pickle_kind::opaque) && state.is(pickle_kind::dictionary)) {
            object = state;
            break;
        }
        if (!object.is(pickle_kind::dictionary) && !object.is(pickle_kind::tensor) && !object.is(pickle_kind::opaque)) {
            refuse("a state is given to what has none");
        }
        break;
    }
    case 'Q': push(persistent(pop())); break;
    case 'a': {
        const pickle_value value = pop();
        append(std::span(&value, 1));
        break;
    }
    case 'e':  // APPENDS
    case 0x90: // ADDITEMS
        append(pop_marked());
        break;
    case 's': {
        std::array<pickle_value, 2> item;
        item[1] = pop();
        item[0] = pop();
        set_items(item);
        break;
    }
    case 'u': set_items(pop_marked()); break;
    case ')': push_sequence(pickle_kind::tuple, {}); break;
    case 't': push_sequence(pickle_kind::tuple, pop_marked()); break;
    case 0x85: push_tuple(1); break;
    case 0x86: push_tuple(2); break;
    case 0x87: push_tuple(3); break;
    case ']': push_sequence(pickle_kind::list, {}); break;
    case '}': push(new_dictionary()); break;
    case 0x8F: push(make(pickle_kind::opaque)); break; // EMPTY_SET
    case 0x91:                                         // FROZENSET
        pop_marked();
        push(make(pickle_kind::opaque));
        break;
    case '0': pop(); break;        // POP
    case '1': pop_marked(); break; // POP_MARK
    case '2': push(top()); break;  // DUP
    case 'N': push(make(pickle_kind::none)); break;
    case 0x88: push(make(pickle_kind::boolean, std::int64_t{1})); break;
    case 0x89: push(make(pickle_kind::boolean)); break;
    case 'J': push(make(pickle_kind::integer, std::int64_t{next<std::int32_t>()})); break;
    case 'K': push(make(pickle_kind::integer, std::int64_t{next<std::uint8_t>()})); break;
    case 'M': push(make(pickle_kind::integer, std::int64_t{next<std::uint16_t>()})); break;
    case 0x8A: push_long(next_text(next<std::uint8_t>())); break;
    case 0x8B: push_long(next_text(next<std::uint32_t>())); break;
    case 'G': push_real(); break;
    case 'X': push(make_text(next_text(next<std::uint32_t>()))); break;
    case 0x8C: push(make_text(next_text(next<std::uint8_t>()))); break;
    case 0x8D: push(make_text(next_text(next<std::uint64_t>()))); break;
    case 'U': push(make_text(next_text(next<std::uint8_t>()))); break; // Python 2's str
    case 'T': push(make_text(next_text(next<std::uint32_t>()))); break;
    case 'C': skip_bytes(next<std::uint8_t>()); break;
    case 'B': skip_bytes(next<std::uint32_t>()); break;
    case 0x8E:
    case 0x96: skip_bytes(next<std::uint64_t>()); break;
    case 'h': recall(next<std::uint8_t>()); break;
    case 'j': recall(next<std::uint32_t>()); break;
    case 'q': memoize(next<std::uint8_t>()); break;
    case 'r': memoize(next<std::uint32_t>()); break;
    case 0x94: memoize(memo_.size()); break;
    default:
        refuse(joined_text({"pickle opcode 0x", hexadecimal(std::as_bytes(std::span(&opcode, 1))),
                            " is not accepted, a state_dict does not need it"}));
    }
    return true;
}

REPAINT_COLD void unpickler::skip_bytes(std::uint64_t length) {
    next_text(length);
    push(make(pickle_kind::opaque));
}

REPAINT_COLD pickle_value unpickler::build(const pickle_global& callee, const std::vector<pickle_value>& arguments) {
    switch (callee.meaning) {
    case pickle_meaning::ordered_dict: return build_dictionary(arguments);
    case pickle_meaning::rebuild_tensor:
    case pickle_meaning::rebuild_tensor_v2: return build_tensor(callee, arguments);
    case pickle_meaning::rebuild_parameter:
    case pickle_meaning::parameter:
        if (arguments.empty() || !arguments.front().is(pickle_kind::tensor)) {
            refuse("a Parameter that is not made of a tensor");
        }
        return arguments.front();
    case pickle_meaning::dictionary: return new_dictionary();
    case pickle_meaning::inert: return make(pickle_kind::opaque);
    default:
        refuse(joined_text(
            {"the file builds a ", in_quotes(callee.name), " by itself, accepted are storages of tensors"}));
    }
}

REPAINT_COLD pickle_value unpickler::build_dictionary(const std::vector<pickle_value>& arguments) {
    const bool pairs = arguments.size() == 1 && arguments.front().is(pickle_kind::list);
    if (!arguments.empty() && !pairs) {
        refuse("an OrderedDict of something other than a list of pairs");
    }
    const pickle_value result = new_dictionary();
    if (pairs) {
        const auto& items = sequence(arguments.front());
        count_members(2 * items.size());
        for (const pickle_value& item : items) {
            const bool pair = (item.is(pickle_kind::list) || item.is(pickle_kind::tuple)) && sequence(item).size() == 2;
            if (!pair) {
                refuse("an OrderedDict of something other than a list of pairs");
            }
            dictionaries_.back().emplace_back(sequence(item)[0], sequence(item)[1]);
        }
    }
    return result;
}

REPAINT_COLD std::uint64_t unpickler::non_negative(const pickle_value& v, const char* what) const {
    if (!v.is(pickle_kind::integer) || v.integer < 0) {
        refuse(joined_text({std::string(what), " must be a non-negative integer",
                            (v.is(pickle_kind::integer) ? joined_text({", found ", v.integer}) : "")}));
    }
    return static_cast<std::uint64_t>(v.integer);
}

REPAINT_COLD std::vector<std::int64_t> unpickler::extents(const pickle_value& v, const char* what) const {
    if (!v.is(pickle_kind::tuple) || sequence(v).size() > longest_axes) {
        refuse(joined_text({std::string(what), " of a tensor must be a tuple of up to ", longest_axes, " integers"}));
    }
    std::vector<std::int64_t> values;
    values.reserve(sequence(v).size());
    for (const pickle_value& extent : sequence(v)) {
        values.push_back(static_cast<std::int64_t>(non_negative(extent, what)));
    }
    return values;
}

REPAINT_COLD pickle_value unpickler::build_tensor(const pickle_global& callee,
                                                  const std::vector<pickle_value>& arguments) {
    const bool enough = callee.meaning == pickle_meaning::rebuild_tensor
                            ? arguments.size() == 4
                            : arguments.size() == 6 || arguments.size() == 7;
    if (!enough || !arguments[0].is(pickle_kind::storage)) {
        refuse(joined_text(
            {std::string(callee.name), " with ", arguments.size(), " arguments that do not describe a tensor"}));
    }
    tensor t;
    t.view = arguments[0].index();
    t.offset = non_negative(arguments[1], "the storage offset of a tensor");
    t.shape = extents(arguments[2], "the size");
    t.strides = extents(arguments[3], "the strides");
    check_inside(t, views_[t.view].numel);
    count_object();
    count_members(2 * t.shape.size());
    tensors_.push_back(std::move(t));
    return make(pickle_kind::tensor, tensors_.size() - 1);
}

REPAINT_COLD void unpickler::check_inside(tensor& t, std::uint64_t available) const {
    const auto describe = [&] {
        return joined_text(
            {"a tensor of shape ", to_string(t.shape), ", strides ", to_string(t.strides), " at offset ", t.offset});
    };
    if (t.shape.size() != t.strides.size()) {
        refuse(joined_text({describe(), " has different numbers of extents and strides"}));
    }
    std::uint64_t count = 1;
    std::uint64_t last = t.offset;
    bool fits = true;
    for (std::size_t axis = 0; axis < t.shape.size(); ++axis) {
        const auto extent = static_cast<std::uint64_t>(t.shape[axis]);
        std::uint64_t reach = 0;
        fits = fits && checked_multiply(count, extent, count);
        if (extent > 1) {
            fits = fits && checked_multiply(extent - 1, static_cast<std::uint64_t>(t.strides[axis]), reach) &&
                   checked_add(last, reach, last);
        }
    }
    if (count == 0 && fits) {
        t.offset = 0; // nothing is read, so any offset would do
        return;
    }
    if (!fits || last >= available) {
        refuse(joined_text({describe(), " does not fit its storage of ", available, " elements"}));
    }
    if (count > available && count > most_expanded) {
        refuse(joined_text({describe(), " expands a storage of ", available, " elements to ", count,
                            ", accepted are up to ", most_expanded}));
    }
}

REPAINT_COLD pickle_value unpickler::persistent(const pickle_value& id) {
    if (!id.is(pickle_kind::tuple)) {
        refuse("a persistent id that is not a tuple");
    }
    const auto& fields = sequence(id);
    // A class, and beside it where it was defined and its text, as torch wrote before 1.6.
    if (fields.size() == 4 && fields[0].is(pickle_kind::text) && fields[0].string() == "module" &&
        fields[1].is(pickle_kind::opaque)) {
        return fields[1];
    }
    const bool described = (fields.size() == 5 || fields.size() == 6) && fields[0].is(pickle_kind::text) &&
                           fields[0].string() == "storage" && fields[1].is(pickle_kind::global) &&
                           pickle_globals[fields[1].index()].meaning == pickle_meaning::storage_type &&
                           fields[2].is(pickle_kind::text) && fields[3].is(pickle_kind::text);
    if (!described) {
        refuse("a persistent id that does not describe a storage");
    }
    const storage s{fields[2].string(), pickle_globals[fields[1].index()].type,
                    non_negative(fields[4], "the size of a storage")};
    const auto [at, fresh] = storage_of_key_.try_emplace(s.key, storages_.size());
    if (fresh) {
        count_object();
        storages_.push_back(s);
    } else if (storages_[at->second].type != s.type || storages_[at->second].numel != s.numel) {
        refuse(joined_text({"storage ", in_quotes(s.key), " is described twice and differently"}));
    }
    storage_view view{at->second, 0, s.numel};
    if (fields.size() == 6 && !fields[5].is(pickle_kind::none)) {
        const bool range = fields[5].is(pickle_kind::tuple) && sequence(fields[5]).size() == 3;
        if (!range) {
            refuse(joined_text({"a view of storage ", in_quotes(s.key), " that is not (key, offset, size)"}));
        }
        view.offset = non_negative(sequence(fields[5])[1], "the offset of a storage view");
        view.numel = non_negative(sequence(fields[5])[2], "the size of a storage view");
        if (view.offset > s.numel || view.numel > s.numel - view.offset) {
            refuse(joined_text({"a view of ", view.numel, " elements at offset ", view.offset, " does not fit storage ",
                                in_quotes(s.key), " of ", s.numel}));
        }
    }
    count_object();
    views_.push_back(view);
    return make(pickle_kind::storage, views_.size() - 1);
}

} // namespace detail

} // namespace repaint
