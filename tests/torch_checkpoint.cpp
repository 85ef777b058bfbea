#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/io/bytes.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/pickle.hpp>
#include <repaint/io/safetensors.hpp>
#include <repaint/io/torch_checkpoint.hpp>

#include "support/catch.hpp"
#include "support/hostile.hpp"

namespace {

using repaint::checkpoint;
using repaint::dtype;
using repaint::read_torch_checkpoint;
using repaint::stored_tensor;
using std::string;
using std::string_view;

bool mentions(const string& text, const string& part) { return text.find(part) != string::npos; }

// Pickles, opcode by opcode.

string text(string_view s) { return 'X' + le(static_cast<std::uint32_t>(s.size())) + string(s); }
string python2_text(string_view s) { return 'U' + string(1, static_cast<char>(s.size())) + string(s); }
string global(const string& module, const string& name) { return 'c' + module + '\n' + name + '\n'; }
string number(std::int64_t n) { return "\x8a\x08" + le(n); }
string tuple(const string& inside) { return '(' + inside + 't'; }
string numbers(const std::vector<std::int64_t>& all) {
    string inside;
    for (const std::int64_t n : all) {
        inside += number(n);
    }
    return tuple(inside);
}
string pickle(const string& body) { return "\x80\x02" + body + '.'; }

const string rebuild = global("torch._utils", "_rebuild_tensor_v2");
const string ordered_dict = global("collections", "OrderedDict") + ")R";

string storage(std::int64_t numel, const string& key = "0", const string& type = "FloatStorage",
               const string& more = {}) {
    return tuple(text("storage") + global("torch", type) + text(key) + text("cpu") + number(numel) + more) + 'Q';
}

string tensor(const string& from, std::int64_t offset, const std::vector<std::int64_t>& size,
              const std::vector<std::int64_t>& strides) {
    return rebuild + tuple(from + number(offset) + numbers(size) + numbers(strides) + '\x89' + ordered_dict) + 'R';
}

string dictionary(const string& items) { return "}(" + items + 'u'; }

/// Four floats 0, 1, 2, 3 under the key "0".
string four_floats() { return le(0.0F) + le(1.0F) + le(2.0F) + le(3.0F); }

// Zip archives, field by field.

struct entry {
    string name;
    string data;
    std::uint16_t method = 0;
    std::uint16_t flags = 0;
    std::uint16_t disk = 0;
    std::optional<std::uint32_t> crc{};
    std::optional<std::uint32_t> size{};       // in the central directory
    std::optional<std::uint32_t> other_size{}; // uncompressed, there
    std::optional<std::uint32_t> offset{};     // there
    std::optional<string> local_name{};
    string extra{};       // in the central directory
    bool streamed = true; // sizes after the data, as torch writes them
    std::optional<std::uint16_t> local_method{};
    std::optional<std::uint32_t> local_size{};
};

struct archive_options {
    bool zip64 = false;
    string before{};  // the first entry
    string between{}; // data and central directory
    string comment{};
    std::uint16_t disk = 0;
    std::uint32_t more_directory = 0;
    std::uint16_t more_entries = 0;
    std::uint64_t locator_shift = 0;
    std::uint32_t locator_disks = 1;
};

string archive(const std::vector<entry>& entries, const archive_options& options = {}) {
    string file = options.before;
    string directory;
    for (const entry& e : entries) {
        const auto offset = static_cast<std::uint32_t>(file.size());
        const auto size = static_cast<std::uint32_t>(e.data.size());
        const std::uint32_t crc = e.crc.value_or(repaint::detail::crc32(repaint::detail::as_bytes(e.data)));
        const auto flags = static_cast<std::uint16_t>(e.flags | (e.streamed ? 8 : 0));
        const string local_name = e.local_name.value_or(e.name);
        const std::uint32_t local_size = e.local_size.value_or(e.streamed ? 0 : size);
        const string padding((64 - (file.size() + 34 + local_name.size()) % 64) % 64, 'Z');
        file += "PK\x03\x04" + le<std::uint16_t>(0) + le(flags) + le(e.local_method.value_or(e.method)) +
                le<std::uint32_t>(0) + le(e.streamed ? 0U : crc) + le(local_size) + le(local_size) +
                le(static_cast<std::uint16_t>(local_name.size())) + le(static_cast<std::uint16_t>(4 + padding.size())) +
                local_name + "FB" + le(static_cast<std::uint16_t>(padding.size())) + padding + e.data;
        if (e.streamed) {
            file += "PK\x07\x08" + le(crc) + le(size) + le(size);
        }
        directory += "PK\x01\x02" + le<std::uint32_t>(0) + le(flags) + le(e.method) + le<std::uint32_t>(0) + le(crc) +
                     le(e.size.value_or(size)) + le(e.other_size.value_or(e.size.value_or(size))) +
                     le(static_cast<std::uint16_t>(e.name.size())) + le(static_cast<std::uint16_t>(e.extra.size())) +
                     le<std::uint16_t>(0) + le(e.disk) + le<std::uint16_t>(0) + le<std::uint32_t>(0) +
                     le(e.offset.value_or(offset)) + e.name + e.extra;
    }
    file += options.between;
    const std::uint64_t at = file.size();
    const auto count = static_cast<std::uint16_t>(entries.size() + options.more_entries);
    const auto length = static_cast<std::uint32_t>(directory.size() + options.more_directory);
    file += directory;
    if (options.zip64) {
        const std::uint64_t record = file.size();
        file += "PK\x06\x06" + le<std::uint64_t>(44) + le<std::uint32_t>(0) + le<std::uint32_t>(0) +
                le<std::uint32_t>(0) + le<std::uint64_t>(count) + le<std::uint64_t>(count) + le<std::uint64_t>(length) +
                le(at);
        file += "PK\x06\x07" + le<std::uint32_t>(0) + le(record + options.locator_shift) + le(options.locator_disks);
        file += "PK\x05\x06" + le(options.disk) + le(options.disk) + "\xff\xff\xff\xff" + string(8, '\xff');
    } else {
        file += "PK\x05\x06" + le(options.disk) + le(options.disk) + le(count) + le(count) + le(length) +
                le(static_cast<std::uint32_t>(at));
    }
    return file + le(static_cast<std::uint16_t>(options.comment.size())) + options.comment;
}

string zip_of(const string& body, const string& data = four_floats()) {
    return archive({{"m/data.pkl", pickle(body)}, {"m/byteorder", "little"}, {"m/data/0", data}, {"m/version", "3\n"}});
}

// The format before torch 1.6.

const string magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const string legacy_start = magic + pickle("M\xe9\x03") +
                            pickle(dictionary(text("protocol_version") + "M\xe9\x03" + text("little_endian") + '\x88' +
                                              text("type_sizes") + '}'));

string keys(const std::vector<string>& all) {
    string inside;
    for (const string& key : all) {
        inside += text(key);
    }
    return pickle("](" + inside + 'e');
}

string legacy_of(const string& body, const string& data = le<std::int64_t>(4) + four_floats(),
                 const std::vector<string>& names = {"0"}) {
    return legacy_start + pickle(body) + keys(names) + data;
}

checkpoint parsed(const string& file) { return read_torch_checkpoint(in_memory(file)); }

string refused(const string& file) {
    return quick_refusal([&] { return parsed(file); });
}

/// The same body in both containers must be refused alike.
string refused_in_both(const string& body) {
    const string message = refused(zip_of(body));
    CHECK(refused(legacy_of(body)).substr(0, 4) == "file");
    return message;
}

void check_same(const checkpoint& found, const checkpoint& expected) {
    REQUIRE(found.tensors.size() == expected.tensors.size());
    for (const auto& [name, t] : expected.tensors) {
        INFO(name);
        REQUIRE(found.tensors.count(name) == 1);
        const stored_tensor& other = found.tensors.at(name);
        CHECK(other.shape == t.shape);
        CHECK(values_of(other) == values_of(t));
    }
}

} // namespace

