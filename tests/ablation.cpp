// The program ablation: its plans and tables without the program, and the program from outside.
#include <sys/types.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <repaint/diffusion/jump_schedule.hpp>
#include <repaint/error.hpp>
#include <repaint/evaluation/mean_interval.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/mask.hpp>

#include "csv.hpp"
#include "mask_kinds.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "tables.hpp"

namespace fs = std::filesystem;
using ablation::sweep_kind;
using ablation::walk_setting;
using program::check_refused;
using program::content;
using program::joined;
using program::run;
using program::workplace;

namespace {

using rows = std::vector<std::vector<std::string>>;

const double infinity = std::numeric_limits<double>::infinity();
const double nothing = std::numeric_limits<double>::quiet_NaN();
const std::string demo_model = REPAINT_MODELS "/faces32.safetensors";

int evaluations(const walk_setting& setting) {
    repaint::jump_options jumps;
    jumps.jump_n_sample = setting.passes;
    if (setting.passes > 1) {
        jumps.jump_length = setting.jump_length;
    }
    return repaint::network_evaluations(repaint::jump_schedule(setting.timesteps, jumps));
}

std::vector<std::string> texts(const std::vector<ablation::sweep_point>& points) {
    std::vector<std::string> result;
    for (const auto& point : points) {
        result.push_back(to_string(point.sweep) + ": " + to_string(point.setting));
    }
    return result;
}

void write(const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
}

/// The table in a folder, as fields.
rows read(const fs::path& file) { return cli::parse_csv(content(file), file.string()); }

/// Column -> field, for the row whose first fields are these.
std::map<std::string, std::string> row_of(const rows& table, const std::vector<std::string>& first) {
    for (const auto& row : table) {
        if (row.size() >= first.size() && std::equal(first.begin(), first.end(), row.begin())) {
            std::map<std::string, std::string> named;
            for (std::size_t i = 0; i < row.size(); ++i) {
                named.emplace(table.front()[i], row[i]);
            }
            return named;
        }
    }
    FAIL("there is no row " << first.front());
    return {};
}

ablation::fill_result fill(std::vector<double> measures, std::size_t count = 10) {
    return {count, 7, "0123", 1.5, std::move(measures)};
}

std::vector<fs::path> files(const fs::path& folder, const std::vector<std::string>& names) {
    std::vector<fs::path> result;
    for (const auto& name : names) {
        write(folder / name, "");
        result.push_back(folder / name);
    }
    return result;
}

/// Kind -> the masks' names below the folder.
std::map<std::string, std::vector<std::string>> names_of(const ablation::mask_kinds& found, const fs::path& folder) {
    std::map<std::string, std::vector<std::string>> result;
    for (const auto& kind : found.kinds) {
        auto& names = result[kind.name];
        for (const auto& mask : kind.masks) {
            names.push_back(mask.lexically_relative(folder).generic_string());
        }
    }
    return result;
}

} // namespace

