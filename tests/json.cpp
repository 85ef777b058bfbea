#include <csignal>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>
#include <repaint/io/mapped_file.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include "support/catch.hpp"
#include "support/hostile.hpp"

namespace {

using repaint::json_value;
using repaint::parse_json;

json_value parsed(const std::string& text) { return parse_json(text, "c.json"); }

std::string refused(const std::string& text) {
    return refusal([&] { return parsed(text); });
}

} // namespace

TEST_CASE("JSON values of every kind are read exactly", "[json]") {
    const json_value v = parsed(R"( {"null":null,"yes":true,"no":false,"small":-9223372036854775808,
        "large":18446744073709551615,"zero":-0,"real":-1.5e-3,"text":"a\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\ude00é",
        "list":[1,[],{}],"object":{"b":1,"a":2}} )");
    CHECK(v.at("null").is_null());
    CHECK(v.boolean("yes"));
    CHECK_FALSE(v.boolean("no"));
    CHECK(v.integer("small") == std::numeric_limits<std::int64_t>::min());
    CHECK(v.at("large").as_unsigned() == std::numeric_limits<std::uint64_t>::max());
    CHECK(v.integer("zero") == 0);
    CHECK(v.number("real") == -1.5e-3);
    CHECK(v.number("zero") == 0.0);
    CHECK(v.number("large") == 18446744073709551615.0);
    CHECK(v.string("text") == "a\"\\/\b\f\n\r\t\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xC3\xA9");
    CHECK(v.array("list").size() == 3);
    CHECK(v.array("list")[1].as_array().empty());
    CHECK(v.object("object")[0].first == "b");
    CHECK_FALSE(v.contains("other"));
    CHECK(v.find("other") == nullptr);
}

TEST_CASE("the accessors of JSON values name file, line, key, found and expected", "[json]") {
    const json_value v = parsed("{\n\"n\": 2.5,\n\"s\": \"x\",\n\"o\": {}\n}");
    CHECK(refusal([&] { return v.integer("n"); }) == "c.json, line 2: \"n\": expected an integer, found 2.500000");
    CHECK(refusal([&] { return v.number("s"); }) == "c.json, line 3: \"s\": expected a number, found the string \"x\"");
    CHECK(refusal([&] { return v.at("t"); }) == "c.json, line 1: the key \"t\" is missing");
    CHECK(refusal([&] { return v.boolean("o"); }) == "c.json, line 4: \"o\": expected true or false, found an object");
    CHECK(refusal([&] { return v.at("o").string("q"); }) == "c.json, line 4: the key \"q\" is missing");
    CHECK(refusal([&] { return v.array("s"); }).find("expected an array") != std::string::npos);
    CHECK(refusal([&] { return v.object("s"); }).find("expected an object") != std::string::npos);
    CHECK(refusal([&] { return parsed("-1").as_unsigned(); }).find("non-negative") != std::string::npos);
    CHECK(refusal([&] { return parsed("18446744073709551615").as_integer(); }).find("expected an integer") !=
          std::string::npos);
    CHECK(refusal([&] { return json_value().as_string(); }) == "expected a string, found null");
}