TEST_CASE("the official network in torch's zip container equals the same in safetensors", "[torch]") {
    const checkpoint zip = repaint::read_checkpoint(test_data("official/unconditional/unet.pt"));
    const checkpoint plain = repaint::read_checkpoint(test_data("official/unconditional/unet.safetensors"));
    CHECK(zip.format == "torch zip");
    CHECK(zip.notes.empty());
    check_same(zip, plain);
    std::size_t parameters = 0;
    for (const auto& [name, t] : zip.tensors) {
        parameters += t.numel();
        INFO(name);
        // Every one is used in place: no copy of the weights.
        CHECK(repaint::detail::is_float_array(t));
    }
    CHECK(zip.tensors.size() == 144);
    CHECK(parameters == 828'358);
}

TEST_CASE("files that torch.save wrote hold what they held", "[torch]") {
    const checkpoint expected = repaint::read_checkpoint(test_data("torch/expected.safetensors"));
    for (const char* name : {"zip.pt", "legacy.pt", "zip_protocol4.pt", "legacy_protocol4.pt", "zip_without_crc.pt"}) {
        INFO(name);
        const checkpoint c = repaint::read_checkpoint(test_data("torch") / name);
        check_same(c, expected);
        CHECK(c.format == (string(name).starts_with("zip") ? "torch zip" : "torch legacy"));
        CHECK(c.tensors.at("half").type == dtype::f16);
        CHECK(c.tensors.at("bfloat").type == dtype::bf16);
        CHECK(c.tensors.at("bool").type == dtype::boolean);
        CHECK(c.tensors.at("transposed").strides == std::vector<std::int64_t>{1, 6});
        CHECK(c.tensors.at("expanded").strides == std::vector<std::int64_t>{1, 0});
        CHECK(c.tensors.at("slice").data == c.tensors.at("tied").data);
        CHECK(c.tensors.at("slice_strided").strides == std::vector<std::int64_t>{3});
        CHECK_FALSE(repaint::detail::is_float_array(c.tensors.at("transposed")));
    }
}

TEST_CASE("the names of nested dictionaries and lists are joined with dots", "[torch]") {
    const checkpoint c = repaint::read_checkpoint(test_data("torch/wrapped.pt"));
    CHECK(c.tensors.count("state_dict.module.0.weight") == 1);
    CHECK(c.tensors.at("state_dict.module.1.num_batches_tracked").type == dtype::i64);
    REQUIRE(c.notes.size() == 1);
    CHECK(mentions(c.notes[0], "not tensors were left out"));

    const string w = tensor(storage(4), 0, {4}, {1});
    const checkpoint list = parsed(zip_of("](" + dictionary(text("w") + w) + "K\x07" + dictionary("K\x03" + w) + 'e'));
    CHECK(list.tensors.count("0.w") == 1);
    CHECK(list.tensors.count("2.3") == 1);
    CHECK(list.tensors.size() == 2);
}

TEST_CASE("objects of classes that are not known are left out, their tensors are not", "[torch]") {
    const string w = text("w") + tensor(storage(4), 0, {4}, {1});
    const string inner = dictionary(w);
    // A namespace of settings, as NEWOBJ and BUILD make it; a kind of dictionary; a module that was saved whole.
    const string settings = global("argparse", "Namespace") + ")\x81" + dictionary(text("lr") + "K\x01") + 'b';
    const string attributes = global("lightning", "AttributeDict") + ")R(" + w + 'u';
    const string module = global("torch.nn", "Linear") + ")\x81" +
                          dictionary(text("training") + '\x88' + text("_parameters") + inner + text("_modules") +
                                     dictionary(text("conv") + global("torch.nn", "Conv2d") + ")\x81" +
                                                dictionary(text("_parameters") + inner) + 'b')) +
                          'b';
    const string body = dictionary(text("model") + inner + text("args") + settings + text("hyper") + attributes +
                                   text("net") + module + text("f") + global("os", "system"));
    for (const string& file : {zip_of(body), legacy_of(body)}) {
        const checkpoint c = parsed(file);
        std::vector<string> names;
        for (const auto& [name, t] : c.tensors) {
            names.push_back(name);
        }
        CHECK(names == std::vector<string>{"hyper.w", "model.w", "net.conv.w", "net.w"});
        REQUIRE(c.notes.size() == 2);
        CHECK(mentions(c.notes[1], "objects of \"argparse.Namespace\", objects of \"lightning.AttributeDict\""));
        CHECK(mentions(c.notes[1], "nothing of it run"));
    }
}

TEST_CASE("what torch.save wrote besides tensors is refused by name", "[torch]") {
    const auto refuses = [](const char* name) {
        return refusal([&] { return repaint::read_checkpoint(test_data("torch") / name); });
    };
    CHECK(mentions(refuses("refused_numpy.pt"), "\"numpy"));
    CHECK(mentions(refuses("refused_torchscript.pt"), "TorchScript"));
    CHECK(mentions(refuses("refused_tensor.pt"), "a single tensor"));
}

TEST_CASE("files of torch cut or flipped anywhere never do harm", "[torch]") {
    for (const char* name : {"zip_without_crc.pt", "legacy.pt", "legacy_protocol4.pt", "wrapped.pt"}) {
        const string whole = file_text(test_data("torch") / name);
        const std::size_t step = sanitized ? 7 : 1;
        for (std::size_t length = 0; length < whole.size(); length += step) {
            refusal([&] { return parsed(whole.substr(0, length)); });
        }
        for (std::size_t i = 0; i < whole.size(); i += step) {
            for (const int mask : {1 << (i % 8), 0x80, 0xff}) {
                string flipped = whole;
                flipped[i] = static_cast<char>(flipped[i] ^ mask);
                try {
                    static_cast<void>(sum_of(parsed(flipped)));
                } catch (const repaint::format_error&) {
                }
            }
        }
    }
}

TEST_CASE("tensors honour shared storages, offsets and strides", "[torch]") {
    const string body = ordered_dict + '(' + text("a") + tensor(storage(4), 1, {3}, {1}) + text("b") +
                        tensor(storage(4), 0, {2, 2}, {1, 2}) + text("c") + tensor(storage(4), 3, {2, 1}, {0, 5}) +
                        text("d") + tensor(storage(4), 0, {}, {}) + text("e") + tensor(storage(4), 9, {0, 2}, {7, 7}) +
                        text("f") + global("torch._utils", "_rebuild_parameter") +
                        tuple(tensor(storage(4), 2, {2}, {1}) + '\x88' + ordered_dict) + 'R' + text("count") + "K\x05" +
                        text("list") + ']' + 'u' + dictionary(text("_metadata") + ordered_dict) + 'b';
    for (const string& file : {zip_of(body), legacy_of(body)}) {
        const checkpoint c = parsed(file);
        REQUIRE(c.tensors.size() == 6);
        CHECK(values_of(c.tensors.at("a")) == std::vector<float>{1, 2, 3});
        CHECK(values_of(c.tensors.at("b")) == std::vector<float>{0, 2, 1, 3});
        CHECK(values_of(c.tensors.at("c")) == std::vector<float>{3, 3});
        CHECK(values_of(c.tensors.at("d")) == std::vector<float>{0});
        CHECK(values_of(c.tensors.at("e")).empty());
        CHECK(values_of(c.tensors.at("f")) == std::vector<float>{2, 3});
        CHECK(c.notes == std::vector<string>{"entries that are not tensors were left out: 1"});
    }
}

TEST_CASE("Python 2 spelled the same differently", "[torch]") {
    // Strings as SHORT_BINSTRING, memo numbers from 1, an OrderedDict from one list of lists.
    const string id = tuple(python2_text("storage") + global("torch", "FloatStorage") + python2_text("140311") +
                            python2_text("cpu") + "\x8a\x01\x04" + 'N') +
                      'Q';
    const string one = rebuild +
                       tuple(id + number(0) + tuple("K\x02K\x02") + tuple("K\x02K\x01") + '\x89' +
                             global("collections", "OrderedDict") + "]\x85R") +
                       'R';
    const string body = global("collections", "OrderedDict") + "q\x01](" + "](" + python2_text("a") + "q\x02" + one +
                        "e](" + python2_text("n") + "K\x03" + "ee\x85Rq\x03}" + python2_text("_metadata") + "}sb";
    const string sizes = pickle(dictionary(python2_text("type_sizes") + '}' + python2_text("little_endian") + '\x88'));
    const string bytes = magic + pickle("M\xe9\x03") + sizes + pickle(body) +
                         pickle("](" + python2_text("140311") + 'e') + le<std::int64_t>(4) + four_floats();
    const checkpoint c = parsed(bytes);
    REQUIRE(c.tensors.size() == 1);
    CHECK(values_of(c.tensors.at("a")) == std::vector<float>{0, 1, 2, 3});
}

TEST_CASE("views of storages in the format before torch 1.6", "[torch]") {
    const auto view = [](std::int64_t offset, std::int64_t size) {
        return storage(4, "0", "FloatStorage", tuple(text("v") + number(offset) + number(size)));
    };
    const checkpoint c = parsed(legacy_of(dictionary(text("a") + tensor(view(1, 3), 1, {2}, {1}) + text("b") +
                                                     tensor(storage(4, "0", "FloatStorage", "N"), 0, {4}, {1}))));
    CHECK(values_of(c.tensors.at("a")) == std::vector<float>{2, 3});
    CHECK(values_of(c.tensors.at("b")) == std::vector<float>{0, 1, 2, 3});
    CHECK(
        mentions(refused_in_both(dictionary(text("a") + tensor(view(1, 3), 2, {2}, {1}))), "does not fit its storage"));
    CHECK(mentions(refused_in_both(dictionary(text("a") + tensor(view(2, 3), 0, {2}, {1}))), "does not fit storage"));
    CHECK(mentions(refused_in_both(view(-1, 3)), "non-negative"));
    CHECK(mentions(refused_in_both(view(0, -3)), "non-negative"));
    CHECK(mentions(refused_in_both(storage(4, "0", "FloatStorage", tuple(text("v")))), "not (key, offset, size)"));
    CHECK(mentions(refused_in_both(storage(4, "0", "FloatStorage", "K\x01")), "not (key, offset, size)"));
}

TEST_CASE("what holds no tensors is refused", "[torch]") {
    CHECK(mentions(refused(zip_of("}")), "no tensors"));
    CHECK(mentions(refused(zip_of("N")), "single object"));
}

TEST_CASE("tensors that do not lie inside their storage are refused", "[torch]") {
    constexpr std::int64_t huge = std::int64_t{1} << 62U;
    const auto one = [](std::int64_t numel, std::int64_t offset, const std::vector<std::int64_t>& size,
                        const std::vector<std::int64_t>& strides) {
        return refused_in_both(dictionary(text("w") + tensor(storage(numel), offset, size, strides)));
    };
    CHECK(mentions(one(4, 0, {5}, {1}), "shape (5), strides (1) at offset 0 does not fit its storage of 4 elements"));
    CHECK(mentions(one(4, 1, {4}, {1}), "does not fit"));
    CHECK(mentions(one(4, 4, {}, {}), "does not fit"));
    CHECK(mentions(one(4, 0, {2, 2}, {3, 1}), "does not fit"));
    CHECK(mentions(one(4, huge, {1}, {1}), "does not fit"));
    CHECK(mentions(one(4, 0, {2}, {huge}), "does not fit"));
    CHECK(mentions(one(4, 0, {3, 3}, {huge, huge}), "does not fit"));
    CHECK(mentions(one(4, 0, {huge, 4}, {0, 0}), "does not fit"));
    CHECK(mentions(one(4, 0, {huge, huge, 4}, {0, 0, 0}), "does not fit"));
    CHECK(mentions(one(4, 0, {1 << 20, 2}, {0, 0}), "expands a storage of 4 elements to 2097152"));
    CHECK(mentions(one(4, 0, {-1}, {1}), "non-negative integer, found -1"));
    CHECK(mentions(one(4, 0, {1}, {-1}), "non-negative integer, found -1"));
    CHECK(mentions(one(4, -1, {1}, {1}), "non-negative integer, found -1"));
    CHECK(mentions(one(4, std::numeric_limits<std::int64_t>::min(), {1}, {1}), "non-negative"));
    CHECK(mentions(one(-4, 0, {1}, {1}), "non-negative"));
    CHECK(mentions(one(4, 0, {2, 2}, {1}), "different numbers"));
    CHECK(mentions(one(4, 0, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1)), "up to 64"));
    // Storages larger than the file, also where bytes of elements overflow 64 bits.
    for (const std::int64_t numel : {std::int64_t{5}, huge, std::numeric_limits<std::int64_t>::max()}) {
        one(numel, 0, {1}, {1});
        one(numel, numel - 1, {1}, {1});
    }
    // Offsets beyond 2^63 come as LONG1 of nine bytes, or as an unsigned number that int64 reads as negative.
    const auto with_offset = [](const string& offset) {
        return refused_in_both(
            dictionary(text("w") + rebuild +
                       tuple(storage(4) + offset + numbers({1}) + numbers({1}) + '\x89' + ordered_dict) + 'R'));
    };
    CHECK(mentions(with_offset("\x8a\x09" + string(8, '\xff') + string(1, '\0')), "non-negative"));
    CHECK(mentions(with_offset("\x8a\x08" + string(8, '\xff')), "non-negative"));
    CHECK(mentions(with_offset("\x8a\x09" + string(7, '\0') + "\x80" + string(1, '\0')), "non-negative"));
    CHECK(mentions(with_offset("\x8a\xff" + string(255, '\x7f')), "non-negative"));
    CHECK(mentions(with_offset("G" + string(8, '\0')), "non-negative"));
    CHECK(mentions(with_offset("N"), "non-negative"));
}