TEST_CASE("the paper's sweeps", "[ablation]") {
    SECTION("table 2") {
        const auto points = ablation::resampling_points(250, 10, {1, 2, 3, 4});
        CHECK(texts(points) ==
              std::vector<std::string>{"slowing-down: T 250", "slowing-down: T 500", "slowing-down: T 750",
                                       "slowing-down: T 1000", "resampling: T 250", "resampling: T 250, j 10, r 2",
                                       "resampling: T 250, j 10, r 3", "resampling: T 250, j 10, r 4"});
        const auto settings = ablation::settings_of(points);
        REQUIRE(settings.size() == 7);
        CHECK(settings[4] == walk_setting{250, 10, 2});
    }
    SECTION("table 3") {
        const auto points = ablation::jump_length_points(250, {1, 5, 10}, {5, 10, 15});
        CHECK(texts(points) ==
              std::vector<std::string>{
                  "jump-length: T 250, j 1, r 5", "jump-length: T 250, j 5, r 5", "jump-length: T 250, j 10, r 5",
                  "jump-length: T 250, j 1, r 10", "jump-length: T 250, j 5, r 10", "jump-length: T 250, j 10, r 10",
                  "jump-length: T 250, j 1, r 15", "jump-length: T 250, j 5, r 15", "jump-length: T 250, j 10, r 15"});
        // The published default.
        CHECK(evaluations(points[5].setting) == 2410);
    }
    SECTION("order and repetitions make no difference") {
        CHECK(texts(ablation::resampling_points(20, 3, {4, 1, 4})) ==
              texts(ablation::resampling_points(20, 3, {1, 4})));
        CHECK(texts(ablation::jump_length_points(20, {9, 2, 2}, {3, 2})) ==
              texts(ablation::jump_length_points(20, {2, 9}, {2, 3})));
        CHECK(ablation::resampling_points(20, 3, {}).empty());
        CHECK(ablation::jump_length_points(20, {}, {2}).empty());
    }
    SECTION("a setting of both is one") {
        auto points = ablation::resampling_points(20, 5, {2});
        const auto more = ablation::jump_length_points(20, {1, 5}, {2});
        points.insert(points.end(), more.begin(), more.end());
        CHECK(ablation::settings_of(points) == std::vector<walk_setting>{{40, 0, 1}, {20, 5, 2}, {20, 1, 2}});
    }
}

TEST_CASE("resampling takes as many evaluations as slowing down, less its last stretch", "[ablation]") {
    // Every stretch of j timesteps but the last is passed r times, so that r T evaluations lack (r - 1) j.
    for (const int j : {1, 2, 5, 10}) {
        for (const int r : {1, 2, 3, 4, 10}) {
            const auto points = ablation::resampling_points(50, j, {r});
            CAPTURE(j, r);
            REQUIRE(points.size() == 2);
            CHECK(evaluations(points[0].setting) == 50 * r);
            CHECK(evaluations(points[1].setting) == 50 * r - (r - 1) * j);
        }
    }
}

TEST_CASE("numbers and names in CSV", "[ablation]") {
    CHECK(cli::csv_number(0.1234567891) == "0.1234568");
    CHECK(cli::csv_number(-3.0) == "-3");
    CHECK(cli::csv_number(nothing).empty());
    CHECK(cli::csv_number(infinity) == "inf");
    const std::vector<std::string> hostile{"plain",      "",     "a,b",   "\"", "a \"quoted\" word",
                                           "two\nlines", "\r\n", ",,\"\""};
    std::string line;
    for (const auto& text : hostile) {
        line += (line.empty() ? "" : ",") + cli::csv_field(text);
    }
    CHECK(cli::parse_csv(line + "\nnext,1\r\n", "t") == rows{hostile, {"next", "1"}});
    CHECK(cli::parse_csv("", "t").empty());
    CHECK(cli::parse_csv("a,", "t") == rows{{"a", ""}});
    CHECK_THROWS_WITH(cli::parse_csv("a\n\"b", "table.csv"), contains("table.csv: line 2") && contains("quotation"));
}