TEST_CASE("text that is not JSON is refused with line and column", "[json]") {
    CHECK(refused("") == "c.json, line 1, column 1: expected a value, found end of the text");
    CHECK(refused("{\n  \"a\": 1,\n}") ==
          "c.json, line 3, column 1: expected a key between double quotes, found \"}\"");
    CHECK(refused("[1 2]") == "c.json, line 1, column 4: expected \",\" or \"]\", found \"2\"");
    CHECK(refused("{\"a\" 1}") == "c.json, line 1, column 6: expected \":\" after the key \"a\", found \"1\"");
    CHECK(refused("{} x").find("after the end") != std::string::npos);
    CHECK(refused("{\"a\":1,\"b\":2,\"a\":3}").find("the key \"a\" twice") != std::string::npos);
    CHECK(refused("{\"a\":1,\"\\u0061\":2}").find("the key \"a\" twice") != std::string::npos);
    CHECK(refused("18446744073709551616").find("does not fit 64 bits") != std::string::npos);
    CHECK(refused("-9223372036854775809").find("does not fit 64 bits") != std::string::npos);
    CHECK(refused("1e400").find("out of the range") != std::string::npos);
    CHECK(refused("\xEF\xBB\xBF{}").find("byte order mark") != std::string::npos);
    for (const char* bad : {"{",
                            "[",
                            "[1",
                            "[1,",
                            "[,1]",
                            "[1,]",
                            "{\"a\"",
                            "{\"a\":",
                            "{\"a\":1",
                            "{a:1}",
                            "{'a':1}",
                            "{1:1}",
                            "{,}",
                            "}",
                            "]",
                            "nul",
                            "nulll",
                            "True",
                            "tru",
                            "falsee",
                            "nan",
                            "Nan",
                            "Infinit",
                            "-Inf",
                            "+Infinity",
                            "-",
                            "-x",
                            "+1",
                            "01",
                            "-01",
                            "1.",
                            ".5",
                            "1e",
                            "1e+",
                            "1.e3",
                            "0x10",
                            "1_000",
                            "\"",
                            "\"\\",
                            "\"\\\"",
                            "\"\\x41\"",
                            "\"\\u12\"",
                            "\"\\u12g4\"",
                            "\"\\ud800\"",
                            "\"\\ud800\\u0041\"",
                            "\"\\udc00\"",
                            "\"\n\"",
                            "\"\t\"",
                            "\"\xFF\"",
                            "\"\xC0\x80\"",
                            "\"\xED\xA0\x80\"",
                            "\"\xF4\x90\x80\x80\"",
                            "\"\xE2\x82\"",
                            "// c\n1",
                            "/**/1",
                            "1,2",
                            "[1]]",
                            "\x01",
                            "{\"a\":1}{"}) {
        INFO(bad);
        refused(bad);
    }
    refused(std::string("\0", 1));
    refused(std::string("\"a\0b\"", 5));
}

TEST_CASE("JSON nests up to 64 levels", "[json]") {
    const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
    CHECK(parsed(nested(64)).is_array());
    CHECK(refused(nested(65)).find("64 levels") != std::string::npos);
    std::string objects;
    for (int i = 0; i < 65; ++i) {
        objects += "{\"a\":";
    }
    CHECK(refused(objects).find("64 levels") != std::string::npos);
}

TEST_CASE("large hostile JSON is refused quickly", "[json]") {
    constexpr std::size_t size = std::size_t{16} << 20U;
    for (const char* part : {"[", "{\"a\":", "[1],", "1", "\"", "\"\\u0061", " ", "[[],", "-", "\\"}) {
        INFO(part);
        std::string text = repeated(part, size);
        text.resize(size);
        quick_refusal([&] { return parsed(text); });
        text = '[' + text;
        text.resize(size);
        quick_refusal([&] { return parsed(text); });
    }
    const std::string numbers = '[' + repeated("1,", size - 8) + "1]";
    CHECK(quick_refusal([&] { return parsed(numbers); }).find("more than 262144 values") != std::string::npos);
    CHECK(refused(std::string(size + 1, ' ')).find("accepted are up to 16777216") != std::string::npos);
}

TEST_CASE("strings of JSON survive writing and reading", "[json]") {
    std::string every;
    for (char c = 1; c < 127; ++c) {
        every += c;
    }
    every += "\xC3\xA9\xF0\x9F\x98\x80";
    CHECK(parsed(repaint::json_string(every)).as_string() == every);
}

TEST_CASE("text from files cannot break a message", "[json]") {
    using repaint::in_quotes;
    CHECK(in_quotes("a\nb\x7F\xFF") == "\"a\\x0ab\\x7f\\xff\"");
    CHECK(in_quotes("\xC2\x85\xE2\x80\xA8\xC3\xA9") == "\"\\xc2\\x85\\xe2\\x80\\xa8\xC3\xA9\"");
    CHECK(in_quotes(std::string(100000, 'a')).size() < 100);
}

TEST_CASE("files are mapped whole, and what is no file is refused", "[mapped_file]") {
    const temporary_folder folder;
    write_text(folder / "empty", "");
    write_text(folder / "full", "abc");
    CHECK(repaint::map_file(folder / "empty")->bytes().empty());
    const auto file = repaint::map_file(folder / "full");
    CHECK(repaint::detail::as_text(file->bytes()) == "abc");
    CHECK(file->path() == folder / "full");
    CHECK(refusal([&] { return repaint::map_file(folder / "none"); }).find("No such file") != std::string::npos);
    CHECK(refusal([&] { return repaint::map_file(folder.path()); }).find("is a directory") != std::string::npos);
    CHECK(refusal([&] { return repaint::map_file("/dev/null"); }).find("is a device") != std::string::npos);
    CHECK(refusal([&] { return repaint::map_file(folder / "a\nb"); }).find("a\\x0ab") != std::string::npos);
}