TEST_CASE("pickles that want more than tensors are refused by name", "[torch]") {
    // os.system("touch /tmp/x") in the spellings that run under Python.
    CHECK(mentions(refused_in_both(global("os", "system") + text("touch /tmp/x") + "\x85R"), "\"os.system\""));
    CHECK(mentions(refused_in_both(global("posix", "system") + text("true") + "\x85R"), "\"posix.system\""));
    CHECK(mentions(refused_in_both(text("os") + text("system") + '\x93' + text("true") + "\x85R"), "\"os.system\""));
    CHECK(mentions(refused_in_both(global("builtins", "eval") + text("1") + "\x85R"), "\"builtins.eval\""));
    CHECK(mentions(refused_in_both(global("__builtin__", "exec") + text("1") + "\x85R"), "\"__builtin__.exec\""));
    CHECK(mentions(refused_in_both(global("torch.storage", "_load_from_bytes")), "_load_from_bytes"));
    CHECK(mentions(refused_in_both(global("numpy.core.multiarray", "_reconstruct")), "numpy.core.multiarray"));
    CHECK(mentions(refused_in_both(global("collections", "OrderedDict.__init__")), "OrderedDict.__init__"));
    CHECK(mentions(refused_in_both(global("torch\x01", "Size")), "torch\\x01.Size"));
    CHECK(mentions(refused_in_both(global(string(250, 'm'), string(250, 'n'))), "mmm..."));
    CHECK(mentions(refused_in_both('c' + string(300, 'm')), "no end"));
    CHECK(mentions(refused_in_both(number(1) + number(2) + '\x93'), "two strings"));
    // Opcodes that a state_dict does not need.
    for (const char opcode : string("iodlpgPS\x82\x83\x84\x97\x98"
                                    "IFLV\xff\x01",
                                    19)) {
        INFO(static_cast<int>(static_cast<unsigned char>(opcode)));
        CHECK(mentions(refused_in_both("((" + string(1, opcode) + string(20, ' ')), "is not accepted"));
    }
    // Names that are known, used for what they are not.
    for (const string& body :
         {global("torch", "FloatStorage") + ")R",
          global("torch", "FloatStorage") + ")\x81",
          rebuild + ")R",
          rebuild + tuple("NNNNNN") + 'R',
          rebuild + tuple(storage(4) + number(0) + "NN\x89N") + 'R',
          rebuild + tuple(storage(4) + number(0) + "](" + number(1) + 'e' + numbers({1}) + "\x89N") + 'R',
          global("torch._utils", "_rebuild_tensor") + tuple("NNNN") + 'R',
          global("torch._utils", "_rebuild_parameter") + tuple("N\x88N") + 'R',
          global("torch.nn.parameter", "Parameter") + ")R",
          global("collections", "OrderedDict") + tuple("N") + 'R',
          global("collections", "OrderedDict") + "](K\x01"
                                                 "e\x85R",
          global("collections", "OrderedDict") + "](]e\x85R",
          global("collections", "OrderedDict") + "]]\x86R",
          global("collections", "OrderedDict") + "]R",
          string("N)R"),
          string("N)\x81"),
          string("NNb"),
          rebuild + "Nb",
          string("NQ"),
          string(")Q"),
          tuple("NNNNN") + 'Q',
          tuple(text("module") + string("NNNN")) + 'Q',
          tuple(text("storage") + global("torch", "Size") + text("0") + text("cpu") + number(4)) + 'Q',
          tuple(text("storage") + text("FloatStorage") + text("0") + text("cpu") + number(4)) + 'Q',
          tuple(text("storage") + global("torch", "FloatStorage") + number(0) + text("cpu") + number(4)) + 'Q',
          tuple(text("storage") + global("torch", "FloatStorage") + text("0") + text("cpu") + text("4")) + 'Q',
          string("NNa"),
          string("N(Ne"),
          string("]NNs"),
          string("}(Nu"),
          string("NNNs")}) {
        refused_in_both(body);
    }
    CHECK(mentions(refused_in_both(storage(4) + storage(3)), "described twice and differently"));
    CHECK(mentions(refused_in_both(storage(4) + storage(4, "0", "IntStorage")), "described twice and differently"));
}