TEST_CASE("settings are compared picture by picture", "[ablation]") {
    const workplace here;
    ablation::fill_table fills(here / "out", {"error", "psnr"}, {{"model", "m"}});
    // What pictures differ by is ten times what settings do.
    const std::vector<double> base{10.0, 20.0, 30.0, 40.0};
    const std::vector<double> gains{1.0, 2.0, 1.5, 1.0};
    std::vector<std::string> pictures;
    for (std::size_t i = 0; i < base.size(); ++i) {
        pictures.push_back("p" + std::to_string(i) + ".png");
        fills.add({pictures[i], "half", {20, 0, 1}}, fill({base[i], i == 0 ? infinity : 30.0}, 20));
        fills.add({pictures[i], "half", {10, 2, 2}}, fill({base[i] - gains[i], i == 1 ? nothing : 31.0}, 18));
    }
    // Of pictures that only one setting has, nothing can be said.
    pictures.push_back("alone.png");
    fills.add({"alone.png", "half", {20, 0, 1}}, fill({1000.0, 1.0}, 20));
    fills.add({"p0.png", "half", {10, 4, 2}}, fill({0.0, 0.0}, 16));
    fills.add({"p1.png", "half", {10, 4, 2}}, fill({0.0, 0.0}, 16));

    auto points = ablation::resampling_points(10, 2, {1, 2});
    const auto more = ablation::jump_length_points(10, {2, 4}, {2});
    points.insert(points.end(), more.begin(), more.end());
    const ablation::fill_selection of{&fills, pictures, {"half", "unseen"}, points};

    const auto comparisons = cli::parse_csv(ablation::comparisons_csv(of), "comparisons");
    REQUIRE(comparisons.size() == 3); // and none for kinds without fills, or of a setting with itself
    const auto resampled = row_of(comparisons, {"resampling", "half"});
    CHECK(resampled.at("against_timesteps") == "20");
    CHECK(resampled.at("against_jump_length").empty());
    CHECK(resampled.at("against_jump_n_sample") == "1");
    CHECK(resampled.at("evaluations") == "18");
    CHECK(resampled.at("against_evaluations") == "20");
    CHECK(resampled.at("pictures") == "4");
    const auto expected = repaint::mean_with_interval(std::vector<double>{-1.0, -2.0, -1.5, -1.0});
    CHECK(std::stod(resampled.at("error_difference")) == approx(-1.375));
    CHECK(std::stod(resampled.at("error_ci95")) == approx(expected.half_width).epsilon(1e-6)); // seven digits
    CHECK(std::stod(resampled.at("psnr_difference")) == approx(1.0)); // of the two that have numbers in both
    const auto longer = row_of(comparisons, {"jump-length", "half"});
    CHECK(longer.at("jump_length") == "4");
    CHECK(longer.at("against_jump_length") == "2");
    CHECK(longer.at("pictures") == "2");
    CHECK(std::stod(longer.at("error_difference")) == approx(-13.5)); // (0 - 9 + 0 - 18) / 2

    const auto summary = cli::parse_csv(ablation::summary_csv(of), "summary");
    REQUIRE(summary.size() == 5); // two points of T 10 in one pass have no fills
    const auto slow = row_of(summary, {"slowing-down", "half", "20"});
    CHECK(slow.at("pictures") == "5");
    CHECK(slow.at("exact") == "1");
    CHECK(slow.at("seconds") == "7.5");
    CHECK(slow.at("error") == "220");
    CHECK(slow.at("psnr") == "22.75"); // without the infinite one
    const auto resampling = row_of(summary, {"resampling", "half", "10"});
    CHECK(resampling.at("jump_n_sample") == "2");
    CHECK(resampling.at("exact") == "0");
    CHECK(resampling.at("psnr") == "31");
    CHECK(resampling.at("psnr_ci95") == "0");
}

