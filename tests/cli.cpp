// The program, from outside: results against the official program, exit codes, messages, stopping and going on.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <repaint/backend/cpu/instruction_set.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/io/npy.hpp>
#include <repaint/io/safetensors.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/program.hpp"

namespace fs = std::filesystem;
using program::check_refused;
using program::content;
using program::finish;
using program::joined;
using program::run;
using program::start;
using program::workplace;
using repaint::host_tensor;
using namespace std::string_literals; // strings with a zero byte inside

namespace {

/// The command with an option set: its value replaced when the command has it, else added.
std::vector<std::string> with(std::vector<std::string> command, const std::string& option, const std::string& value) {
    const auto found = std::find(command.begin(), command.end(), option);
    if (found == command.end()) {
        command.insert(command.end(), {option, value});
    } else {
        *std::next(found) = value;
    }
    return command;
}

std::string data(const std::string& name) { return golden::data(name).string(); }

const std::string demo_model = REPAINT_MODELS "/faces32.safetensors";
const std::string demo_face = REPAINT_MODELS "/demo/face-1.png";

/// Writes the golden run's image and mask as pictures and its network's settings.
void prepare_official(const workplace& here) {
    const auto expected = repaint::read_checkpoint(data("official/unconditional/expected.safetensors"));
    const auto image = golden::tensor(expected, "image_u8");
    repaint::picture picture{image.shape().w, image.shape().h, 3, {}};
    for (int i = 0; i < image.shape().h; ++i) {
        for (int j = 0; j < image.shape().w; ++j) {
            for (int c = 0; c < 3; ++c) {
                picture.pixels.push_back(static_cast<std::uint8_t>(image(0, c, i, j)));
            }
        }
    }
    repaint::write_picture(here / "in.png", picture);
    const auto keep = golden::tensor(expected, "keep_mask");
    repaint::picture mask{keep.shape().c, keep.shape().n, 1, {}};
    for (const float value : keep.values()) {
        mask.pixels.push_back(value == 1.0F ? 255 : 0);
    }
    repaint::write_picture(here / "keep.png", mask);
    for (auto& value : mask.pixels) {
        value = static_cast<std::uint8_t>(255 - value);
    }
    repaint::write_picture(here / "paint.png", mask);
    std::ofstream(here / "F.json") << R"({"image_size": 32, "num_channels": 32, "num_res_blocks": 1,
        "channel_mult": "1,2", "learn_sigma": true, "class_cond": false, "attention_resolutions": "16", "num_heads": 4,
        "num_head_channels": 16, "use_scale_shift_norm": true, "resblock_updown": true})";
    repaint::write_npy(here / "probe.npy", golden::tensor(expected, "probe_x"));
}

std::vector<std::string> words(const std::string& line) {
    std::istringstream stream(line);
    std::vector<std::string> result;
    for (std::string word; stream >> word;) {
        result.push_back(word);
    }
    return result;
}

/// A way to compute, and how far its results may be from the official program's (max abs, pictures in [-1, 1]).
struct way {
    std::vector<std::string> options;
    double run;
    double prediction;
};

/// The official program itself moves by 3e-6 with another convolution; Winograd's tiles of 4x4 round three times as
/// much as plain sums.
const std::vector<way> ways{{{"--backend", "reference"}, 2e-5, 1e-5},
                            {{"--backend", "cpu", "--strict"}, 2e-5, 1e-5},
                            {{"--backend", "cpu"}, 5e-5, 2e-5}};

/// Image `index` of a golden file, bytes (n, h, w, c), as a picture.
repaint::picture golden_picture(const repaint::checkpoint& file, const std::string& name, int index) {
    const auto bytes = golden::tensor(file, name);
    const auto s = bytes.shape();
    repaint::picture picture{s.h, s.c, s.w, {}};
    for (const float value : bytes.image(index)) {
        picture.pixels.push_back(static_cast<std::uint8_t>(value));
    }
    return picture;
}

/// Lines of CSV as fields; the fields here have no commas in them.
std::vector<std::vector<std::string>> fields(const std::string& csv) {
    std::vector<std::vector<std::string>> rows;
    std::istringstream lines(csv);
    for (std::string line; std::getline(lines, line);) {
        auto& row = rows.emplace_back();
        std::istringstream stream(line);
        for (std::string word; std::getline(stream, word, ',');) {
            row.push_back(word);
        }
    }
    return rows;
}

} // namespace

TEST_CASE("the official program's run is reproduced", "[cli][golden]") {
    const workplace here;
    prepare_official(here);
    const auto expected = repaint::read_checkpoint(data("official/unconditional/expected.safetensors"));
    for (const auto& way : ways) {
        for (const std::string model : {"unet.pt", "unet.safetensors"}) {
            CAPTURE(way.options, model);
            const std::vector<std::string> command{"inpaint",
                                                   data("official/unconditional/" + model),
                                                   "--config",
                                                   (here / "F.json").string(),
                                                   "--image",
                                                   (here / "in.png").string(),
                                                   "--keep",
                                                   (here / "keep.png").string(),
                                                   "--timesteps",
                                                   "20",
                                                   "--jump-length",
                                                   "5",
                                                   "--jump-n-sample",
                                                   "3",
                                                   "--noise",
                                                   "torch-cpu",
                                                   "--seed",
                                                   "10",
                                                   "--raw",
                                                   "-o",
                                                   (here / "out.npy").string()};
            const auto f = run(here, joined(command, way.options));
            INFO(f.error);
            REQUIRE(f.status == 0);
            CHECK(f.out.empty());
            CHECK_THAT(f.error, contains("50 evaluations\n"));
            CHECK_THAT(f.error, contains("\nabout "));
            CHECK_THAT(f.error, contains("on " + way.options[1]));
            CHECK(largest_difference(repaint::read_npy(here / "out.npy"), golden::tensor(expected, "sample")) <
                  way.run);
        }
        CAPTURE(way.options);
        const auto predicted = run(here, joined({"predict", data("official/unconditional/unet.pt"), "--config",
                                                 (here / "F.json").string(), "--input", (here / "probe.npy").string(),
                                                 "--timestep", "321", "-o", (here / "y.npy").string()},
                                                way.options));
        REQUIRE(predicted.status == 0);
        CHECK(largest_difference(repaint::read_npy(here / "y.npy"), golden::tensor(expected, "probe_out")) <
              way.prediction);
    }
}

