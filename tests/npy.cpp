#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <repaint/io/npy.hpp>

#include "support/catch.hpp"
#include "support/hostile.hpp"

namespace {

using repaint::host_tensor;
using repaint::shape4;
using std::string;

string file_of(const string& dictionary, const string& data = {}, char version = 1) {
    const string length = version == 1 ? le(static_cast<std::uint16_t>(dictionary.size()))
                                       : le(static_cast<std::uint32_t>(dictionary.size()));
    return "\x93NUMPY" + string(1, version) + string(1, '\0') + length + dictionary + data;
}

string header(const string& type, const string& shape, const string& order = "False") {
    return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }          \n";
}

host_tensor parsed(const string& file) { return repaint::read_npy(*in_memory(file)); }

string refused(const string& file) {
    return refusal([&] { return parsed(file); });
}

std::vector<float> values(const host_tensor& t) { return {t.values().begin(), t.values().end()}; }

bool mentions(const string& text, const string& part) { return text.find(part) != string::npos; }

string floats(const std::vector<float>& all) {
    string bytes;
    for (const float v : all) {
        bytes += le(v);
    }
    return bytes;
}

} // namespace

TEST_CASE("arrays of one to four dimensions are padded in front", "[npy]") {
    const string data = floats({0, 1, 2, 3, 4, 5});
    CHECK(parsed(file_of(header("<f4", "(6,)"), data)).shape() == shape4{1, 1, 1, 6});
    CHECK(parsed(file_of(header("<f4", "(2, 3)"), data)).shape() == shape4{1, 1, 2, 3});
    CHECK(parsed(file_of(header("<f4", "(1, 2, 3)"), data)).shape() == shape4{1, 1, 2, 3});
    CHECK(parsed(file_of(header("<f4", "(3, 1, 2, 1)"), data)).shape() == shape4{3, 1, 2, 1});
    CHECK(parsed(file_of(header("<f4", "(0, 3)"))).shape() == shape4{1, 1, 0, 3});
    for (const char version : {'\1', '\2', '\3'}) {
        CHECK(values(parsed(file_of(header("<f4", "(2, 3)"), data, version))) == std::vector<float>{0, 1, 2, 3, 4, 5});
    }
}

TEST_CASE("Fortran order is transposed", "[npy]") {
    const string data = floats({0, 1, 2, 3, 4, 5});
    CHECK(values(parsed(file_of(header("<f4", "(2, 3)", "True"), data))) == std::vector<float>{0, 2, 4, 1, 3, 5});
    CHECK(values(parsed(file_of(header("<f4", "(1, 3, 2)", "True"), data))) == std::vector<float>{0, 3, 1, 4, 2, 5});
    CHECK(values(parsed(file_of(header("<f4", "(6,)", "True"), data))) == std::vector<float>{0, 1, 2, 3, 4, 5});
    CHECK(parsed(file_of(header("<f4", "(0, 2147483647, 2147483647)", "True"))).size() == 0);
}

TEST_CASE("every accepted number type becomes float32", "[npy]") {
    using all = std::vector<float>;
    CHECK(values(parsed(file_of(header("<f8", "(2,)"), le(0.1) + le(-1e300)))) ==
          all{0.1F, -std::numeric_limits<float>::infinity()});
    CHECK(values(parsed(file_of(header("<f2", "(2,)"), le<std::uint16_t>(0x3C00) + le<std::uint16_t>(0xC100)))) ==
          all{1.0F, -2.5F});
    CHECK(values(parsed(file_of(header("|u1", "(3,)"), string("\0\1\xff", 3)))) == all{0, 1, 255});
    CHECK(values(parsed(file_of(header("|b1", "(3,)"), string("\0\1\1", 3)))) == all{0, 1, 1});
    CHECK(values(parsed(file_of(header("<i4", "(2,)"), le<std::int32_t>(-7) + le<std::int32_t>(7)))) == all{-7, 7});
    CHECK(values(parsed(file_of(header("<i8", "(1,)"), le<std::int64_t>(-(std::int64_t{1} << 40U))))) ==
          all{-1099511627776.0F});
    CHECK(std::isnan(values(parsed(file_of(header("<f4", "(1,)"), le(std::nanf("")))))[0]));
}