TEST_CASE("a table of fills is kept and found again", "[ablation]") {
    const workplace here;
    const fs::path folder = here / "a" / "b";
    const std::map<std::string, std::string> settings{{"model", "a \"model\""}, {"labels", "none"}};
    const std::vector<std::string> measures{"error", "psnr"};
    const ablation::fill_key key{"deep/a,b.png", "half", {20, 5, 3}};
    const ablation::fill_key other{"deep/a,b.png", "half", {20, 0, 1}};
    {
        ablation::fill_table fills(folder, measures, settings);
        CHECK(fills.find(key) == nullptr);
        fills.add(key, {45, 18446744073709551615U, "00ff", 1.0 / 3.0, {nothing, infinity}});
        fills.add(other, fill({2.0 / 3.0, 1e-30}));
        fills.add(other, fill({2.0 / 3.0, 1e-30})); // again, as after a change of --shown
        fills.save();
    }
    ablation::fill_table fills(folder, measures, settings);
    REQUIRE(fills.find(key) != nullptr);
    CHECK(fills.find(key)->evaluations == 45);
    CHECK(fills.find(key)->seed == 18446744073709551615U);
    CHECK(fills.find(key)->fingerprint == "00ff");
    CHECK(std::isnan(fills.find(key)->measures[0]));
    CHECK(fills.find(key)->measures[1] == infinity);
    REQUIRE(fills.find(other) != nullptr);
    CHECK(fills.find(other)->measures == std::vector<double>{0.6666667, 1e-30}); // as the file has them
    CHECK(read(folder / "pictures.csv").size() == 3);
    const std::string before = content(folder / "pictures.csv");
    fills.save();
    CHECK(content(folder / "pictures.csv") == before);

    const auto reopened = [&](const std::string& text) {
        write(folder / "pictures.csv", text);
        ablation::fill_table(folder, measures, settings);
    };
    const std::string head = before.substr(0, before.find('\n') + 1);
    CHECK_NOTHROW(reopened(head));
    CHECK_THROWS_WITH(reopened(""), contains("pictures.csv: not the table of an ablation"));
    CHECK_THROWS_WITH(reopened("a,b\n"), contains("not the table of an ablation"));
    CHECK_THROWS_WITH(reopened(head + "a,half,20,5\n"), contains("line 2: 4 fields, expected 11"));
    CHECK_THROWS_WITH(reopened(head + "a,half,twenty,5,3,45,7,00,1,2,3\n"), contains("line 2: \"twenty\""));
    CHECK_THROWS_WITH(reopened(head + "a,half,20,5,3,45,-7,00,1,2,3\n"), contains("\"-7\" is no whole number"));
    CHECK_THROWS_WITH(reopened(head + "a,half,20,5,3,45,7,00,1,2x,3\n"), contains("\"2x\" is no number"));
    CHECK_THROWS_WITH(reopened(head + "a,half,20,5,3,99999999999999999999,7,00,1,2,3\n"), contains("no whole number"));
    CHECK_THROWS_AS(reopened(head + "\"a"), repaint::format_error);
    write(folder / "pictures.csv", before);

    CHECK_THROWS_WITH(ablation::fill_table(folder, measures, {{"model", "b"}}),
                      contains("model a \"model\", now it is b") && contains("another folder"));
    CHECK_THROWS_WITH(ablation::fill_table(folder, measures, {{"classifier", "c"}}), contains("classifier unknown"));
    for (const std::string broken : {"", "{", "[]", "{\"model\": 3}", "{\"model\": \"a\"} x"}) {
        CAPTURE(broken);
        write(folder / "settings.json", broken);
        CHECK_THROWS_AS(ablation::fill_table(folder, measures, settings), repaint::error);
    }
    fs::remove(folder / "settings.json");
    CHECK_THROWS_WITH(ablation::fill_table(folder, measures, settings), contains("no settings.json"));
    write(here / "file", "");
    CHECK_THROWS_WITH(ablation::fill_table(here / "file" / "below", measures, settings), contains("cannot be made"));
}