TEST_CASE("official runs with soft masks, batches and nested jumps are reproduced", "[cli][golden]") {
    for (const std::string name : {"soft_mask", "nested_jumps"}) {
        const workplace here;
        auto command = words(content(golden::data("official/" + name + "/cmd.txt")));
        REQUIRE(command.front() == "repaint");
        command.erase(command.begin());
        // The command names its files relative to its folder.
        for (auto& word : command) {
            if (word.ends_with(".npy")) {
                word = (here / "out.npy").string();
            } else if (word.ends_with(".png") || word.ends_with(".pt") || word.ends_with(".json")) {
                word = (golden::data("official/" + name) / word).lexically_normal().string();
            }
        }
        const auto option = std::find(command.begin(), command.end(), "--backend");
        REQUIRE(option != command.end());
        command.erase(option, option + 2);
        for (const auto& way : ways) {
            CAPTURE(name, way.options);
            const auto f = run(here, joined(command, way.options));
            INFO(f.error);
            REQUIRE(f.status == 0);
            CHECK(largest_difference(repaint::read_npy(here / "out.npy"),
                                     repaint::read_npy(golden::data("official/" + name + "/sample.npy"))) < 5e-5);
        }
    }
}

TEST_CASE("threads change no bit of a picture, instructions a rounding", "[cli]") {
    const workplace here;
    REQUIRE(run(here, {"mask", "half", "--size", "32x32", "-o", (here / "keep.png").string()}).status == 0);
    const auto fill = [&](const std::string& out, const std::vector<std::string>& more) {
        const auto f =
            run(here, joined({"inpaint", demo_model, "--image", demo_face, "--keep", (here / "keep.png").string(),
                              "--timesteps", "6", "--jump-length", "2", "--jump-n-sample", "2", "--seed", "3",
                              "--backend", "cpu", "-o", (here / out).string()},
                             more));
        INFO(f.error);
        REQUIRE(f.status == 0);
    };
    SECTION("threads") {
        for (const std::string file : {"out.png", "out.npy"}) {
            CAPTURE(file);
            fill("one-" + file, {"--threads", "1"});
            for (const std::string threads : {"2", "5"}) {
                fill(threads + "-" + file, {"--threads", threads});
                CHECK(content(here / (threads + "-" + file)) == content(here / ("one-" + file)));
            }
        }
    }
    SECTION("instructions") {
        const auto predict = [&](const std::vector<std::string>& more) {
            const auto f = run(here, joined({"predict", demo_model, "--input", (here / "x.npy").string(), "--timestep",
                                             "321", "--backend", "cpu", "-o", (here / "y.npy").string()},
                                            more));
            INFO(f.error);
            REQUIRE(f.status == 0);
            return repaint::read_npy(here / "y.npy");
        };
        repaint::write_npy(here / "x.npy", random_tensor({1, 3, 32, 32}, 1));
        const auto portable = predict({"--instructions", "portable"});
        for (const auto set : {repaint::instruction_set::avx2, repaint::instruction_set::avx512}) {
            const std::string name(to_string(set));
            CAPTURE(name);
            if (!repaint::is_supported(set)) {
                check_refused(run(here, {"predict", demo_model, "--input", (here / "x.npy").string(), "--timestep",
                                         "321", "--instructions", name, "-o", (here / "no.npy").string()}),
                              1, "does not support the instruction set " + name);
                continue;
            }
            const auto y = predict({"--instructions", name});
            CHECK(same_bits(y, predict({}))); // the default is the best there is
            // Both are within 2e-5 of exact sums.
            CHECK(largest_difference(y, portable) < 4e-5);
        }
    }
}