TEST_CASE("the dictionary may be spelled as Python spells it", "[npy]") {
    const string data = floats({1});
    for (const string text : {"{'shape':(1,),'fortran_order':False,'descr':'<f4'}",
                              "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (1,)}\n",
                              " { 'descr' : '<f4' , 'fortran_order' : True , 'shape' : ( 1 , ) , } \n",
                              "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)}",
                              "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1,)}"}) {
        INFO(text);
        CHECK(values(parsed(file_of(text, data))) == std::vector<float>{1});
    }
}

TEST_CASE("malformed .npy files are refused in one sentence", "[npy]") {
    const string data = floats({0, 1, 2, 3, 4, 5});
    const string good = file_of(header("<f4", "(2, 3)"), data);
    SECTION("cut off, padded and flipped") {
        for (std::size_t length = 0; length < good.size(); ++length) {
            refused(good.substr(0, length));
        }
        CHECK(mentions(refused(good + "x"), "needs 24 bytes, the file has 25"));
        for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
            string flipped = good;
            flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
            try {
                const std::size_t size = parsed(flipped).size();
                CHECK(size <= 24);
            } catch (const repaint::format_error&) {
            }
        }
    }
    SECTION("types") {
        CHECK(mentions(refused(file_of(header("|O", "(1,)"), data)), "\"|O\" is not accepted, expected numbers: <f4"));
        for (const char* type :
             {"O", "|f4", "=f4", "f4", "<f16", "<c8", "<U4", "|S4", "<u1", ">b1", "<M8[ns]", "", "<f4 "}) {
            INFO(type);
            CHECK(mentions(refused(file_of(header(type, "(6,)"), data)), "is not accepted"));
        }
        CHECK(mentions(refused(file_of("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", data)),
                       "records"));
    }
    SECTION("shapes") {
        for (const char* shape :
             {"()", "(1, 1, 1, 1, 6)", "(-6,)", "(6)", "6", "[6]", "(6,,)", "(,)", "(6, 1", "(6.0,)", "(0x6,)", "(+6,)",
              "('6',)", "(6 6)", "(None,)", "(6L,)", "(2, -0)", "(99999999999999999999,)"}) {
            INFO(shape);
            refused(file_of(header("<f4", shape), data));
        }
        CHECK(mentions(refused(file_of(header("<f4", "(7,)"), data)), "needs 28 bytes, the file has 24"));
        CHECK(mentions(refused(file_of(header("<f4", "(2147483648,)"), data)), "too many bytes"));
        CHECK(mentions(refused(file_of(header("|u1", "(2147483648, 0)"))), "too many bytes"));
        CHECK(
            mentions(refused(file_of(header("<f4", "(2147483647, 2147483647, 2147483647)"), data)), "too many bytes"));
        CHECK(mentions(refused(file_of(header("<f4", "(4611686018427387904,)"))), "too many bytes"));
        // 2^64 bytes in all, 0 when computed in 64 bits.
        CHECK(mentions(refused(file_of(header("<f4", "(1073741824, 1073741824, 4)"))), "too many bytes"));
    }
    SECTION("dictionaries") {
        const string type = "'descr': '<f4'";
        const string order = "'fortran_order': False";
        const string shape = "'shape': (6,)";
        for (const string& text : {string(),
                                   string("{}"),
                                   '{' + type + ',' + order + '}',
                                   '{' + type + ',' + shape + '}',
                                   '{' + order + ',' + shape + '}',
                                   '{' + type + ',' + type + ',' + order + ',' + shape + '}',
                                   '{' + type + ',' + order + ',' + shape + ",'more': 1}",
                                   '{' + type + ' ' + order + ',' + shape + '}',
                                   '{' + type + ",," + order + ',' + shape + '}',
                                   '{' + type + ',' + order + ',' + shape,
                                   '{' + type + ',' + order + ',' + shape + "}}",
                                   '{' + type + ',' + order + ',' + shape + "} x",
                                   '{' + type + ",'fortran_order': 0," + shape + '}',
                                   '{' + type + ",'fortran_order': true," + shape + '}',
                                   "{descr: '<f4'," + order + ',' + shape + '}',
                                   "{'descr': '<f4\"," + order + ',' + shape + '}',
                                   "{'descr': __import__('os').system('true')," + order + ',' + shape + '}',
                                   string(1, '\0'),
                                   string("{'descr'"),
                                   string("{'"),
                                   string("["),
                                   string(60000, '('),
                                   string(60000, '{')}) {
            INFO(text.substr(0, 100));
            refused(file_of(text, data));
        }
        CHECK(mentions(refused(file_of("{'a\nb': 1}", data)), "a\\x0ab"));
    }
    SECTION("versions and lengths") {
        CHECK(mentions(refused(file_of(header("<f4", "(6,)"), data, '\4')), "version 4.0"));
        CHECK(mentions(refused(file_of(header("<f4", "(6,)"), data, '\0')), "version 0.0"));
        string minor = good;
        minor[7] = 1;
        CHECK(mentions(refused(minor), "version 1.1"));
        CHECK(mentions(refused("\x93NUMPY\x02" + string(1, '\0') + "\xff\xff\xff\xff" + data), "claims 4294967295"));
        CHECK(mentions(refused("\x93NUMPY\x02" + string(1, '\0') + le(70000U) + string(80000, ' ')), "up to 65535"));
        CHECK(mentions(refused("\x89NUMPY\x01" + string(1, '\0') + "\1\1"), "is not a .npy file"));
        CHECK(mentions(refused("PK\3\4 an npz file"), "is not a .npy file"));
    }
}