TEST_CASE("a pipe is read to its end", "[mapped_file]") {
    int ends[2] = {-1, -1};
    REQUIRE(::pipe(ends) == 0);
    const std::string text(3'000'000, 'x'); // more than a pipe holds
    std::thread writer([&] {
        for (std::size_t at = 0; at < text.size();) {
            const auto more = ::write(ends[1], text.data() + at, text.size() - at);
            if (more <= 0) {
                break;
            }
            at += static_cast<std::size_t>(more);
        }
        ::close(ends[1]);
    });
    const auto file = repaint::map_file("/dev/fd/" + std::to_string(ends[0]));
    writer.join();
    ::close(ends[0]);
    CHECK(repaint::detail::as_text(file->bytes()) == text);
}

TEST_CASE("a file is written whole or not at all", "[atomic_file]") {
    const temporary_folder folder;
    const auto target = folder / "out";
    const auto entries = [&] {
        return std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator());
    };
    const auto bytes = repaint::detail::as_bytes("new");

    SECTION("it appears under its name at once") {
        repaint::atomic_file file(target);
        file.write(bytes);
        file.write({});
        file.write(bytes);
        CHECK_FALSE(std::filesystem::exists(target));
        file.commit();
        CHECK(file_text(target) == "newnew");
        CHECK(entries() == 1);
    }
    SECTION("what was there stays when it is not finished") {
        write_text(target, "old");
        {
            repaint::atomic_file file(target);
            file.write(bytes);
        }
        CHECK(file_text(target) == "old");
        CHECK(entries() == 1);
    }
    SECTION("an existing file is replaced, its permissions stay, links are followed") {
        write_text(folder / "real", "old");
        REQUIRE(::chmod((folder / "real").c_str(), 0640) == 0);
        std::filesystem::create_symlink("real", target);
        repaint::write_file_atomically(target, bytes);
        CHECK(std::filesystem::is_symlink(target));
        CHECK(file_text(folder / "real") == "new");
        struct stat about {};
        REQUIRE(::stat((folder / "real").c_str(), &about) == 0);
        CHECK((about.st_mode & 0777U) == 0640U);
        CHECK(entries() == 2);
    }
    SECTION("several at once do not meet") {
        repaint::atomic_file one(target);
        repaint::atomic_file two(target);
        one.write(bytes);
        two.write(repaint::detail::as_bytes("two"));
        one.commit();
        two.commit();
        CHECK(file_text(target) == "two");
        CHECK(entries() == 1);
    }
    SECTION("what cannot be written says why") {
        using repaint::error;
        CHECK_THROWS_WITH(repaint::atomic_file(folder / "no/such/folder"), contains("No such file"));
        CHECK_THROWS_WITH(repaint::atomic_file(folder.path()), contains("is a directory"));
        // Device without space: writes fail as on a full disk.
        CHECK_THROWS_WITH(repaint::write_file_atomically("/dev/full", bytes), contains("No space left"));
        CHECK_NOTHROW(repaint::write_file_atomically("/dev/null", bytes));
        CHECK(std::filesystem::is_character_file("/dev/null"));
        CHECK(entries() == 0);
    }
    SECTION("a limit on file sizes leaves nothing behind") {
        // The child may write 1000 bytes only, and ignores the signal that says so, as a program that handles errors.
        const pid_t child = ::fork();
        if (child == 0) {
            ::signal(SIGXFSZ, SIG_IGN);
            const rlimit limit{1000, 1000};
            ::setrlimit(RLIMIT_FSIZE, &limit);
            int result = 1;
            try {
                repaint::write_file_atomically(target, std::vector<std::byte>(5000));
            } catch (const repaint::error& e) {
                result = std::string(e.what()).find("File too large") != std::string::npos ? 0 : 2;
            }
            ::_exit(result);
        }
        int status = -1;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
        CHECK(entries() == 0);
    }
}