TEST_CASE("known pixels keep the file's bytes, and both mask conventions agree", "[cli]") {
    const workplace here;
    const auto face = repaint::read_picture(demo_face);
    REQUIRE(run(here, {"mask", "half", "--size", "32x32", "-o", (here / "keep.png").string()}).status == 0);
    auto mask = repaint::read_picture(here / "keep.png");
    CHECK(mask.pixels[0] == 255);
    CHECK(mask.pixels[31] == 0);
    for (auto& value : mask.pixels) {
        value = static_cast<std::uint8_t>(255 - value);
    }
    repaint::write_picture(here / "paint.png", mask);
    const std::vector<std::string> common{"inpaint",         demo_model, "--image",       demo_face,
                                          "--timesteps",     "6",        "--jump-length", "2",
                                          "--jump-n-sample", "2",        "--seed",        "3"};
    const auto fill = [&](std::vector<std::string> more) {
        auto command = common;
        command.insert(command.end(), more.begin(), more.end());
        const auto f = run(here, command);
        INFO(f.error);
        REQUIRE(f.status == 0);
    };
    fill({"--keep", (here / "keep.png").string(), "-o", (here / "a.png").string()});
    fill({"--paint", (here / "paint.png").string(), "-o", (here / "b.png").string(), "--quiet"});
    CHECK(content(here / "stderr").empty());
    const auto filled = repaint::read_picture(here / "a.png");
    CHECK(filled.pixels == repaint::read_picture(here / "b.png").pixels);
    REQUIRE(filled.channels == 3);
    bool known_kept = true;
    bool rest_changed = false;
    for (std::size_t i = 0; i < filled.pixels.size(); ++i) {
        const bool known = (i / 3) % 32 < 16;
        known_kept = known_kept && (!known || filled.pixels[i] == face.pixels[i]);
        rest_changed = rest_changed || (!known && filled.pixels[i] != face.pixels[i]);
    }
    CHECK(known_kept);
    CHECK(rest_changed);

    SECTION("picture p of a run is the picture of seed + p alone, whatever the batch") {
        fill(
            {"--keep", (here / "keep.png").string(), "--samples", "3", "--batch", "2", "-o", (here / "many").string()});
        for (const auto& [file, seed] : {std::pair<std::string, std::string>{"many/face-1.png", "3"},
                                         {"many/face-1-2.png", "4"},
                                         {"many/face-1-3.png", "5"}}) {
            CAPTURE(file);
            REQUIRE(fs::exists(here / file));
            auto alone = with(common, "--seed", seed);
            alone.insert(alone.end(), {"--keep", (here / "keep.png").string(), "-o", (here / "one.png").string()});
            REQUIRE(run(here, alone).status == 0);
            CHECK(repaint::read_picture(here / file).pixels == repaint::read_picture(here / "one.png").pixels);
        }
    }
    SECTION("several pictures in one array, in the order given") {
        fill({"--keep", (here / "keep.png").string(), "--samples", "2", "-o", (here / "all.npy").string()});
        const auto all = repaint::read_npy(here / "all.npy");
        REQUIRE(all.shape() == repaint::shape4{2, 3, 32, 32});
        const auto first = repaint::to_picture(all, 0);
        CHECK(first.pixels == filled.pixels);
    }
    SECTION("alpha is kept where the picture is, and grey stays grey") {
        repaint::picture rgba{32, 32, 4, {}};
        repaint::picture grey{32, 32, 1, {}};
        for (std::size_t i = 0; i < 32 * 32; ++i) {
            for (std::size_t c = 0; c < 3; ++c) {
                rgba.pixels.push_back(face.pixels[3 * i + c]);
            }
            rgba.pixels.push_back(static_cast<std::uint8_t>(i));
            grey.pixels.push_back(face.pixels[3 * i]);
        }
        repaint::write_picture(here / "rgba.png", rgba);
        repaint::write_picture(here / "grey.png", grey);
        fill({"--image", (here / "rgba.png").string(), (here / "grey.png").string(), "--keep",
              (here / "keep.png").string(), "-o", (here / "out").string()});
        // --image given twice: the first came with the common options.
        const auto with_alpha = repaint::read_picture(here / "out/rgba.png");
        REQUIRE(with_alpha.channels == 4);
        CHECK(with_alpha.pixels[4 * 77 + 3] == 77);  // of the left half, which is known
        CHECK(with_alpha.pixels[4 * 90 + 3] == 255); // of the right half
        const auto still_grey = repaint::read_picture(here / "out/grey.png");
        REQUIRE(still_grey.channels == 1);
        CHECK(still_grey.pixels[77] == grey.pixels[77]);
    }
}

TEST_CASE("an interrupted run goes on where it was", "[cli]") {
    const workplace here;
    REQUIRE(run(here, {"mask", "half", "--size", "32x32", "-o", (here / "keep.png").string()}).status == 0);
    for (const std::string noise : {"philox", "torch-cpu", "torch-cuda"}) {
        for (const std::string out : {"out.npy", "out"}) {
            CAPTURE(noise, out);
            std::vector<std::string> command{
                "inpaint",     demo_model, "--image",       demo_face, "--keep",          (here / "keep.png").string(),
                "--timesteps", "60",       "--jump-length", "10",      "--jump-n-sample", "2",
                "--noise",     noise,      "--samples",     "2"};
            if (noise == "torch-cuda") {
                command = joined(command, {"--noise-device", "H200"});
            }
            command = joined(command, {"-o", (here / out).string()});
            const pid_t child = start(here, command);
            for (int i = 0; i < 6000 && content(here / "stderr").find("about") == std::string::npos; ++i) {
                std::this_thread::sleep_for(std::chrono::milliseconds(10)); // until the first evaluation is done
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(150)); // a tenth of the run on two cores
            ::kill(child, SIGINT);
            const auto stopped = finish(here, child);
            INFO(stopped.error);
            if (stopped.status == 0) {
                continue; // a very fast machine was done already
            }
            CHECK(stopped.status == 130);
            const fs::path state = here / (out + ".resume");
            CHECK_THAT(stopped.error, contains("--resume " + state.string()));
            REQUIRE(fs::exists(state));
            CHECK_FALSE(fs::exists(here / "out.npy"));

            const auto resumed = with(command, "--resume", state.string());
            check_refused(run(here, with(resumed, "--timesteps", "50")), 1, "timesteps 60");
            if (noise == "torch-cuda") {
                check_refused(run(here, with(resumed, "--noise-device", "A100")), 1, "noise torch-cuda H200");
            }
            const auto f = run(here, resumed);
            INFO(f.error);
            REQUIRE(f.status == 0);
            CHECK_FALSE(fs::exists(state));
            const std::string whole = "whole" + std::string(out == "out" ? "" : ".npy");
            auto uninterrupted = command;
            uninterrupted.back() = (here / whole).string();
            REQUIRE(run(here, uninterrupted).status == 0);
            if (out == "out") {
                for (const std::string file : {"face-1.png", "face-1-2.png"}) {
                    CHECK(content(here / ("out/" + file)) == content(here / ("whole/" + file)));
                }
            } else {
                CHECK(content(here / "out.npy") == content(here / "whole.npy"));
                fs::remove(here / "out.npy");
            }
        }
    }
}