TEST_CASE("kinds of masks are found in files and folders", "[ablation]") {
    const workplace here;
    const auto pictures = files(here / "faces", {"a.png", "b.png", "c.png"});
    const fs::path keeps = here / "keeps";
    using found = std::map<std::string, std::vector<std::string>>;
    const auto kinds = [&] { return names_of(ablation::find_mask_kinds(keeps, pictures), keeps); };

    SECTION("a file") {
        const auto one = ablation::find_mask_kinds(files(keeps, {"half.png"})[0], pictures);
        REQUIRE(one.kinds.size() == 1);
        CHECK(one.kinds[0].name == "half");
        CHECK(one.kinds[0].masks == std::vector<fs::path>(3, keeps / "half.png"));
        CHECK_THAT(one.how, contains("one mask, half, for all"));
    }
    SECTION("a folder with one mask") {
        files(keeps, {"half.png"});
        CHECK(kinds() == found{{"half", {"half.png", "half.png", "half.png"}}});
    }
    SECTION("a folder of masks with the pictures' names") {
        files(keeps, {"c.jpg", "a.png", "b.png", "more.png"});
        CHECK(kinds() == found{{"keeps", {"a.png", "b.png", "c.jpg"}}});
    }
    SECTION("a folder of as many masks") {
        files(keeps, {"1.png", "2.png", "3.png"});
        CHECK(kinds() == found{{"keeps", {"1.png", "2.png", "3.png"}}});
    }
    SECTION("a folder of other masks: each is a kind") {
        files(keeps, {"wide.png", "half.png"});
        CHECK(kinds() ==
              found{{"half", {"half.png", "half.png", "half.png"}}, {"wide", {"wide.png", "wide.png", "wide.png"}}});
    }
    SECTION("two masks of one name") {
        files(keeps, {"half.png", "half.jpg"});
        CHECK(kinds() == found{{"half.jpg", {"half.jpg", "half.jpg", "half.jpg"}},
                               {"half.png", {"half.png", "half.png", "half.png"}}});
    }
    SECTION("a folder for each kind") {
        files(keeps, {"wide/a.png", "wide/b.png", "wide/c.png", "half/mask.png", ".hidden/mask.png"});
        fs::remove_all(keeps / ".hidden");
        CHECK(kinds() == found{{"half", {"half/mask.png", "half/mask.png", "half/mask.png"}},
                               {"wide", {"wide/a.png", "wide/b.png", "wide/c.png"}}});
    }
    SECTION("what does not fit") {
        const auto refused = [&] { return ablation::find_mask_kinds(keeps, pictures); };
        CHECK_THROWS_WITH(refused(), contains("there is no such file"));
        fs::create_directories(keeps / "wide");
        CHECK_THROWS_WITH(refused(), contains("no .png"));
        files(keeps, {"wide/a.png", "wide/b.png"});
        CHECK_THROWS_WITH(refused(), contains("c.png has no partner") && contains("masks wide"));
        files(keeps, {"wide/c.png", "half.png"});
        CHECK_THROWS_WITH(refused(), contains("holds masks and folders"));
        fs::remove_all(keeps);
        std::vector<std::string> many;
        for (int i = 0; i < 25; ++i) {
            many.push_back("mask" + std::to_string(i) + ".png");
        }
        files(keeps, many);
        CHECK_THROWS_WITH(refused(), contains("25 kinds of masks for 3 pictures, accepted are 24"));
    }
}

namespace {

/// Two of the demo's faces as a.png and b.png, and a folder of masks for each of two kinds.
std::vector<std::string> prepared(const workplace& here) {
    const fs::path faces = here / "faces";
    const fs::path keeps = here / "keeps";
    fs::create_directories(faces);
    fs::copy_file(REPAINT_MODELS "/demo/face-1.png", faces / "a.png");
    fs::copy_file(REPAINT_MODELS "/demo/face-2.png", faces / "b.png");
    for (const std::string kind : {"half", "wide"}) {
        fs::create_directories(keeps / kind);
        CHECK(run(here, {"mask", kind, "--size", "32x32", "--seed", "3", "-o", (keeps / kind / "m.png").string()})
                  .status == 0);
    }
    return {demo_model,
            "--images",
            faces.string(),
            "--keeps",
            keeps.string(),
            "--timesteps",
            "6",
            "--passes",
            "1,2",
            "--jump-length",
            "2",
            "--jump-lengths",
            "1,2",
            "--jump-passes",
            "2",
            "--threads",
            "1"};
}

/// The program ablation in a folder.
program::finished ablate(const workplace& here, const std::vector<std::string>& arguments) {
    return run(here, arguments, std::nullopt, REPAINT_ABLATION);
}

/// The command with an option set: its value replaced when the command has it, else added.
std::vector<std::string> with(std::vector<std::string> command, const std::string& option, const std::string& value) {
    const auto found = std::find(command.begin(), command.end(), option);
    if (found == command.end()) {
        return joined(std::move(command), {option, value});
    }
    *std::next(found) = value;
    return command;
}

std::vector<std::string> to(const workplace& here, const std::string& folder) {
    return {"-o", (here / folder).string()};
}

/// pictures.csv without the times it took.
rows results(const workplace& here, const std::string& folder) {
    auto table = read(here / folder / "pictures.csv");
    const auto column = std::find(table.front().begin(), table.front().end(), "seconds") - table.front().begin();
    for (auto& row : table) {
        row.erase(row.begin() + column);
    }
    return table;
}

} // namespace