TEST_CASE("what write_npy writes is aligned and read back", "[npy]") {
    const temporary_folder folder;
    for (const shape4 shape : {shape4{1, 3, 2, 5}, shape4{2, 1, 1, 1}, shape4{0, 3, 4, 4}, shape4{1, 1, 1000, 1234}}) {
        host_tensor t(shape);
        for (std::size_t i = 0; i < t.size(); ++i) {
            t.data()[i] = std::sin(static_cast<float>(i)) * 1e-3F;
        }
        const auto path = folder / "out.npy";
        repaint::write_npy(path, t);
        const host_tensor back = repaint::read_npy(path);
        CHECK(back.shape() == shape);
        CHECK(values(back) == values(t));
        const string text = file_text(path);
        CHECK((text.size() - 4 * t.size()) % 64 == 0);
        CHECK(text[text.size() - 4 * t.size() - 1] == '\n');
    }
    CHECK_THROWS_WITH(repaint::write_npy(folder / "no/such/out.npy", host_tensor({1, 1, 1, 1})),
                      contains("No such file"));
    CHECK_THROWS_WITH(repaint::write_npy("/dev/full", host_tensor({1, 1, 1, 1})), contains("No space left"));
    CHECK_THROWS_AS(repaint::read_npy(folder / "none.npy"), repaint::format_error);
}

TEST_CASE("either byte order, and integers of every size", "[npy]") {
    const auto values = [](const string& bytes) {
        const auto array = repaint::read_npy_array(*in_memory(bytes));
        return std::pair{array.type, std::vector<float>(array.values.values().begin(), array.values.values().end())};
    };
    const std::vector<float> expected{1.0F, 258.0F};
    CHECK(values(file_of(header("<u2", "(2,)"), string("\x01\x00\x02\x01", 4))) ==
          std::pair{repaint::dtype::u16, expected});
    CHECK(values(file_of(header(">u2", "(2,)"), string("\x00\x01\x01\x02", 4))) ==
          std::pair{repaint::dtype::u16, expected});
    CHECK(values(file_of(header(">f4", "(1,)"), string("\x3f\x80\x00\x00", 4))).second == std::vector<float>{1.0F});
    CHECK(values(file_of(header("|i1", "(2,)"), string("\xff\x02", 2))).second == std::vector<float>{-1.0F, 2.0F});
    CHECK(values(file_of(header(">i8", "(1,)"), string("\xff\xff\xff\xff\xff\xff\xff\xfe", 8))).second ==
          std::vector<float>{-2.0F});
}

TEST_CASE("bytes and words are written rounded and clamped, and read back", "[npy]") {
    const temporary_folder folder;
    const string path = folder / "a.npy";
    const repaint::host_tensor t({1, 1, 1, 5}, {-3.0F, 0.4F, 1.5F, 255.0F, 70000.0F});
    repaint::write_npy(path, t, repaint::dtype::u8);
    const auto bytes = repaint::read_npy_array(repaint::mapped_file(path));
    CHECK(bytes.type == repaint::dtype::u8);
    CHECK(std::vector<float>(bytes.values.values().begin(), bytes.values.values().end()) ==
          std::vector<float>{0.0F, 0.0F, 2.0F, 255.0F, 255.0F});
    repaint::write_npy(path, t, repaint::dtype::u16);
    const auto words = repaint::read_npy_array(repaint::mapped_file(path));
    CHECK(words.type == repaint::dtype::u16);
    CHECK(words.values.values()[4] == 65535.0F);
    CHECK_THROWS_AS(repaint::write_npy(path, t, repaint::dtype::i8), std::invalid_argument);
}