TEST_CASE("noise as PyTorch draws it on a GPU", "[cli]") {
    const workplace here;
    REQUIRE(run(here, {"mask", "half", "--size", "32x32", "-o", (here / "keep.png").string()}).status == 0);
    const std::vector<std::string> inpaint{
        "inpaint",     demo_model, "--image",       demo_face, "--keep",          (here / "keep.png").string(),
        "--timesteps", "4",        "--jump-length", "2",       "--jump-n-sample", "2"};
    const std::vector<std::string> sample{"sample", demo_model, "--timesteps", "4"};
    for (const auto& command : {inpaint, sample}) {
        CAPTURE(command.front());
        const auto drawn = [&](const std::vector<std::string>& noise) {
            const auto f = run(here, joined(joined(command, noise), {"-o", (here / "out.npy").string()}));
            INFO(f.error);
            REQUIRE(f.status == 0);
            return repaint::read_npy(here / "out.npy");
        };
        const auto once = drawn({"--noise", "torch-cuda", "--noise-device", "RTX 3090"});
        CHECK(same_bits(once, drawn({"--noise", "torch-cuda", "--noise-device", "RTX 3090"})));
        CHECK_FALSE(same_bits(once, drawn({"--noise", "torch-cuda", "--noise-device", "RTX 3090", "--seed", "1"})));
        CHECK_FALSE(same_bits(once, drawn({"--noise", "torch-cpu"})));
        CHECK_FALSE(same_bits(once, drawn({})));
        const auto refused = [&](const std::vector<std::string>& noise, const std::string& part) {
            check_refused(run(here, joined(joined(command, noise), {"-o", (here / "no.npy").string()})), 1, part);
        };
        refused({"--noise", "torch-cuda", "--noise-device", "RTX"},
                "--noise-device RTX is not known, the GPU that PyTorch would draw on; accepted: A100, H100, H200, RTX "
                "3090, RTX 4090, T4, V100");
        refused({"--noise", "torch-cuda"}, "--noise torch-cuda needs --noise-device");
        refused({"--noise", "torch-cpu", "--noise-device", "A100"}, "--noise torch-cpu has no --noise-device");
        refused({"--noise-device", "A100"}, "--noise philox has no --noise-device");
    }
}

TEST_CASE("the backend cuda says what is missing before it reads anything", "[cli]") {
    const workplace here;
    REQUIRE(run(here, {"mask", "half", "--size", "32x32", "-o", (here / "keep.png").string()}).status == 0);
    // Without a device: tests that have one are others.
    const std::string missing = REPAINT_HAS_CUDA != 0
                                    ? "which the backend cuda needs"
                                    : "the backend cuda is not in this build (configure with -D REPAINT_CUDA=ON, which "
                                      "needs nvcc and cuDNN 9); it has: cpu, reference";
    const std::vector<std::string> bench{"bench", "--preset", "guided-256"};
    const auto begin = std::chrono::steady_clock::now();
    check_refused(run(here, joined(bench, {"--backend", "cuda"})), 1, missing);
    check_refused(run(here, {"inpaint", (here / "none.pt").string(), "--image", demo_face, "--keep",
                             (here / "keep.png").string(), "-o", (here / "out.png").string(), "--backend", "cuda"}),
                  1, missing);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5 * REPAINT_SLOWNESS));

    // Its options are its own.
    for (const std::string backend : {"cpu", "reference"}) {
        const auto refused = [&](const std::vector<std::string>& more, const std::string& option) {
            check_refused(run(here, joined(joined(bench, {"--backend", backend}), more)), 1,
                          "the backend " + backend + " has no " + option);
        };
        refused({"--precision", "half"}, "--precision");
        refused({"--device", "0"}, "--device");
        refused({"--plans", "plans.json"}, "--plans");
        refused({"--tune"}, "--tune");
    }
    check_refused(run(here, joined(bench, {"--backend", "cuda", "--precision", "double"})), 2, "--precision");
    check_refused(run(here, joined(bench, {"--backend", "cuda", "--device", "-1"})), 2, "--device");
    if (REPAINT_HAS_CUDA != 0) {
        for (const std::string precision : {"half", "bfloat16", "tf32"}) {
            check_refused(run(here, joined(bench, {"--backend", "cuda", "--strict", "--precision", precision})), 1,
                          "--strict with the backend cuda means --precision float, not " + precision);
        }
        check_refused(run(here, joined(bench, {"--backend", "cuda", "--strict", "--precision", "float"})), 1, missing);
    }
}

TEST_CASE("schedule counts what a run will cost", "[cli]") {
    const workplace here;
    const auto f = run(here, {"schedule", "--timesteps", "250", "--jump-length", "10", "--jump-n-sample", "10",
                              "--seconds-per-evaluation", "0.5"});
    REQUIRE(f.status == 0);
    CHECK_THAT(f.out, contains("2410 evaluations, 4570 transitions"));
    CHECK_THAT(f.out, contains("about 20 min 5 s"));
    CHECK(f.error.empty());
    const auto listed =
        run(here, {"schedule", "--timesteps", "5", "--jump-length", "2", "--jump-n-sample", "2", "--list"});
    CHECK_THAT(listed.out, contains("9 evaluations, 13 transitions"));
    CHECK_THAT(listed.out, contains("\n4 3\n3 2\n2 3\n3 4\n4 3\n3 2\n2 1\n1 0\n0 1\n1 2\n2 1\n1 0\n0 -1\n"));
}

