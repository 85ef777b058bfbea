#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <repaint/io/bytes.hpp>
#include <repaint/io/checkpoint.hpp>
#include <repaint/io/safetensors.hpp>
#include <repaint/model/network_location.hpp>

#include "support/catch.hpp"
#include "support/hostile.hpp"

namespace {

using repaint::checkpoint;
using repaint::dtype;
using repaint::read_safetensors;
using repaint::stored_tensor;

std::string file_of(const std::string& header, const std::string& data = {}) {
    return le<std::uint64_t>(header.size()) + header + data;
}

checkpoint parsed(const std::string& file) { return read_safetensors(in_memory(file)); }

std::string refused(const std::string& file) {
    return refusal([&] { return parsed(file); });
}

std::string tensor(const std::string& name, const std::string& type, const std::string& shape,
                   const std::string& offsets) {
    return '"' + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + '}';
}

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_CASE("a safetensors file gives views into itself", "[safetensors]") {
    const auto file = in_memory(file_of("{\"__metadata__\":{\"a\":\"b\"}," + tensor("x", "F32", "[1,2]", "[0,8]") +
                                            ',' + tensor("scalar", "F32", "[]", "[8,12]") + ',' +
                                            tensor("none", "F16", "[0,7]", "[12,12]") + "}   ",
                                        le(1.5F) + le(-2.0F) + le(3.0F)));
    const checkpoint c = read_safetensors(file);
    CHECK(c.format == "safetensors");
    CHECK(c.path == "file");
    CHECK(c.metadata == std::map<std::string, std::string>{{"a", "b"}});
    CHECK(c.notes.empty());
    REQUIRE(c.tensors.size() == 3);
    const stored_tensor& x = c.tensors.at("x");
    CHECK(x.shape == std::vector<std::int64_t>{1, 2});
    CHECK(x.strides == std::vector<std::int64_t>{2, 1});
    CHECK(x.type == dtype::f32);
    CHECK(x.data >= file->bytes().data());
    CHECK(x.data < file->bytes().data() + file->bytes().size());
    CHECK(values_of(x) == std::vector<float>{1.5F, -2.0F});
    CHECK(values_of(c.tensors.at("scalar")) == std::vector<float>{3.0F});
    CHECK(c.tensors.at("none").numel() == 0);
}

TEST_CASE("a safetensors file without tensors, and one padded with spaces, are accepted", "[safetensors]") {
    CHECK(parsed(file_of("{}")).tensors.empty());
    CHECK(parsed(file_of(" \n{ }  ")).tensors.empty());
    CHECK(parsed(file_of("{\"__metadata__\":{}}")).tensors.empty());
}

TEST_CASE("every type of safetensors has its size", "[safetensors]") {
    for (const auto& entry : repaint::detail::dtypes) {
        INFO(entry.name);
        CHECK(std::string(repaint::to_string(entry.type)) == entry.name);
        CHECK(repaint::bits(entry.type) == entry.bits);
        const std::string header = '{' + tensor("x", entry.name, "[8]", "[0," + std::to_string(entry.bits) + "]") + '}';
        CHECK(parsed(file_of(header, std::string(entry.bits, '\0'))).tensors.at("x").type == entry.type);
    }
    CHECK(mentions(refused(file_of('{' + tensor("x", "F4", "[3]", "[0,1]") + '}', " ")), "whole bytes"));
    CHECK(mentions(refused(file_of('{' + tensor("x", "F32\\n", "[0]", "[0,0]") + '}')), "unknown dtype"));
}

TEST_CASE("malformed safetensors files are refused in one sentence", "[safetensors]") {
    SECTION("the length of the header") {
        CHECK(mentions(refused(""), "has 0 bytes"));
        CHECK(mentions(refused("1234567"), "has 7 bytes"));
        CHECK(mentions(refused(le(std::numeric_limits<std::uint64_t>::max())), "18446744073709551615"));
        CHECK(mentions(refused(le<std::uint64_t>(100'000'001) + "{}"), "accepted are up to 100000000"));
        CHECK(mentions(refused(le<std::uint64_t>(3) + "{}"), "claims 3 bytes, the file has 2"));
        CHECK(mentions(refused(le<std::uint64_t>(std::uint64_t{1} << 63U) + "{}"), "accepted are up to"));
        CHECK(mentions(refused(le<std::uint64_t>(0)), "expected a value"));
    }
    SECTION("a header that is not the JSON it should be") {
        for (const std::string header : {"\xff",
                                         "{",
                                         "[]",
                                         "3",
                                         "null",
                                         "\"{}\"",
                                         "{\"x\":1}",
                                         "{\"x\":null}",
                                         "{\"x\":[]}",
                                         "{} {}",
                                         "{}x",
                                         "{\"\xff\":1}",
                                         "{\"x\":{\"dtype\":\"F32\"}}",
                                         "{\"x\":{\"dtype\":\"F32\",\"shape\":[]}}",
                                         "{\"x\":{\"shape\":[0],\"data_offsets\":[0,0]}}",
                                         "{\"__metadata__\":1}",
                                         "{\"__metadata__\":[]}",
                                         "{\"__metadata__\":{\"a\":1}}",
                                         "{\"__metadata__\":{\"a\":null}}",
                                         "{\"__metadata__\":{\"a\":{}}}",
                                         "{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}",
                                         "{\"__metadata__\":{},\"__metadata__\":{}}"}) {
            INFO(header);
            refused(file_of(header));
        }
        refused(file_of(std::string("{}\0", 3)));
        refused(file_of(std::string(200, '[')));
    }
    SECTION("tensors that are described wrongly") {
        const auto one = [](const std::string& type, const std::string& shape, const std::string& offsets) {
            return refused(file_of('{' + tensor("x", type, shape, offsets) + '}', "1234"));
        };
        CHECK(mentions(one("F33", "[1]", "[0,4]"), "unknown dtype \"F33\""));
        CHECK(mentions(one("F32", "1", "[0,4]"), "must be an array"));
        CHECK(mentions(one("F32", "[-1]", "[0,4]"), "non-negative integers"));
        CHECK(mentions(one("F32", "[1.0]", "[0,4]"), "non-negative integers"));
        CHECK(mentions(one("F32", "[1e0]", "[0,4]"), "non-negative integers"));
        CHECK(mentions(one("F32", "[\"1\"]", "[0,4]"), "non-negative integers"));
        CHECK(mentions(one("F32", "[[1]]", "[0,4]"), "non-negative integers"));
        CHECK(mentions(one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "more than 8"));
        CHECK(mentions(one("F32", "[1]", "[0]"), "non-negative integers"));
        CHECK(mentions(one("F32", "[1]", "[0,4,8]"), "two offsets"));
        CHECK(mentions(one("F32", "[1]", "{}"), "two offsets"));
        CHECK(mentions(one("F32", "[1]", "[4,0]"), "run backwards"));
        CHECK(mentions(one("F32", "[1]", "[0,4.0]"), "non-negative integers"));
        CHECK(mentions(one("F32", "[1]", "[0,-4]"), "non-negative integers"));
        CHECK(mentions(one("F32", "[1]", "[0,18446744073709551620]"), "does not fit 64 bits"));
        CHECK(mentions(one("F32", "[1]", "[9223372036854775808,9223372036854775812]"), "starts at data offset"));
        CHECK(mentions(one("F32", "[1]", "[18446744073709551612,18446744073709551615]"), "needs 4 bytes"));
        // 2^53 + 1 is not a double: exact integers must not go through one.
        CHECK(mentions(one("U8", "[4]", "[9007199254740993,9007199254740997]"), "9007199254740993"));
        CHECK(mentions(one("F32", "[100]", "[0,4]"), "needs 400 bytes"));
        CHECK(mentions(one("F32", "[2,18446744073709551614]", "[0,4]"), "too large"));
        CHECK(mentions(one("F32", "[2,9223372036854775807]", "[0,4]"), "overflows"));
        CHECK(mentions(one("F32", "[4611686018427387904]", "[0,0]"), "overflows"));
        CHECK(mentions(one("F32", "[4294967296,4294967296]", "[0,0]"), "overflows"));
        const std::string good = "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]";
        const auto body = [](const std::string& inside) {
            return refused(file_of("{\"x\":{" + inside + "}}", "1234"));
        };
        CHECK(mentions(body(good + ",\"dtype\":\"F32\""), "\"dtype\" appears twice"));
        CHECK(mentions(body(good + ",\"shape\":[1]"), "\"shape\" appears twice"));
        CHECK(mentions(body(good + ",\"data_offsets\":[0,4]"), "\"data_offsets\" appears twice"));
        CHECK(mentions(body(good + ",\"other\":0"), "unknown key \"other\""));
    }
    SECTION("names") {
        const std::string x = tensor("x", "U8", "[0]", "[0,0]");
        CHECK(mentions(refused(file_of('{' + x + ',' + x + '}')), "\"x\" appears twice"));
        CHECK(
            mentions(refused(file_of('{' + x + ',' + tensor("\\u0078", "U8", "[0]", "[0,0]") + '}')), "appears twice"));
        CHECK(mentions(refused(file_of('{' + tensor("a\\u0000b", "U8", "[0]", "[0,0]") + '}')), "NUL"));
        CHECK(mentions(refused(file_of('{' + tensor(std::string(257, 'n'), "U8", "[0]", "[0,0]") + '}')), "257 bytes"));
        CHECK(mentions(refused(file_of('{' + tensor("a\\nb", "U9", "[0]", "[0,0]") + '}')), "a\\x0ab"));
    }
    SECTION("holes, overlaps and bytes left over") {
        const auto two = [](const std::string& a, const std::string& b, std::size_t size) {
            return refused(file_of('{' + tensor("a", "U8", "[4]", a) + ',' + tensor("b", "U8", "[4]", b) + '}',
                                   std::string(size, '\0')));
        };
        CHECK(mentions(two("[0,4]", "[0,4]", 4), "holes nor overlaps"));
        CHECK(mentions(two("[0,4]", "[2,6]", 6), "holes nor overlaps"));
        CHECK(mentions(two("[0,4]", "[5,9]", 9), "holes nor overlaps"));
        CHECK(mentions(two("[1,5]", "[5,9]", 9), "starts at data offset 1"));
        CHECK(mentions(two("[0,4]", "[4,8]", 9), "need 8 bytes of data, the file has 9"));
        CHECK(mentions(two("[0,4]", "[4,8]", 7), "need 8 bytes of data, the file has 7"));
        CHECK(mentions(refused(file_of("{}", "PK")), "need 0 bytes of data, the file has 2"));
        // A small file that claims the same bytes a thousand times over.
        std::string header = "{";
        for (int i = 0; i < 1000; ++i) {
            header += i == 0 ? "" : ",";
            header += tensor(std::string("t").append(std::to_string(i)), "U8", "[100]", "[0,100]");
        }
        CHECK(mentions(refused(file_of(header + '}', std::string(100, '\0'))), "holes nor overlaps"));
    }
}

TEST_CASE("a safetensors file cut or flipped anywhere never does harm", "[safetensors]") {
    const std::string whole = file_of("{\"__metadata__\":{\"a\":\"b\"}," + tensor("x", "F32", "[3,2]", "[0,24]") + ',' +
                                          tensor("y", "F16", "[2]", "[24,28]") + '}',
                                      std::string(28, '\1'));
    CHECK(parsed(whole).tensors.size() == 2);
    for (std::size_t length = 0; length < whole.size(); ++length) {
        refused(whole.substr(0, length));
    }
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
        std::string flipped = whole;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        try {
            static_cast<void>(sum_of(parsed(flipped)));
        } catch (const repaint::format_error&) {
        }
    }
}