TEST_CASE("an ablation from outside", "[ablation][program]") {
    const workplace here;
    const auto command = prepared(here);
    const auto first = ablate(here, joined(command, to(here, "one")));
    INFO(first.error);
    REQUIRE(first.status == 0);
    CHECK(first.out.empty());
    CHECK_THAT(first.error, contains("2 pictures with 2 kinds of masks in 4 settings: 16 fills"));

    const auto table = results(here, "one");
    REQUIRE(table.size() == 17);
    const auto row = row_of(table, {"a.png", "half", "6", "2", "2"});
    CHECK(row.at("evaluations") == "10");
    CHECK(row.at("seed") == "0");
    CHECK(row_of(table, {"b.png", "wide", "12", "", "1"}).at("seed") == "1");

    SECTION("its numbers are those of inpaint and evaluate") {
        const auto of_half = [&](const std::string& kind) { return (here / "keeps" / kind / "m.png").string(); };
        REQUIRE(run(here, {"inpaint", demo_model, "--image", (here / "faces" / "b.png").string(), "--keep",
                           of_half("half"), "--timesteps", "6", "--jump-length", "2", "--jump-n-sample", "2", "--seed",
                           "1", "--threads", "1", "--quiet", "-o", (here / "b.png").string()})
                    .status == 0);
        const auto measured = run(here, {"evaluate", (here / "b.png").string(), (here / "faces" / "b.png").string(),
                                         "--masks", of_half("half")});
        REQUIRE(measured.status == 0);
        const auto judged = cli::parse_csv(measured.out, "stdout");
        const auto expected = row_of(judged, {judged[1][0]});
        const auto found = row_of(table, {"b.png", "half", "6", "2", "2"});
        for (const std::string measure : {"psnr", "ssim", "psnr_hole", "ssim_hole"}) {
            CAPTURE(measure);
            CHECK(found.at(measure) == expected.at(measure));
        }
        // The contact sheet shows that very fill.
        const auto shown = repaint::read_picture(here / "one" / "fills" / "half" / "b-t6-j2-r2.png");
        const auto alone = repaint::read_picture(here / "b.png");
        CHECK(shown.pixels == alone.pixels);
    }
    SECTION("its error is the mean over the hole") {
        const auto filled = repaint::read_picture(here / "one" / "fills" / "wide" / "a-t12.png");
        const auto truth = repaint::read_picture(here / "faces" / "a.png");
        const auto mask = repaint::read_picture(here / "keeps" / "wide" / "m.png");
        REQUIRE(filled.pixels.size() == truth.pixels.size());
        const std::size_t count = mask.pixels.size();
        const std::size_t channels = filled.pixels.size() / count;
        double sum = 0.0;
        std::size_t missing = 0;
        for (std::size_t i = 0; i < filled.pixels.size(); ++i) {
            if (mask.pixels[i / channels] == 0) {
                sum += std::abs(static_cast<double>(filled.pixels[i]) - static_cast<double>(truth.pixels[i]));
                ++missing;
            } else {
                REQUIRE(filled.pixels[i] == truth.pixels[i]);
            }
        }
        const auto found = row_of(table, {"a.png", "wide", "12", "", "1"});
        CHECK(std::stod(found.at("mae_hole")) == approx(sum / static_cast<double>(missing)).epsilon(1e-5));
    }
    SECTION("means, comparisons and the contact sheet") {
        const auto summary = read(here / "one" / "ablation.csv");
        CHECK(summary.size() == 1 + 2 * 6);
        const auto mean = row_of(summary, {"resampling", "half", "6", "2", "2"});
        const double a = std::stod(row_of(table, {"a.png", "half", "6", "2", "2"}).at("mae_hole"));
        const double b = std::stod(row_of(table, {"b.png", "half", "6", "2", "2"}).at("mae_hole"));
        CHECK(mean.at("pictures") == "2");
        CHECK(std::stod(mean.at("mae_hole")) == approx((a + b) / 2.0).epsilon(1e-6));
        CHECK(std::stod(mean.at("mae_hole_ci95")) == approx(12.706205 * std::abs(a - b) / 2.0).epsilon(1e-5));
        CHECK(read(here / "one" / "comparisons.csv").size() == 1 + 2 * 2);
        // Two pictures with each kind of mask: truth, input and four fills, three times as large, 4 pixels apart.
        const auto sheet = repaint::read_picture(here / "one" / "contact_sheet.png");
        CHECK(sheet.height == 4 * 100 + 4);
        CHECK(sheet.width == 6 * 100 + 4);
        const auto fill = repaint::read_picture(here / "one" / "fills" / "half" / "b-t6.png");
        const std::size_t corner =
            3 * (104 * static_cast<std::size_t>(sheet.width) + 2 * 100 + 4); // second row, third cell
        CHECK(std::equal(fill.pixels.begin(), fill.pixels.begin() + 3,
                         sheet.pixels.begin() + static_cast<std::ptrdiff_t>(corner)));
    }
    SECTION("its figures, where there is matplotlib") {
        const auto python = [&](const std::string& arguments) {
            return std::system(("python3 " + arguments + " >" + (here / "python").string() + " 2>&1").c_str());
        };
        if (python("-c 'import matplotlib'") != 0) {
            WARN("there is no matplotlib for " REPAINT_ABLATION_PLOT);
            return;
        }
        const std::string summary = (here / "one" / "ablation.csv").string();
        const std::string sheet = (here / "one" / "contact_sheet.png").string();
        for (const std::string more : {"", " --measure ssim", " --sheet "}) {
            const fs::path out = here / "figure.png";
            fs::remove(out);
            const int status = python(REPAINT_ABLATION_PLOT " " + summary + " " + out.string() + more +
                                      (more == " --sheet " ? sheet : ""));
            CAPTURE(more, content(here / "python"));
            CHECK(status == 0);
            CHECK(repaint::read_picture(out).width > 600);
        }
    }
    SECTION("batches and threads change nothing") {
        const auto two = with(joined(command, to(here, "two")), "--threads", "2");
        const auto again = ablate(here, joined(two, {"--batch", "1", "--quiet"}));
        CHECK(again.status == 0);
        CHECK(again.error.empty());
        CHECK(results(here, "two") == table);
    }
    SECTION("what is there is not made again") {
        const std::string before = content(here / "one" / "pictures.csv");
        const auto again = ablate(here, joined(command, to(here, "one")));
        CHECK(again.status == 0);
        CHECK_THAT(again.error, contains("16 fills, 0 of them still to be made"));
        CHECK(content(here / "one" / "pictures.csv") == before);
        const auto more = ablate(here, with(joined(command, to(here, "one")), "--jump-lengths", "1,2,3"));
        CHECK(more.status == 0);
        CHECK_THAT(more.error, contains("20 fills, 4 of them still to be made"));
        // A fill of the contact sheet that is missing is made again.
        fs::remove(here / "one" / "fills" / "half" / "a-t6.png");
        CHECK_THAT(ablate(here, joined(command, to(here, "one"))).error, contains("1 of them still to be made"));
        CHECK(results(here, "one").size() == 21);
    }
    SECTION("what was made otherwise is not mixed in") {
        check_refused(ablate(here, joined(joined(command, to(here, "one")), {"--seed", "5"})), 1,
                      "filled with seed 0, now it is 5");
        fs::copy_file(here / "faces" / "b.png", here / "faces" / "a.png", fs::copy_options::overwrite_existing);
        check_refused(ablate(here, joined(command, to(here, "one"))), 1,
                      "a.png with mask half, filled with other pixels");
    }
}