TEST_CASE("info names what was found, without reading the weights", "[cli]") {
    const workplace here;
    const auto f = run(here, {"info", demo_model});
    REQUIRE(f.status == 0);
    CHECK_THAT(f.out, contains("3,162,822"));
    CHECK_THAT(f.out, contains("guided-diffusion U-Net"));

    // A checkpoint of the published 256x256 network's size; all its bytes are a hole in the file.
    std::ifstream lines(golden::data("state_dicts/256_unconditional.txt"));
    std::string header = "{";
    std::uint64_t offset = 0;
    std::string line;
    while (std::getline(lines, line)) {
        const std::size_t bracket = line.find(" [");
        std::uint64_t count = 1;
        std::istringstream extents(line.substr(bracket + 2));
        for (std::uint64_t extent = 0; extents >> extent;) {
            count *= extent;
            extents.ignore();
        }
        header += (offset == 0 ? "\"" : ",\"") + line.substr(0, bracket) + R"(":{"dtype":"F32","shape":)" +
                  line.substr(bracket + 1) + R"(,"data_offsets":[)" + std::to_string(offset) + "," +
                  std::to_string(offset + 4 * count) + "]}";
        offset += 4 * count;
    }
    header += "}";
    const fs::path file = here / "celeba256.safetensors";
    std::ofstream stream(file, std::ios::binary);
    const std::uint64_t length = header.size();
    stream.write(reinterpret_cast<const char*>(&length), 8);
    stream << header;
    stream.close();
    fs::resize_file(file, 8 + length + offset);
    const auto big = run(here, {"info", file.string()});
    INFO(big.error);
    REQUIRE(big.status == 0);
    CHECK_THAT(big.out, contains("566\n"));
    CHECK_THAT(big.out, contains("552,814,086\n"));
    CHECK_THAT(big.out, contains("of 64 channels"));
}

TEST_CASE("bench prints one line of JSON", "[cli]") {
    const workplace here;
    const auto f = run(here, {"bench", demo_model, "--batch", "2", "--runs", "3", "--threads", "1"});
    REQUIRE(f.status == 0);
    const auto parsed = repaint::parse_json(f.out, "bench");
    CHECK(parsed.integer("batch") == 2);
    CHECK(parsed.integer("runs") == 3);
    CHECK(parsed.number("min_ms") > 0.0);
    CHECK(parsed.number("min_ms") <= parsed.number("median_ms"));
    CHECK(parsed.number("median_ms") <= parsed.number("max_ms"));
}

TEST_CASE("bench needs no model when a preset is named", "[cli]") {
    const workplace here;
    const std::vector<std::string> command{"bench", "--preset", "guided-64", "--runs", "1"};
    const auto f = run(here, with(command, "--size", "16x8"));
    INFO(f.error);
    REQUIRE(f.status == 0);
    const auto parsed = repaint::parse_json(f.out, "bench");
    CHECK(parsed.string("preset") == "guided-64");
    CHECK(parsed.integer("width") == 16);
    CHECK(parsed.integer("height") == 8);
    CHECK(parsed.number("min_ms") > 0.0);

    check_refused(run(here, with(command, "--preset", "guided")), 1, "guided-64, imagenet-64, guided-256");
    check_refused(run(here, with(command, "--size", "20x16")), 1, "multiples of 8");
    check_refused(run(here, with(command, "--config", demo_face)), 2, "excludes --preset");
    check_refused(run(here, {"bench", demo_model, "--preset", "guided-64"}), 2, "excludes --preset");
    check_refused(run(here, {"bench"}), 2, "MODEL or --preset NAME is required");
}

TEST_CASE("wrong usage exits with 2", "[cli]") {
    const workplace here;
    CHECK(run(here, {}).status == 2);
    CHECK(run(here, {"paint"}).status == 2);
    CHECK(run(here, {"inpaint", demo_model, "--image", demo_face, "-o", "x.png"}).status == 2); // neither mask
    CHECK(
        run(here, {"inpaint", demo_model, "--image", demo_face, "--keep", "k", "--paint", "p", "-o", "x.png"}).status ==
        2);
    CHECK(run(here, {"inpaint", demo_model, "--image", demo_face, "--keep", "k", "-o", "x.png", "--noise", "white"})
              .status == 2);
    CHECK(run(here, {"inpaint", demo_model, "--image", demo_face, "--keep", "k", "-o", "x.png", "--samples", "0"})
              .status == 2);
    for (const auto& [option, value] : {std::pair<std::string, std::string>{"--instructions", "sse9"},
                                        {"--instructions", ""},
                                        {"--threads", "0"},
                                        {"--threads", "many"}}) {
        CAPTURE(option, value);
        CHECK(run(here, {"bench", demo_model, option, value}).status == 2);
    }
    CHECK(run(here, {"schedule", "--jump-length", "ten"}).status == 2);
    CHECK(run(here, {"--help"}).status == 0);
    CHECK(run(here, {"inpaint", "--help"}).status == 0);
    CHECK(run(here, {"--version"}).status == 0);
}