TEST_CASE("headers of 100 MB are handled in bounded time and memory", "[safetensors]") {
    constexpr std::size_t size = 100'000'000;
    const temporary_folder folder;
    const auto numbered = [](const std::string& before, const std::string& after) {
        std::string all = "{";
        for (std::size_t i = 0; all.size() < size - 400; ++i) {
            all += (i == 0 ? "" : ",") + before + std::to_string(10'000'000 + i) + after;
        }
        return all + '}';
    };
    const std::string body = "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}";
    // As large as it may be: the most tensors with the longest names and ranks, and the most metadata.
    const auto largest = [&] {
        std::string all = "{\"__metadata__\":{\"long\":\"" + std::string(8'000'000, 'a') + "\",\"escaped\":\"" +
                          repeated("\\n", 8'000'000) + "\"}";
        const std::string name(240, 'n');
        for (std::size_t i = 0; i < 65'536; ++i) {
            all += ",\"" + name + std::to_string(10'000'000 + i) +
                   "\":{\"dtype\":\"U8\",\"shape\":[0,1,1,1,1,1,1,1],\"data_offsets\":[0,0]}";
        }
        all += '}';
        return all + std::string(size - all.size(), ' ');
    };
    const auto filled = [&](const std::string& start, const std::string& part) {
        std::string all = start + repeated(part, size - start.size());
        all.resize(size);
        return all;
    };
    const auto refuses = [&](const char* what, const std::string& header) {
        INFO(what);
        const auto file = in_memory(file_of(header));
        quick_refusal([&] { return read_safetensors(file); });
    };
    refuses("arrays in arrays", filled("", "["));
    refuses("objects in objects", filled("", "{\"a\":"));
    refuses("one string", filled("{\"", "a"));
    refuses("a name", filled("{\"", "a").substr(0, size - 3) + "\":1");
    refuses("escapes", filled("{\"__metadata__\":{\"a\":\"", "\\u0061").substr(0, size - 8) + "\"}}");
    refuses("metadata", "{\"__metadata__\":" + numbered("\"", "\":\"\"") + '}');
    refuses("tensors", numbered("\"", body));
    refuses("digits", filled("{\"a\":", "1"));
    refuses("extents", filled("{\"a\":{\"shape\":[", "1,"));
    refuses("spaces", filled("{", " "));
    refuses("backslashes", filled("{\"", "\\"));
    refuses("no UTF-8", filled("{\"", "\xC3\xA9").substr(0, size - 3) + "\xFF\":");
    {
        write_text(folder / "large", file_of(largest()));
        const auto begin = std::chrono::steady_clock::now();
        CHECK(read_safetensors(folder / "large").tensors.size() == 65'536);
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
        CHECK(taken.count() < (sanitized ? 20.0 : 2.0));
        if (!sanitized) {
            const std::size_t peak = peak_memory([&] { read_safetensors(folder / "large"); });
            INFO("peak memory " << peak);
            CHECK(peak > size);
            CHECK(peak < 200'000'000);
        }
    }
    if (!sanitized) {
        write_text(folder / "large", file_of("{\"__metadata__\":" + numbered("\"", "\":\"\"") + '}'));
        CHECK(peak_memory([&] { read_safetensors(folder / "large"); }) < 200'000'000);
        write_text(folder / "large", file_of(numbered("\"", body)));
        CHECK(peak_memory([&] { read_safetensors(folder / "large"); }) < 200'000'000);
    }
}

TEST_CASE("sharded safetensors are read through their index, and only from beside it", "[safetensors]") {
    const temporary_folder folder;
    const auto shard = [](const std::string& name, float value) {
        return file_of("{\"__metadata__\":{\"format\":\"pt\"}," + tensor(name, "F32", "[1]", "[0,4]") + '}', le(value));
    };
    write_text(folder / "a.safetensors", shard("a", 1.0F));
    write_text(folder / "b.safetensors", shard("b", 2.0F));
    const auto index = folder / "m.safetensors.index.json";
    const auto with = [&](const std::string& map) {
        write_text(index, "{\"metadata\":{\"total_size\":8},\"weight_map\":" + map + '}');
        return repaint::read_checkpoint(index);
    };

    SECTION("all tensors come together") {
        const checkpoint c = with("{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}");
        CHECK(c.format == "sharded safetensors");
        REQUIRE(c.tensors.size() == 2);
        CHECK(values_of(c.tensors.at("b")) == std::vector<float>{2.0F});
        CHECK(c.metadata.at("format") == "pt");
        CHECK(c.notes.empty());
    }
    SECTION("tensors that are not listed are left out and told") {
        write_text(folder / "b.safetensors",
                   file_of('{' + tensor("b", "F32", "[1]", "[0,4]") + ',' + tensor("c", "F32", "[1]", "[4,8]") + '}',
                           std::string(8, '\0')));
        const checkpoint c = with("{\"b\":\"b.safetensors\"}");
        CHECK(c.tensors.size() == 1);
        REQUIRE(c.notes.size() == 1);
        CHECK(mentions(c.notes[0], "not listed"));
    }
    SECTION("a relative path to the index works") {
        with("{\"a\":\"a.safetensors\"}");
        const auto before = std::filesystem::current_path();
        std::filesystem::current_path(folder.path());
        CHECK(repaint::read_checkpoint("m.safetensors.index.json").tensors.size() == 1);
        std::filesystem::current_path(before);
    }
    SECTION("what the index may not say") {
        std::filesystem::create_directory(folder / "inside");
        std::filesystem::create_directory(folder / "inside/deep");
        write_text(folder / "inside/c.safetensors", shard("c", 3.0F));
        const auto refuses = [&](const std::string& map) { return refusal([&] { return with(map); }); };
        CHECK(mentions(refuses("{\"b\":\"a.safetensors\"}"), "does not have it"));
        CHECK(mentions(refuses("{\"a\":\"none.safetensors\"}"), "cannot be found"));
        for (const char* name : {"", ".", "..", "../x", "/etc/passwd", "inside/c.safetensors", "./a.safetensors",
                                 "..\\\\a.safetensors", "C:\\\\a", "a.safetensors\\u0000", "a/../a.safetensors"}) {
            INFO(name);
            CHECK(mentions(refuses("{\"a\":\"" + std::string(name) + "\"}"), "beside the index"));
        }
        CHECK(mentions(refuses("{\"a\":\"inside\"}"), "is a directory"));
        CHECK(mentions(refuses("{\"a\":1}"), "expected a string"));
        CHECK(mentions(refuses("[]"), "expected an object"));
        CHECK(mentions(refuses("{\"a\":\"a.safetensors\",\"a\":\"b.safetensors\"}"), "\"a\" twice"));
        std::filesystem::create_symlink(folder / "inside/c.safetensors", folder / "link.safetensors");
        CHECK(mentions(refuses("{\"c\":\"link.safetensors\"}"), "link out of the folder"));
        std::filesystem::create_symlink("loop", folder / "loop");
        CHECK(mentions(refuses("{\"c\":\"loop\"}"), "cannot be found"));
        write_text(index, "{\"metadata\":{}}");
        CHECK(mentions(refusal([&] { return repaint::read_checkpoint(index); }), "\"weight_map\" is missing"));
    }
    SECTION("a download cache links the index and its files into one folder") {
        std::filesystem::create_directory(folder / "snapshot");
        write_text(index, "{\"weight_map\":{\"a\":\"shard.safetensors\"}}");
        std::filesystem::create_symlink(index, folder / "snapshot/m.safetensors.index.json");
        std::filesystem::create_symlink("../a.safetensors", folder / "snapshot/shard.safetensors");
        CHECK(repaint::read_checkpoint(folder / "snapshot/m.safetensors.index.json").tensors.size() == 1);
    }
}

TEST_CASE("what write_safetensors writes is read back", "[safetensors]") {
    const temporary_folder folder;
    const std::vector<float> values = {1.0F, -0.0F, 3.5F, std::numeric_limits<float>::infinity(), 5.0F, 6.0F};
    const std::string raw = "any bytes \0\xff";
    repaint::host_tensor image({1, 2, 1, 2}, {1.0F, 2.0F, 3.0F, 4.0F});
    std::map<std::string, stored_tensor> tensors;
    tensors["x"] = repaint::describe(values, {3, 2});
    tensors["rank 8"] = repaint::describe(values, {1, 1, 1, 1, 1, 1, 6, 1});
    tensors["scalar"] = repaint::describe(std::span(values).first(1), {});
    tensors["empty"] = repaint::describe({}, {0, 5});
    tensors["raw \"\n\xC3\xA9"] = repaint::describe(repaint::detail::as_bytes(raw));
    tensors["image"] = repaint::describe(image);
    const std::map<std::string, std::string> metadata = {{"k\"", "v\n\x01"}, {"", ""}};
    repaint::write_safetensors(folder / "out", tensors, metadata);
    const checkpoint c = read_safetensors(folder / "out");
    CHECK(c.metadata == metadata);
    REQUIRE(c.tensors.size() == tensors.size());
    for (const auto& [name, t] : tensors) {
        const stored_tensor& back = c.tensors.at(name);
        CHECK(back.shape == t.shape);
        CHECK(back.type == t.type);
        const std::size_t size = t.numel() * repaint::bits(t.type) / 8;
        CHECK(std::equal(t.data, t.data + size, back.data));
        CHECK(reinterpret_cast<std::uintptr_t>(back.data) % (repaint::bits(t.type) / 8) == 0);
    }
    const std::string first = file_text(folder / "out");
    repaint::write_safetensors(folder / "out", tensors, metadata);
    CHECK(file_text(folder / "out") == first);
    repaint::write_safetensors(folder / "none", {});
    CHECK(file_text(folder / "none").size() == 16);

    using std::invalid_argument;
    const auto write = [&](const std::string& name, stored_tensor t) {
        repaint::write_safetensors(folder / "bad", {{name, std::move(t)}});
    };
    CHECK_THROWS_AS(write("\xff", tensors["x"]), invalid_argument);
    CHECK_THROWS_AS(write("__metadata__", tensors["x"]), invalid_argument);
    CHECK_THROWS_AS(write(std::string(257, 'a'), tensors["x"]), invalid_argument);
    CHECK_THROWS_AS(write("a", repaint::describe(values, {1, 1, 1, 1, 1, 1, 1, 6, 1})), invalid_argument);
    stored_tensor transposed = tensors["x"];
    transposed.strides = {1, 3};
    CHECK_THROWS_AS(write("a", transposed), invalid_argument);
    CHECK_THROWS_AS(repaint::write_safetensors(folder / "bad", {}, {{"a", "\xff"}}), invalid_argument);
    CHECK_THROWS_AS(repaint::describe(values, {3, 3}), repaint::shape_error);
    CHECK_THROWS_AS(repaint::describe(values, {-3, -2}), repaint::shape_error);
    CHECK_THROWS_AS(repaint::write_safetensors(folder / "no/folder", tensors), repaint::error);
    CHECK_FALSE(std::filesystem::exists(folder / "bad"));
}

TEST_CASE("read_weights copies only what it must", "[safetensors]") {
    const std::vector<float> values = {1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F};
    stored_tensor t = repaint::describe(values, {3, 2});
    SECTION("contiguous float32 stays where it is and keeps its owner") {
        const auto owner = std::make_shared<const int>(1);
        t.owner = owner;
        const auto w = repaint::read_weights(t, {3, 2, 1, 1});
        t = {};
        CHECK(w.values.get() == values.data());
        CHECK(w.shape == repaint::shape4{3, 2, 1, 1});
        CHECK(owner.use_count() == 2);
    }
    SECTION("axes of one element may have any stride") {
        t.shape = {1, 6, 1};
        t.strides = {77, 1, 99};
        CHECK(repaint::read_weights(t, {1, 6, 1, 1}).values.get() == values.data());
    }
    SECTION("transposed and expanded views are gathered") {
        t.shape = {2, 3};
        t.strides = {1, 2};
        const auto w = repaint::read_weights(t, {2, 3, 1, 1});
        CHECK(std::vector<float>(w.values.get(), w.values.get() + 6) == std::vector<float>{1, 3, 5, 2, 4, 6});
        t.shape = {2, 2, 3};
        t.strides = {0, 1, 2};
        CHECK(values_of(t) == std::vector<float>{1, 3, 5, 2, 4, 6, 1, 3, 5, 2, 4, 6});
    }
    SECTION("bytes that are not aligned for float are copied") {
        const std::string shifted = "x" + le(7.0F);
        t.data = repaint::detail::as_bytes(shifted).data() + 1;
        t.shape = {1};
        t.strides = {1};
        // Of the string's bytes, at most one of the two addresses is aligned.
        const auto w = repaint::read_weights(t, {1, 1, 1, 1});
        CHECK(*w.values == 7.0F);
    }
    SECTION("an empty tensor is not a missing one") {
        t.shape = {0, 3};
        CHECK(repaint::read_weights(t, {0, 3, 1, 1}).values != nullptr);
    }
    SECTION("a wrong number of elements and a type without conversion are refused") {
        CHECK_THROWS_WITH(repaint::read_weights(t, {3, 3, 1, 1}, "w"), contains("w: shape (3, 2)"));
        t.type = dtype::f8_e4m3;
        CHECK_THROWS_WITH(repaint::read_weights(t, {3, 2, 1, 1}, "w"), contains("w: elements of type F8_E4M3"));
    }
}

TEST_CASE("all 65536 half floats widen exactly", "[safetensors]") {
    for (unsigned bits = 0; bits < 65536; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const int exponent = static_cast<int>((bits >> 10U) & 31U);
        const int mantissa = static_cast<int>(bits & 1023U);
        // Exact in double: the definition of the format (IEEE 754-2019, 3.4).
        const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
        const double expected = bits >= 32768 ? -magnitude : magnitude;
        const float found = repaint::detail::widen_f16(half);
        const bool negative = std::signbit(found);
        if (exponent != 31) {
            REQUIRE(found == static_cast<float>(expected));
        } else if (mantissa == 0) {
            REQUIRE(std::isinf(found));
        } else {
            REQUIRE(std::isnan(found));
        }
        REQUIRE(negative == (bits >= 32768));
    }
}

TEST_CASE("a prefix that every name carries is stripped and told", "[safetensors]") {
    const auto names_of = [](const std::vector<std::string>& names) {
        std::string header = "{";
        for (const std::string& name : names) {
            header += header.size() == 1 ? "" : ",";
            header += tensor(name, "U8", "[0]", "[0,0]");
        }
        return repaint::locate_network(repaint::read_checkpoint(in_memory(file_of(header + '}'))));
    };
    const auto has = [](const checkpoint& c, const std::string& name) { return c.tensors.count(name) == 1; };
    const checkpoint stripped = names_of({"module._orig_mod.a.b", "module._orig_mod.c"});
    CHECK(has(stripped, "a.b"));
    CHECK(has(stripped, "c"));
    CHECK(stripped.notes.size() == 2);
    CHECK(mentions(stripped.notes[0], "\"module.\""));
    CHECK(has(names_of({"model.diffusion_model.a"}), "a"));
    CHECK(has(names_of({"model.a", "model.b"}), "b"));
    CHECK(has(names_of({"net.a"}), "a"));
    CHECK(has(names_of({"unet.a"}), "a"));
    const checkpoint kept = names_of({"model.a", "ema.a"});
    CHECK(has(kept, "model.a"));
    CHECK(kept.notes.empty());
    CHECK(has(names_of({"model.", "model.a"}), "model."));
    CHECK(names_of({}).tensors.empty());
}

TEST_CASE("a network is found under any prefix, beside anything, averaged weights first", "[safetensors]") {
    const auto file_with = [](const std::vector<std::string>& names) {
        std::string header = "{";
        for (const std::string& name : names) {
            header += header.size() == 1 ? "" : ",";
            header += tensor(name, "U8", "[0]", "[0,0]");
        }
        return repaint::read_checkpoint(in_memory(file_of(header + '}')));
    };
    const auto network_at = [](const std::string& prefix) {
        return std::vector<std::string>{prefix + "input_blocks.0.0.weight", prefix + "time_embed.0.weight"};
    };
    const auto joined = [](std::vector<std::string> a, const std::vector<std::string>& b) {
        a.insert(a.end(), b.begin(), b.end());
        return a;
    };
    const auto names = [](const checkpoint& c) {
        std::vector<std::string> found;
        for (const auto& [name, t] : c.tensors) {
            found.push_back(name);
        }
        return found;
    };
    const auto plain = network_at("");
    for (const char* prefix : {"", "network.", "netG.module.", "state_dict.model._orig_mod.", "0.", "a.b.c.d.e."}) {
        INFO(prefix);
        const checkpoint c = repaint::locate_network(file_with(network_at(prefix)));
        CHECK(names(c) == plain);
        CHECK(c.notes.empty() == std::string(prefix).empty());
    }

    // Tables of the diffusion, an optimizer and other parts of the training are left out, and named.
    const checkpoint beside = repaint::locate_network(
        file_with(joined(network_at("denoise_fn."), {"betas", "optimizer.state.0.exp_avg", "optimizer.state.0.step"})));
    CHECK(names(beside) == plain);
    CHECK(beside.notes.at(0) == "the tensors were taken from the entry \"denoise_fn\"");
    CHECK(beside.notes.at(1) == "left out beside the network: betas, optimizer (2 tensors)");
    CHECK(names(repaint::locate_network(file_with(joined(plain, {"betas", "optimizer.state.0.exp_avg"})))) == plain);
    // What may be a part of the network is not.
    CHECK(names(repaint::locate_network(file_with(joined(plain, {"input_hint_block.0.weight"})))).size() == 3);

    for (const char* average : {"ema", "model_ema", "ema_model", "ema_state_dict", "unet_ema", "averaged_model",
                                "ema.module", "EMA", "state_dict.ema_unet"}) {
        INFO(average);
        const checkpoint c = repaint::locate_network(
            file_with(joined(joined(network_at("model."), {"model.x.y"}), network_at(std::string(average) + '.'))));
        CHECK(names(c) == plain);
        CHECK(c.notes.at(0) == "the tensors were taken from the entry \"" + std::string(average) +
                                   "\", averaged weights, also there and not read: \"model\"");
    }
    for (const char* other : {"schema", "temporal.unet", "ema.online_model", "lemma"}) { // not averaged
        INFO(other);
        const checkpoint c = repaint::locate_network(
            file_with(joined(joined(network_at("model."), {"model.x.y"}), network_at(std::string(other) + '.'))));
        CHECK(names(c).size() == 3);
    }

    const checkpoint both = file_with(joined(network_at("state_dict.model."), network_at("state_dict.ema.")));
    CHECK(mentions(repaint::locate_network(both, "model").notes.at(0), "entry \"state_dict.model\""));
    CHECK(mentions(repaint::locate_network(both, "state_dict.model").notes.at(0), "entry \"state_dict.model\""));
    CHECK(mentions(repaint::locate_network(both, "ema").notes.at(0), "entry \"state_dict.ema\""));
    CHECK(mentions(refusal([&] { return repaint::locate_network(both, "mode"); }),
                   "no network under \"mode\", but under \"state_dict.ema\", \"state_dict.model\""));

    // As CompVis keeps averages: without dots.
    const checkpoint dotless = repaint::locate_network(file_with(joined(
        network_at("model.diffusion_model."), {"model_ema.decay", "model_ema.diffusion_modelinput_blocks00weight",
                                               "model_ema.diffusion_modeltime_embed0weight"})));
    CHECK(names(dotless) == plain);
    CHECK(mentions(dotless.notes.at(0), "their averages from \"model_ema\""));
    const checkpoint lightning = repaint::locate_network(file_with(joined(
        network_at("state_dict.model.diffusion_model."), {"state_dict.model_ema.diffusion_modelinput_blocks00weight",
                                                          "state_dict.model_ema.diffusion_modeltime_embed0weight"})));
    CHECK(mentions(lightning.notes.at(0), "their averages from \"model_ema\""));
}

TEST_CASE("files that are no checkpoint are refused with what they start with", "[safetensors]") {
    const auto refuses = [](const std::string& text, const std::string& name = "file") {
        return refusal([&] { return repaint::read_checkpoint(in_memory(text, name)); });
    };
    CHECK(mentions(refuses(""), "is empty"));
    CHECK(mentions(refuses("\1\2GUF\3"), "01 02 47 55 46 03, accepted are .safetensors"));
    const std::vector<std::pair<std::string, std::string>> known{
        {"\n<!DOCTYPE html><title>Google Drive", "is a web page, not a checkpoint: the download failed"},
        {"\xef\xbb\xbf<html>", "is a web page"},
        {"<?xml version='1.0'?><Error>", "an XML text"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:", "run git lfs pull"},
        {"GGUF\3", "is a GGUF file"},
        {"\x89HDF\r\n\x1a\n", "is an HDF5 file"},
        {"\x93NUMPY\1", "is an array (.npy)"},
        {"\x1f\x8b\x08", "compressed by gzip"},
        {"\x89PNG\r\n", "is a picture"},
        {std::string("\x08\x07\x12\x07pytorch", 11), "is an ONNX file"},
        {std::string(100, '\0'), "holds zeros only"}};
    for (const auto& [text, what] : known) {
        CHECK(mentions(refuses(text), what));
        CHECK(mentions(refuses(text, "m.safetensors"), what));
    }
    CHECK(mentions(refuses("short", "m.safetensors"), "starts with 8 of header length"));
    CHECK(mentions(refuses(std::string(16, '\xff'), "m.safetensors"), "18446744073709551615"));
    const temporary_folder folder;
    CHECK(mentions(refusal([&] { return repaint::read_checkpoint(folder.path()); }), "is a directory"));
    CHECK(mentions(refusal([&] { return repaint::read_checkpoint(folder / "none"); }), "No such file"));
    // A header whose length looks like the start of a pickle or of a zip archive.
    for (const std::size_t length : {std::size_t{0x80}, std::size_t{0x4B50}, std::size_t{0x7B}}) {
        CHECK(repaint::read_checkpoint(in_memory(file_of("{}" + std::string(length - 2, ' ')))).format ==
              "safetensors");
    }
}