TEST_CASE("a stopped ablation goes on", "[ablation][program]") {
    const workplace here;
    auto command = prepared(here);
    const int timesteps = REPAINT_SLOWNESS > 1 ? 40 : 150; // some seconds either way
    command = with(with(command, "--timesteps", std::to_string(timesteps)), "--passes", "1");
    command = joined(command, {"--sweep", "resampling", "--batch", "1", "--quiet"});
    REQUIRE(ablate(here, joined(command, to(here, "whole"))).status == 0);
    const auto expected = results(here, "whole");

    std::size_t stops = 0;
    int status = 130;
    for (int attempt = 0; status == 130 && attempt < 20; ++attempt) {
        const pid_t child = program::start(here, joined(command, to(here, "parts")), std::nullopt, REPAINT_ABLATION);
        std::this_thread::sleep_for(std::chrono::milliseconds((200 + 100 * attempt) * REPAINT_SLOWNESS));
        ::kill(child, SIGINT);
        // The signal may come before the program listens for it: then it ends as programs do.
        int raw = 0;
        REQUIRE(::waitpid(child, &raw, 0) == child);
        if (WIFSIGNALED(raw)) {
            continue;
        }
        status = WEXITSTATUS(raw);
        CAPTURE(attempt, content(here / "stderr"));
        REQUIRE((status == 0 || status == 130));
        if (status == 130) {
            ++stops;
            CHECK_THAT(content(here / "stderr"), contains("the same command goes on"));
            CHECK(fs::exists(here / "parts" / "stopped.safetensors"));
            CHECK(fs::exists(here / "parts" / "ablation.csv"));
        }
    }
    if (status == 130) {
        status = ablate(here, joined(command, to(here, "parts"))).status;
    }
    CHECK(status == 0);
    CHECK(stops > 0);
    CHECK(results(here, "parts") == expected);
    CHECK_FALSE(fs::exists(here / "parts" / "stopped.safetensors"));
}