TEST_CASE("what cannot be done exits with 1 and one sentence", "[cli]") {
    const workplace here;
    REQUIRE(run(here, {"mask", "half", "--size", "32x32", "-o", (here / "keep.png").string()}).status == 0);
    REQUIRE(run(here, {"mask", "half", "--size", "16x32", "-o", (here / "narrow.png").string()}).status == 0);
    const std::string keep = (here / "keep.png").string();
    const std::string out = (here / "out.png").string();
    const auto inpaint = [&](const std::string& model, const std::string& image, const std::string& mask,
                             const std::vector<std::string>& more = {}) {
        std::vector<std::string> command{"inpaint", model, "--image",     image, "--keep",          mask,
                                         "-o",      out,   "--timesteps", "4",   "--jump-n-sample", "1"};
        for (std::size_t i = 0; i < more.size(); i += 2) {
            command = with(std::move(command), more[i], more[i + 1]);
        }
        const auto f = run(here, command);
        CHECK_FALSE(fs::exists(out)); // nothing half done is left
        return f;
    };
    check_refused(inpaint((here / "none.pt").string(), demo_face, keep), 1, "none.pt");
    check_refused(inpaint(demo_model, (here / "none.png").string(), keep), 1, "none.png");
    check_refused(inpaint(demo_model, demo_face, (here / "none.png").string()), 1, "none.png");
    check_refused(inpaint(demo_model, demo_model, keep), 1, "faces32.safetensors");
    check_refused(inpaint(demo_face, demo_face, keep), 1, "face-1.png");
    check_refused(inpaint(demo_model, demo_face, (here / "narrow.png").string()), 1,
                  "the mask is 16x32, the picture " + demo_face + " is 32x32");
    check_refused(inpaint(demo_model, demo_face, keep, {"--timesteps", "2000"}), 1, "2000");
    check_refused(inpaint(demo_model, demo_face, keep, {"--jump-n-sample", "3"}), 1, "jump_length");
    check_refused(inpaint(demo_model, demo_face, keep, {"--label", "1"}), 1, "not class-conditional");
    check_refused(inpaint(demo_model, demo_face, keep, {"--backend", "tpu"}), 1,
                  REPAINT_HAS_CUDA != 0 ? "not in this build; it has: cuda, cpu, reference"
                                        : "not in this build; it has: cpu, reference");
    check_refused(inpaint(demo_model, demo_face, keep, {"--config", demo_face}), 1, "face-1.png");
    check_refused(inpaint(demo_model, demo_face, keep, {"--resume", demo_model}), 1, "not the state of a stopped run");
    check_refused(run(here, {"inpaint", demo_model, "--image", demo_face, "--keep", keep, "-o",
                             (here / "missing/out.png").string()}),
                  1, "there is no folder");
    check_refused(
        run(here, {"inpaint", demo_model, "--image", demo_face, "--keep", keep, "-o", (here / "out.gif").string()}), 1,
        ".png, .jpg or .npy");
    check_refused(run(here, {"inpaint", demo_model, "--image", demo_face, "--keep", keep, "--samples", "2", "-o", out}),
                  1, "2 pictures");
    check_refused(run(here, {"mask", "round", "--size", "8x8", "-o", out}), 1, "super-resolve");
    check_refused(run(here, {"mask", "half", "--size", "8", "-o", out}), 1, "WIDTHxHEIGHT");
    check_refused(run(here, {"mask", "half", "--size", "99999x99999", "-o", out}), 1, "65535");

    repaint::write_picture(here / "odd.png", repaint::picture{33, 31, 1, std::vector<std::uint8_t>(33 * 31)});
    auto odd_mask = repaint::picture{33, 31, 1, std::vector<std::uint8_t>(33 * 31)};
    std::fill(odd_mask.pixels.begin() + 300, odd_mask.pixels.end(), std::uint8_t{255});
    repaint::write_picture(here / "odd_mask.png", odd_mask);
    check_refused(inpaint(demo_model, (here / "odd.png").string(), (here / "odd_mask.png").string()), 1,
                  "multiples of 4, got 33x31");
    if (fs::exists("/dev/full")) {
        check_refused(run(here, {"mask", "half", "--size", "64x64", "-o", "/dev/full"}), 1, "/dev/full");
    }
}

TEST_CASE("an array without images is refused in a sentence", "[cli]") {
    const workplace here;
    REQUIRE(run(here, {"mask", "half", "--size", "32x32", "-o", (here / "keep.png").string()}).status == 0);
    const std::string keep = (here / "keep.png").string();
    const std::string out = (here / "out.npy").string();
    for (const auto& shape :
         {repaint::shape4{0, 3, 32, 32}, {0, 1, 32, 32}, {1, 0, 32, 32}, {1, 3, 0, 32}, {1, 3, 32, 0}}) {
        CAPTURE(to_string(shape));
        const std::string empty = (here / "empty.npy").string();
        repaint::write_npy(empty, host_tensor(shape));
        const auto refused = [&](const std::vector<std::string>& command) {
            CAPTURE(command);
            check_refused(run(here, command), 1,
                          "empty.npy: there is no image in an array of shape " + to_string(shape));
            CHECK_FALSE(fs::exists(out));
        };
        refused({"inpaint", demo_model, "--image", empty, "--keep", keep, "-o", out});
        refused({"inpaint", demo_model, "--image", demo_face, empty, "--keep", keep, "-o", out});
        refused({"inpaint", demo_model, "--image", demo_face, "--keep", empty, "-o", out});
        refused({"inpaint", demo_model, "--image", demo_face, "--paint", empty, "-o", out});
        refused({"predict", demo_model, "--input", empty, "--timestep", "1", "-o", out});
        // These read pictures only, and say so of any array.
        check_refused(run(here, {"evaluate", empty, demo_face}), 1, "empty.npy: is not a picture");
        check_refused(run(here, {"evaluate", demo_face, empty}), 1, "empty.npy: is not a picture");
        check_refused(run(here, {"evaluate", demo_face, demo_face, "--masks", empty}), 1,
                      "empty.npy: is not a picture");
    }
}