TEST_CASE("broken and hostile pickles are refused", "[torch]") {
    for (const string& body : {string(),
                               string("("),
                               string("NN"),
                               string("(N"),
                               string("t"),
                               string("e"),
                               string("u"),
                               string("s"),
                               string("a"),
                               string("R"),
                               string("b"),
                               string("Q"),
                               string("\x85"),
                               string("N\x86"),
                               string("(\x85"),
                               string("N("),
                               string("h\x01"),
                               string("q\x01"),
                               string("j\1\1\1\1"),
                               string("Nr\xff\xff\xff\xff"),
                               string("(Na"),
                               string("](a"),
                               string("\x94"),
                               string("X\xff\xff\xff\xff"),
                               string("U\xffshort"),
                               string("\x8a\xff"),
                               string("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"),
                               string("\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"),
                               string("B\xff\xff\xff\xff"),
                               string("G\1\1"),
                               string("J\1\1"),
                               string("c"),
                               string("cos"),
                               string("cos\nsystem"),
                               string("\x80\x01N"),
                               string("\x80\x06N"),
                               string("\x80\xffN"),
                               string("\x95\x01")}) {
        INFO(repaint::detail::hexadecimal(repaint::detail::as_bytes(body)));
        refused_in_both(body);
        // Without the STOP, too.
        refused(archive({{"m/data.pkl", "\x80\x02" + body}}));
        refused(legacy_start + "\x80\x02" + body);
    }
    CHECK(mentions(refused(archive({{"m/data.pkl", ""}})), "protocol 2 to 5"));
    CHECK(mentions(refused(archive({{"m/data.pkl", "(dp0\n."}})), "protocol 2 to 5"));
    CHECK(mentions(refused(archive({{"m/data.pkl", pickle("}") + "more"}})), "goes on after its pickle"));
    CHECK(mentions(refused_in_both(string(1001, '(')), "nested more than 1000 levels"));
}