TEST_CASE("an ablation that cannot be is refused in a sentence", "[ablation][program]") {
    const workplace here;
    const auto command = joined(prepared(here), to(here, "out"));
    const auto refused = [&](const std::vector<std::pair<std::string, std::string>>& options, int status,
                             const std::string& part) {
        auto changed = command;
        for (const auto& [option, value] : options) {
            changed = with(changed, option, value);
        }
        CAPTURE(changed);
        check_refused(ablate(here, changed), status, part);
    };
    const std::string nowhere = (here / "nowhere").string();
    refused({{"--timesteps", "600"}}, 1, "the setting T 1200: ");
    refused({{"--jump-length", "6"}}, 1, "the setting T 6, j 6, r 2: ");
    refused({{"--jump-lengths", "1,7"}}, 1, "the setting T 6, j 7, r 2: ");
    refused({{"--images", nowhere}}, 1, "nowhere: there is no such file or folder");
    refused({{"--keeps", nowhere}}, 1, "nowhere: there is no such file or folder");
    refused({{"--label", "3"}}, 1, "label");
    refused({{"--lpips", demo_model}}, 1, "features.0.weight");
    refused({{"-o", (here / "faces" / "out").string()}}, 1, "whose pictures are read");
    refused({{"-o", (here / "keeps").string()}}, 1, "whose pictures are read");
    refused({{"--sweep", "both"}}, 2, "--sweep");
    refused({{"--passes", "0"}}, 2, "--passes");
    refused({{"--jump-passes", "1"}}, 2, "--jump-passes");
    refused({{"--jump-lengths", "two"}}, 2, "--jump-lengths");

    const auto square = [](int side) {
        return repaint::picture{side, side, 1, std::vector<std::uint8_t>(static_cast<std::size_t>(side * side), 9)};
    };
    const fs::path odd = here / "faces" / "odd.png";
    repaint::write_picture(odd, square(30));
    refused({}, 1, "odd.png: ");
    repaint::write_picture(odd, square(64));
    refused({}, 1, "odd.png with ");
    write(odd, "no picture");
    refused({}, 1, "odd.png");
    refused({{"--limit", "2"}, {"--keeps", odd.string()}}, 1, "odd.png");
    CHECK_FALSE(fs::exists(here / "out"));
    write(here / "out", "a file");
    refused({{"--limit", "2"}}, 1, "out");
    fs::remove(here / "out");

    for (int i = 0; i < 61; ++i) {
        repaint::write_picture(here / "faces" / ("z" + std::to_string(i) + ".png"), square(32));
    }
    fs::remove(odd);
    refused({{"--shown", "61"}}, 1, "more than the 120 rows");
    refused({{"--label", "1,2"}}, 1, "label");
}