TEST_CASE("whole numbers are decimal", "[cli]") {
    const workplace here;
    const auto mask = [&](const std::string& seed) {
        const std::string out = (here / "mask.png").string();
        REQUIRE(run(here, {"mask", "wide", "--size", "32x32", "--seed", seed, "-o", out}).status == 0);
        return content(out);
    };
    CHECK(mask("010") == mask("10")); // and not 8
    CHECK(mask("010") != mask("8"));
    CHECK(mask("000") == mask("0"));
    CHECK(mask("018446744073709551615") == mask("18446744073709551615"));
    CHECK(run(here, {"schedule", "--jump-length", "010"}).out == run(here, {"schedule", "--jump-length", "10"}).out);
    for (const std::string number : {"0x10", "0b1", "1e1", "1.0", "", "-", "true", "10 ", "1'0"}) {
        CAPTURE(number);
        check_refused(run(here, {"mask", "wide", "--size", "8x8", "--seed", number, "-o", "no.png"}), 2, "--seed");
        check_refused(run(here, {"schedule", "--n-sample=" + number}), 2, "--n-sample");
        check_refused(run(here, {"sample", demo_model, "--label", number, "-o", "no.png"}), 2, "--label");
        check_refused(run(here, {"predict", demo_model, "--input", "x.npy", "--timestep", "1", "--label=" + number,
                                 "-o", "no.npy"}),
                      2, "--label");
    }
}

TEST_CASE("damaged and hostile checkpoints are refused quickly", "[cli]") {
    const workplace here;
    const std::string good = content(data("official/unconditional/unet.pt"));
    const auto refused = [&](const std::string& bytes, const std::string& name) {
        CAPTURE(name);
        std::ofstream(here / name, std::ios::binary) << bytes;
        const auto begin = std::chrono::steady_clock::now();
        const auto f = run(here, {"info", (here / name).string()});
        check_refused(f, 1, name);
        CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(2 * REPAINT_SLOWNESS));
        CHECK(f.peak_kilobytes < 200'000 * REPAINT_SLOWNESS);
    };
    refused(good.substr(0, good.size() / 2), "half.pt");
    refused(good.substr(0, good.size() - 1), "cut.pt");
    auto flipped_weight = good;
    flipped_weight[good.size() / 2] = static_cast<char>(flipped_weight[good.size() / 2] ^ 1);
    refused(flipped_weight, "flipped.pt");
    refused("", "empty.pt");
    refused("PK\x03\x04", "stump.pt");
    refused("\x80\x02"
            "cposix\nsystem\n(X\x02\x00\x00\x00idtR."s,
            "system.pt");
    refused("\x80\x02" + std::string(50'000'000, '('), "nested.pt");
    refused("\xff\xff\xff\xff\xff\xff\xff\x7f{", "length.safetensors");
    std::string header =
        R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775808,9223372036854775812]}})";
    std::uint64_t length = header.size();
    refused(std::string(reinterpret_cast<const char*>(&length), 8) + header, "offset.safetensors");
    header = R"({"a":)" + std::string(90'000'000, '[');
    length = header.size();
    refused(std::string(reinterpret_cast<const char*>(&length), 8) + header, "deep.safetensors");
    // Every 997th byte of the first part (names, pickle) flipped: refused or read, never a crash.
    const std::string whole = content(data("official/unconditional/unet.safetensors"));
    for (std::size_t at = 0; at < 9000; at += 997) {
        auto flipped = whole;
        flipped[at] = static_cast<char>(flipped[at] ^ 0x20);
        std::ofstream(here / "flip.safetensors", std::ios::binary) << flipped;
        const auto f = run(here, {"info", (here / "flip.safetensors").string()});
        CAPTURE(at, f.error);
        CHECK((f.status == 0 || f.status == 1));
    }
}