TEST_CASE("pickles of 50 MB that only nest and repeat are refused quickly", "[torch]") {
    constexpr std::size_t size = 50'000'000;
    for (const string& part : {string("("),
                               string("]"),
                               string(")"),
                               string("}"),
                               string("N"),
                               string("]("),
                               string("\x85"),
                               string("]a"),
                               string("\x80\x02"),
                               string("K\x01"),
                               string("\x8f"),
                               string("U\0", 2),
                               string("\x88\x89"),
                               string("Nr\xff\xff\x1f\0", 6),
                               string("N\x94"),
                               string("(t"),
                               string("(tb"),
                               string("]\x85"),
                               string("]\x94h\0a", 5),
                               string("\x95\0\0\0\0\0\0\0\0", 9),
                               ordered_dict,
                               storage(4),
                               string(1, '\xff')}) {
        INFO(repaint::detail::hexadecimal(repaint::detail::as_bytes(part)));
        // One value first, so that opcodes which only replace the top find one.
        const string all = "\x80\x02]" + repeated(part, size);
        quick_refusal([&] {
            repaint::detail::unpickler vm(repaint::detail::as_bytes(all), "file");
            return vm.read();
        });
    }
    for (const char* part : {"(", "\x80\x02"}) {
        const string all = "\x80\x02]" + repeated(part, size);
        refused(archive({{"m/data.pkl", all}}));
        refused(legacy_start + all);
    }
    // A million nested tuples and lists are built and destroyed without recursion.
    refused_in_both("N" + string(900'000, '\x85'));
    string lists = "]q\x01";
    for (int i = 0; i < 300'000; ++i) {
        lists += "](h\x01"
                 "eq\x01";
    }
    refused(zip_of(lists));
}

TEST_CASE("memo references cannot multiply work or memory", "[torch]") {
    // d = {}; d[a] = d, then dictionaries that hold the last one ten times: 10^30 paths in a few hundred bytes.
    CHECK(mentions(refused_in_both("}q\x01" + text("a") + "h\x01s"), "levels deep"));
    string billions = dictionary(text("w") + "N");
    for (int i = 0; i < 14; ++i) {
        billions = "}(" + text("a") + billions + "q\x01";
        for (char k = 'b'; k < 'k'; ++k) {
            billions += text(string(1, k)) + "h\x01";
        }
        billions += 'u';
    }
    CHECK(mentions(refused_in_both(billions), "more than 4194304 entries"));
    // The same where no tensor is.
    const string wide = "}(" + text("a") + dictionary(repeated(text("n") + 'N', 300'000)) + "q\x01" +
                        repeated(text("k") + "h\x01", 400'000) + 'u';
    CHECK(mentions(refused_in_both(dictionary(text("model") + wide)), "more than 4194304 entries"));
    // An OrderedDict copied from the same list again and again.
    const string copies = "](" + repeated(string("NN\x86"), 3000) + "eq\x01\x85" + "](" +
                          repeated(global("collections", "OrderedDict") + "h\x01\x85R", 100'000) + "e";
    CHECK(mentions(refused_in_both(copies), "members"));
    // The same tensor under a hundred thousand names.
    string names;
    for (int i = 0; i < 70'000; ++i) {
        names += text(std::to_string(i)) + "h\x01";
        if (i % 1000 == 999) {
            names += "u(";
        }
    }
    CHECK(mentions(refused_in_both(tensor(storage(4), 0, {4}, {1}) +
                                   "q\x01\x85"
                                   "}(" +
                                   names + "u\x86"),
                   "more than 65536 tensors"));
    CHECK(mentions(refused_in_both("}(" + text("w") + tensor(storage(4), 0, {4}, {1}) + "q\x01" + names + "u"),
                   "more than 65536 tensors"));
}

TEST_CASE("names of tensors are checked", "[torch]") {
    const string one = tensor(storage(4), 0, {4}, {1});
    const auto named = [&](const string& name) { return refused_in_both(dictionary(text(name) + one)); };
    CHECK(mentions(named("\xff"), "is not UTF-8"));
    CHECK(mentions(named(string("a\0b", 3)), "a\\x00b"));
    CHECK(mentions(named(string(257, 'n')), "up to 256 bytes"));
    CHECK(mentions(refused_in_both(dictionary(text("w") + one + text("w") + one)), "\"w\" appears twice"));
    CHECK(mentions(refused_in_both(dictionary(text("a.b") + one + text("a") + dictionary(text("b") + one))),
                   "appears twice"));
    CHECK(mentions(refused_in_both(dictionary(text(string(256, 'n')) + dictionary(text("") + one))), "256 bytes"));
    CHECK(parsed(zip_of(dictionary(text(string(256, 'n')) + one))).tensors.size() == 1);
    CHECK(parsed(zip_of(dictionary('N' + one + text("w") + one))).tensors.size() == 1);
}

TEST_CASE("zip archives as torch and others write them are accepted", "[torch]") {
    const string body = pickle(dictionary(text("w") + tensor(storage(4), 0, {4}, {1})));
    const entry described{"m/data.pkl", body};
    const entry values{"m/data/0", four_floats()};
    const auto check = [](const string& file) {
        const checkpoint c = repaint::read_checkpoint(in_memory(file));
        REQUIRE(c.tensors.size() == 1);
        CHECK(values_of(c.tensors.at("w")) == std::vector<float>{0, 1, 2, 3});
    };
    archive_options options;
    check(archive({described, values}));
    check(archive({values, described}));
    options.zip64 = true;
    check(archive({described, values}, options));
    options = {};
    options.comment = "a comment with PK\x05\x06 in it";
    check(archive({described, values}, options));
    options = {};
    options.between = "unused";
    options.comment = string(65535, 'c');
    check(archive({described, values}, options));
    entry plain = described;
    plain.streamed = false;
    check(archive({plain, values}));
    entry deep = described;
    deep.name = "a/b/data.pkl";
    entry deep_values = values;
    deep_values.name = "a/b/data/0";
    check(archive({deep, deep_values, {"a/", ""}}));
    entry no_crc = described;
    no_crc.crc = 0;
    check(archive({no_crc, values}));
    entry values_without_crc = values;
    values_without_crc.crc = 0;
    check(archive({described, values_without_crc}));
    // All three sizes in the ZIP64 extra field, after another extra field.
    entry wide = values;
    wide.size = 0xFFFFFFFFU;
    wide.offset = 0xFFFFFFFFU;
    wide.extra = "XX" + le<std::uint16_t>(3) + "abc" + le<std::uint16_t>(1) + le<std::uint16_t>(24) +
                 le<std::uint64_t>(16) + le<std::uint64_t>(16) + le<std::uint64_t>(0);
    check(archive({wide, described}));
}

TEST_CASE("malformed zip archives are refused in one sentence", "[torch]") {
    const entry described{"m/data.pkl", pickle(dictionary(text("w") + tensor(storage(4), 0, {4}, {1})))};
    const entry values{"m/data/0", four_floats()};
    const auto with = [&](entry e) { return refused(archive({described, std::move(e)})); };
    const auto changed = [&](auto change) {
        entry e = values;
        change(e);
        return with(e);
    };
    const auto as = [&](auto change) {
        archive_options options;
        change(options);
        return refused(archive({described, values}, options));
    };

    SECTION("entries that are not stored plainly") {
        CHECK(mentions(changed([](entry& e) { e.method = 8; }), "\"m/data/0\" is compressed (method 8)"));
        // A bomb: 20 bytes that claim to inflate to 4 GB.
        CHECK(mentions(changed([](entry& e) {
                           e.method = 8;
                           e.other_size = 0xFFFFFFFEU;
                       }),
                       "is compressed"));
        CHECK(mentions(changed([](entry& e) { e.flags = 1; }), "is encrypted"));
        CHECK(mentions(changed([](entry& e) { e.flags = 0x40; }), "is encrypted"));
        CHECK(mentions(changed([](entry& e) { e.flags = 0x2000; }), "is encrypted"));
        CHECK(mentions(changed([](entry& e) { e.disk = 1; }), "another volume"));
        CHECK(mentions(changed([](entry& e) { e.other_size = 17; }), "17 bytes stored as 16"));
    }
    SECTION("entries that lie about themselves") {
        CHECK(mentions(changed([](entry& e) { e.local_name = "m/data/1"; }), "another name"));
        CHECK(mentions(changed([](entry& e) { e.local_name = "m/data/00"; }), "another name"));
        CHECK(mentions(changed([](entry& e) { e.local_method = 8; }), "differs"));
        CHECK(mentions(changed([](entry& e) {
                           e.streamed = false;
                           e.local_size = 15;
                       }),
                       "differs"));
        CHECK(mentions(changed([](entry& e) { e.offset = 1; }), "no local header"));
        CHECK(mentions(changed([](entry& e) { e.offset = 0x7FFFFFFF; }), "no local header"));
        CHECK(mentions(changed([](entry& e) { e.offset = 0xFFFFFFFE; }), "no local header"));
        CHECK(mentions(changed([](entry& e) { e.size = 1000; }), "beyond the data"));
        CHECK(mentions(changed([](entry& e) { e.size = 0xFFFFFFFE; }), "beyond the data"));
        CHECK(mentions(changed([](entry& e) { e.size = 0xFFFFFFFF; }), "lacks its ZIP64 sizes"));
        const auto zip64 = [&](std::uint64_t size, std::uint64_t offset) {
            return changed([&](entry& e) {
                e.size = e.offset = 0xFFFFFFFFU;
                e.extra = le<std::uint16_t>(1) + le<std::uint16_t>(24) + le(size) + le(size) + le(offset);
            });
        };
        CHECK(mentions(zip64(~std::uint64_t{0}, 0), "another name"));
        CHECK(mentions(zip64(16, ~std::uint64_t{0}), "no local header"));
        CHECK(mentions(zip64(16, std::uint64_t{1} << 63U), "no local header"));
        CHECK(mentions(changed([](entry& e) {
                           e.size = 0xFFFFFFFF;
                           e.extra = le<std::uint16_t>(1) + le<std::uint16_t>(8) + le<std::uint64_t>(16);
                       }),
                       "lacks its ZIP64 sizes"));
        CHECK(mentions(changed([](entry& e) {
                           e.size = 0xFFFFFFFF;
                           e.extra = le<std::uint16_t>(1) + le<std::uint16_t>(400) + le<std::uint64_t>(16);
                       }),
                       "lacks its ZIP64 sizes"));
        CHECK(mentions(with({"", "x"}), "impossible name"));
        CHECK(mentions(with({string("m\0", 2), "x"}), "impossible name"));
        CHECK(mentions(with({"m/data.pkl", "x"}), "appears twice"));
        CHECK(mentions(with({"n/data.pkl", "x"}), "two descriptions"));
    }
    SECTION("entries that overlap") {
        // The second name points at the first entry's header, which therefore must carry that name.
        entry again = described;
        entry other = values;
        other.name = "m/data.pk2";
        other.local_name = "m/data.pkl";
        other.offset = 0;
        CHECK(mentions(refused(archive({again, other})), "another name"));
        // An entry inside the data of another one, with a proper header.
        const string inner = archive({values});
        const entry outer{"m/zip", inner};
        entry inside = values;
        const string whole = archive({described, outer});
        inside.offset = static_cast<std::uint32_t>(whole.find(inner));
        CHECK(mentions(refused(archive({described, outer, inside})), "overlap"));
    }
    SECTION("the directory at the end") {
        CHECK(mentions(as([](archive_options& o) { o.disk = 1; }), "several volumes"));
        CHECK(mentions(as([](archive_options& o) { o.more_directory = 1; }), "does not end at the end record"));
        CHECK(mentions(as([](archive_options& o) { o.before = "MZ junk"; }).substr(0, 4), "file"));
        CHECK(mentions(as([](archive_options& o) { o.more_entries = 1; }), "claims 3 entries"));
        CHECK(mentions(as([](archive_options& o) { o.more_entries = 60'000; }), "claims 60002 entries"));
        CHECK(mentions(as([](archive_options& o) {
                           o.zip64 = true;
                           o.locator_shift = 1;
                       }),
                       "not where its locator says"));
        CHECK(mentions(as([](archive_options& o) {
                           o.zip64 = true;
                           o.locator_shift = std::uint64_t{0} - 100000;
                       }),
                       "not where its locator says"));
        CHECK(mentions(as([](archive_options& o) {
                           o.zip64 = true;
                           o.locator_disks = 2;
                       }),
                       "several volumes"));
        const string good = archive({described, values});
        CHECK(mentions(refused(good + "x"), "end record is missing"));
        CHECK(mentions(refused(good.substr(0, good.size() - 22) + string(22, '\0')), "end record is missing"));
        // The central directory claims fewer entries than it has.
        string fewer = good;
        fewer[fewer.size() - 22 + 8] = fewer[fewer.size() - 22 + 10] = 1;
        CHECK(mentions(refused(fewer), "longer than its entries"));
        string saturated = good;
        saturated.replace(saturated.size() - 6, 4, "\xff\xff\xff\xff");
        CHECK(mentions(refused(saturated), "ZIP64 end record is missing"));
    }
    SECTION("what is in the archive") {
        CHECK(mentions(refused(archive({})), "without an entry"));
        CHECK(mentions(refused(archive({{"a.npy", "x"}})), "without an entry \".../data.pkl\""));
        CHECK(mentions(refused(archive({{"data.pkl", "x"}})), "without an entry"));
        CHECK(mentions(refused(archive({described})), "\"m/data/0\" is missing"));
        CHECK(mentions(refused(archive({described, {"m/data/0", "short"}})), "too few for 4 elements of F32"));
        CHECK(mentions(with({"m/byteorder", "big"}), "byte order \"big\""));
        CHECK(mentions(with({"m/byteorder", "li\nttle"}), "li\\x0attle"));
        CHECK(mentions(with({"m/constants.pkl", ""}), "TorchScript"));
        entry damaged = described;
        damaged.data[20] = static_cast<char>(damaged.data[20] ^ 1);
        damaged.crc = repaint::detail::crc32(repaint::detail::as_bytes(described.data));
        CHECK(mentions(refused(archive({damaged, values})), "the file is damaged"));
        entry flipped = values;
        flipped.data[5] = static_cast<char>(flipped.data[5] ^ 1);
        flipped.crc = repaint::detail::crc32(repaint::detail::as_bytes(values.data));
        CHECK(mentions(refused(archive({described, flipped})), "\"m/data/0\" does not match, the file is damaged"));
        // A storage's key cannot lead out of the archive: it only names another entry of it.
        const string escaping = dictionary(text("w") + tensor(storage(4, "../../../etc/passwd"), 0, {4}, {1}));
        CHECK(mentions(refused(zip_of(escaping)), "is missing"));
    }
}

TEST_CASE("the checksum is the one of ZIP, for every length modulo eight", "[torch]") {
    const auto sum = [](const string& text) { return repaint::detail::crc32(repaint::detail::as_bytes(text)); };
    CHECK(sum("") == 0);
    CHECK(sum("a") == 0xE8B7BE43);
    CHECK(sum("123456789") == 0xCBF43926);
    CHECK(sum("The quick brown fox jumps over the lazy dog") == 0x414FA339);
    CHECK(sum(string(32, '\0')) == 0x190A55AD);
    CHECK(sum(string(32, '\xff')) == 0xFF6CAB0B);
}

TEST_CASE("malformed files of the format before torch 1.6 are refused in one sentence", "[torch]") {
    const string body = dictionary(text("w") + tensor(storage(4), 0, {4}, {1}));
    const string data = le<std::int64_t>(4) + four_floats();
    CHECK(parsed(legacy_of(body)).tensors.size() == 1);
    CHECK(mentions(refused(pickle("}")), "is a pickle, but not one that torch.save wrote"));
    CHECK(mentions(refused(pickle("\x8a\x0a" + string(10, '\x11'))), "not one that torch.save wrote"));
    CHECK(mentions(refused(magic), "protocol 2 to 5"));
    CHECK(mentions(refused(magic + pickle("K\x01")), "other than 1001"));
    CHECK(mentions(refused(magic + pickle("M\xe9\x03") + pickle("N")), "on which system"));
    const string big = magic + pickle("M\xe9\x03") + pickle(dictionary(text("little_endian") + '\x89'));
    CHECK(mentions(refused(big + pickle(body) + keys({"0"}) + data), "byte order \"big\""));
    CHECK(mentions(refused(legacy_start + pickle(body) + pickle("N") + data), "does not list its storages"));
    CHECK(mentions(refused(legacy_of(body, data, {})), "\"0\" is missing"));
    CHECK(mentions(refused(legacy_of(body, data, {"1"})), "\"1\" twice or without a tensor"));
    CHECK(mentions(refused(legacy_of(body, data + data, {"0", "0"})), "\"0\" twice or without a tensor"));
    CHECK(mentions(refused(legacy_start + pickle(body) +
                           pickle("](K\x01"
                                  "e") +
                           data),
                   "twice or without a tensor"));
    CHECK(mentions(refused(legacy_of(body, {})), "cut off in storage \"0\""));
    CHECK(mentions(refused(legacy_of(body, data.substr(0, 7))), "cut off in storage \"0\""));
    CHECK(mentions(refused(legacy_of(body, data.substr(0, 23))), "cut off in storage \"0\""));
    CHECK(mentions(refused(legacy_of(body, le<std::int64_t>(5) + four_floats())), "has 5 elements, expected 4"));
    CHECK(mentions(refused(legacy_of(body, le<std::int64_t>(-1) + four_floats())), "expected 4"));
    CHECK(mentions(refused(legacy_of(body, data + "x")), "goes on for 1 bytes"));
}

TEST_CASE("other files of torch are refused with advice", "[torch]") {
    CHECK(mentions(refused("PYTORCH1" + string(100, '\0')), "PYTORCH1"));
    string tar(600, '\0');
    tar.replace(0, 8, "storages");
    tar.replace(257, 5, "ustar");
    CHECK(mentions(refused(tar), "tar archive"));
    CHECK(mentions(refusal([&] { return repaint::read_checkpoint(in_memory(tar)); }), "tar archive"));
    CHECK(mentions(refused("hello world"), "68 65 6c 6c"));
    CHECK(mentions(refused(""), "starts with the bytes"));
    CHECK(mentions(refusal([&] { return repaint::read_checkpoint(in_memory("PYTORCH1")); }), "PYTORCH1"));
}