TEST_CASE("results are measured against the truth", "[cli][golden]") {
    const workplace here;
    const auto golden_file = repaint::read_checkpoint(data("evaluation/samples.safetensors"));
    for (const std::string folder : {"results", "truth", "masks"}) {
        fs::create_directory(here / folder);
    }
    const std::vector<std::string> files{"face-2.png", "face-3.png", "face.png"};
    for (int i = 0; i < 3; ++i) {
        repaint::write_picture(here / "results" / files[static_cast<std::size_t>(i)],
                               golden_picture(golden_file, "images", i));
    }
    repaint::write_picture(here / "truth" / "face.png", golden_picture(golden_file, "truth", 0));
    const auto keep = golden::tensor(golden_file, "keep"); // (h, w)
    repaint::picture mask{keep.shape().c, keep.shape().n, 1, {}};
    for (const float value : keep.values()) {
        mask.pixels.push_back(static_cast<std::uint8_t>(value));
    }
    repaint::write_picture(here / "masks" / "face.PNG", mask);

    auto weights = repaint::read_checkpoint(data("evaluation/weights.safetensors"));
    weights.tensors.clear();
    golden::add_generated(weights);
    const auto is_linear = [](const auto& entry) { return entry.first.starts_with("lin"); };
    auto linear = weights.tensors;
    std::erase_if(weights.tensors, is_linear);
    std::erase_if(linear, [&](const auto& entry) { return !is_linear(entry); });
    repaint::write_safetensors(here / "alexnet.safetensors", weights.tensors);
    repaint::write_safetensors(here / "linear.safetensors", linear);

    const std::vector<std::string> command{"evaluate", (here / "results").string(), (here / "truth").string()};
    const std::vector<std::string> everything =
        joined(command, {"--masks", (here / "masks").string(), "--lpips", (here / "linear.safetensors").string(),
                         (here / "alexnet.safetensors").string()});
    for (const std::string ssim : {"ssim", "gaussian"}) {
        const auto f = run(here, joined(everything, {"--ssim", ssim == "ssim" ? "skimage" : "gaussian"}));
        INFO(f.error);
        REQUIRE(f.status == 0);
        const auto rows = fields(f.out);
        REQUIRE(rows.size() == 6);
        const std::vector<std::string> header{"file",      "truth",     "psnr",           "ssim",
                                              "lpips",     "psnr_hole", "ssim_hole",      "lpips_hole",
                                              "diversity", "deviation", "diversity_hole", "deviation_hole"};
        REQUIRE(rows[0] == header);
        for (std::size_t column = 2; column < header.size(); ++column) {
            auto name = header[column];
            if (name.starts_with("ssim")) {
                name.replace(0, 4, ssim);
            }
            const auto expected = golden::tensor(golden_file, name);
            double sum = 0.0;
            for (std::size_t i = 0; i < 3; ++i) {
                CAPTURE(name, i);
                const auto e = static_cast<double>(expected.values()[expected.size() == 1 ? 0 : i]);
                sum += e;
                CHECK(rows[i + 1][0] == (here / "results" / files[i]).string());
                CHECK(std::stod(rows[i + 1][column]) == approx(e).epsilon(5e-6)); // seven digits are printed
            }
            CHECK(std::stod(rows[4][column]) == approx(sum / 3.0).epsilon(5e-6));
        }
        CHECK(rows[4][0] == "mean");
        CHECK(rows[5][0] == "ci95");
        CHECK_THAT(f.error, contains("3 results for 1 of 1 true picture, paired by name"));
        CHECK_THAT(f.error, contains("over 3 results"));
    }

    // Equal pictures, a comma in a name, no name in common, a file for the CSV.
    fs::create_directory(here / "other");
    fs::copy_file(here / "truth" / "face.png", here / "other" / "a,b.png");
    fs::copy_file(here / "results" / "face.png", here / "other" / "c.png");
    fs::copy_file(here / "truth" / "face.png", here / "truth" / "last.png");
    const std::string table = (here / "table.csv").string();
    const auto f = run(here, {"evaluate", (here / "other").string(), (here / "truth").string(), "-o", table});
    CHECK(f.status == 0);
    CHECK(f.out.empty());
    CHECK_THAT(f.error, contains("paired by sorted order"));
    CHECK_THAT(f.error, contains("without 1 infinite value"));
    const std::string csv = content(table);
    CHECK_THAT(csv, contains("\"" + (here / "other" / "a,b.png").string() + "\"," +
                             (here / "truth" / "face.png").string() + ",inf,1\n"));
    CHECK_THAT(csv, contains((here / "other" / "c.png").string() + "," + (here / "truth" / "last.png").string()));
    CHECK_THAT(csv, contains("\nci95,,,2.06"));
}

TEST_CASE("what cannot be evaluated is one sentence", "[cli]") {
    const workplace here;
    for (const std::string folder : {"results", "truth", "empty"}) {
        fs::create_directory(here / folder);
    }
    const auto plain = [](int width, int height) {
        return repaint::picture{
            width, height, 1,
            std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height))};
    };
    const std::string results = (here / "results").string();
    const std::string truth = (here / "truth").string();
    const std::string a = (here / "truth" / "a.png").string();
    repaint::write_picture(here / "results" / "a.png", plain(32, 40));
    repaint::write_picture(a, plain(32, 40));
    repaint::write_picture(here / "large.png", plain(40, 40));
    repaint::write_picture(here / "small.png", plain(6, 40));
    std::ofstream(here / "text.png") << "no picture";

    const auto refused = [&](const std::vector<std::string>& arguments, const std::string& part) {
        check_refused(run(here, joined({"evaluate"}, arguments)), 1, part);
    };
    refused({results, (here / "nothing").string()}, "there is no such file or folder");
    refused({(here / "empty").string(), truth}, "there is no .png, .jpg or .jpeg in this folder");
    refused({(here / "large.png").string(), a}, "is 40x40, but " + a + " is 32x40");
    refused({(here / "text.png").string(), a}, "text.png: is not a picture");
    refused({results, truth, "--masks", (here / "large.png").string()}, "large.png is 40x40, but " + a);
    refused({(here / "small.png").string(), (here / "small.png").string()}, "smaller than the window of 7x7");
    refused({results, truth, "--lpips", (here / "text.png").string()}, "text.png");
    refused({results, truth, "--lpips", data("evaluation/tiny.safetensors")}, "LPIPS also needs features.0.weight");
    refused({results, truth, "-o", (here / "no" / "table.csv").string()}, "table.csv");
    repaint::write_picture(here / "results" / "b.png", plain(32, 40));
    refused({results, truth}, "b.png has no partner of its name among the pictures of the truth (1)");
    repaint::write_picture(here / "truth" / "c.png", plain(32, 40));
    refused({results, truth}, "b.png has no partner");

    check_refused(run(here, {"evaluate", results}), 2, "TRUTH");
    check_refused(run(here, {"evaluate", results, truth, "--ssim", "other"}), 2, "--ssim");
}
