// The program and what people have: masks, arrays, checkpoints, folders, and places that cannot be written. Each case was
// reported by somebody as going wrong in a program of this kind.
#include <sys/mount.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <repaint/image/codecs.hpp>
#include <repaint/io/npy.hpp>
#include <repaint/io/safetensors.hpp>

#include "support/program.hpp"

namespace fs = std::filesystem;
using program::check_refused;
using program::content;
using program::finish;
using program::finished;
using program::joined;
using program::run;
using program::start;
using program::workplace;
using repaint::host_tensor;
using repaint::picture;

namespace {

const std::string demo_model = REPAINT_MODELS "/faces32.safetensors";
const std::string demo_face = REPAINT_MODELS "/demo/face-1.png";

/// A mask of 32 x 32 pixels: `hole` in the square of [12, 20) x [12, 20), `rest` elsewhere.
picture square(int channels, const std::vector<std::uint8_t>& hole, const std::vector<std::uint8_t>& rest) {
    picture p{32, 32, channels, {}};
    for (int y = 0; y < 32; ++y) {
        for (int x = 0; x < 32; ++x) {
            const auto& pixel = x >= 12 && x < 20 && y >= 12 && y < 20 ? hole : rest;
            p.pixels.insert(p.pixels.end(), pixel.begin(), pixel.end());
        }
    }
    return p;
}

bool in_hole(std::size_t pixel) {
    const std::size_t x = pixel % 32;
    const std::size_t y = pixel / 32;
    return x >= 12 && x < 20 && y >= 12 && y < 20;
}

finished inpaint(const workplace& here, const std::vector<std::string>& more) {
    return run(here,
               joined({"inpaint", demo_model, "--timesteps", "3", "--jump-length", "1", "--jump-n-sample", "1"}, more));
}

/// Fills the square of the face and checks that nothing else changed, and that all of the square did something.
void check_square_filled(const workplace& here, const std::vector<std::string>& mask, const std::string& note = {}) {
    const auto f = inpaint(here, joined({"--image", demo_face, "-o", "out.png"}, mask));
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.error, contains("6.2 % to fill"));
    CHECK_THAT(f.error, contains(note));
    const picture face = repaint::read_picture(demo_face);
    const picture out = repaint::read_picture((here / "out.png").string());
    REQUIRE(out.channels == 3);
    std::size_t changed[3] = {0, 0, 0};
    for (std::size_t i = 0; i < 32 * 32; ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
            const bool same = out.pixels[3 * i + c] == face.pixels[static_cast<std::size_t>(face.channels) * i + c];
            if (!in_hole(i)) {
                REQUIRE(same);
            }
            changed[c] += same ? 0U : 1U;
        }
    }
    for (const std::size_t count : changed) {
        CHECK(count > 20); // of 64: in every channel
    }
}

} // namespace

TEST_CASE("masks of every kind that people paint fill the same square", "[cli]") {
    const workplace here;
    const auto written = [&](const std::string& name, const picture& p) {
        repaint::write_picture((here / name).string(), p);
        return name;
    };
    check_square_filled(here, {"--paint", written("white.png", square(1, {255}, {0}))});
    check_square_filled(here, {"--keep", written("black.png", square(1, {0}, {255}))});
    check_square_filled(here, {"--paint", written("red.png", square(3, {255, 0, 0}, {0, 0, 0}))});
    check_square_filled(here, {"--keep", written("green.png", square(3, {0, 255, 0}, {255, 255, 255}))});
    check_square_filled(here, {"--keep", written("ones.png", square(1, {0}, {1}))},
                        "note: ones.png: its two values, 0 and 1, were taken as black and white");
    check_square_filled(here, {"--paint", "alpha:" + written("layer.png", square(2, {0, 0}, {0, 255}))});
    check_square_filled(here, {"--paint", "#00ff00:" + written("marked.png", square(3, {0, 255, 0}, {9, 9, 9}))});
    check_square_filled(
        here, {"--paint", "#00ff00:" + written("lossy.png", square(3, {8, 250, 3}, {9, 9, 9})), "--tolerance", "8"});
    check_square_filled(here, {"--paint", written("grey.png", square(1, {200}, {40})), "--threshold", "0.5"});
    repaint::write_npy((here / "bytes.npy").string(), [] {
        host_tensor mask({1, 1, 32, 32});
        for (std::size_t i = 0; i < 32 * 32; ++i) {
            mask.values()[i] = in_hole(i) ? 0.0F : 255.0F;
        }
        return mask;
    }());
    check_square_filled(here, {"--keep", "bytes.npy"}, "note: bytes.npy: its two values, 0 and 255");

    check_refused(inpaint(here, {"--image", demo_face, "--keep", "layer.png", "-o", "no.png"}), 1,
                  "layer.png: has one colour and differs only in alpha: give alpha:FILE");
    check_refused(inpaint(here, {"--image", demo_face, "--keep", demo_face, "-o", "no.png"}), 1,
                  "face-1.png: is the picture itself, not a mask of it");
    check_refused(
        inpaint(here, {"--image", demo_face, "--paint", written("none.png", square(1, {0}, {0})), "-o", "no.png"}), 1,
        "none.png: leaves nothing to fill: are --keep and --paint mixed up?");
    check_refused(inpaint(here, {"--image", demo_face, "--paint", "#12345", "-o", "no.png"}), 1, "written #rrggbb");
    picture wide = square(1, {0}, {255});
    wide.width = 64;
    wide.height = 16;
    check_refused(inpaint(here, {"--image", demo_face, "--keep", written("wide.png", wide), "-o", "no.png"}), 1,
                  "wide.png: the mask is 64x16, the picture ");
}

TEST_CASE("a hole grows round, and a feather fades around it", "[cli]") {
    const workplace here;
    repaint::write_picture((here / "point.png").string(), square(1, {255}, {0}));
    const auto f = inpaint(here, {"--image", demo_face, "--paint", "point.png", "--grow", "3", "-o", "out.png"});
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.error, contains("17.2 % to fill")); // 64 + 4 * 8 * 3 + 4 * 4 pixels of 1024
    CHECK(inpaint(here, {"--image", demo_face, "--paint", "point.png", "--feather", "4", "-o", "out.png"}).status == 0);
}

TEST_CASE("alpha and colours of the picture itself say where its hole is", "[cli]") {
    const workplace here;
    const picture face = repaint::read_picture(demo_face);
    picture see_through{32, 32, 4, {}};
    picture marked = face;
    for (std::size_t i = 0; i < 32 * 32; ++i) {
        const auto* const pixel = face.pixels.data() + i * static_cast<std::size_t>(face.channels);
        see_through.pixels.insert(see_through.pixels.end(), pixel, pixel + 3);
        see_through.pixels.push_back(in_hole(i) ? 0 : 255);
        if (in_hole(i)) {
            auto* const mark = marked.pixels.data() + i * static_cast<std::size_t>(face.channels);
            mark[0] = 255;
            mark[1] = 0;
            mark[2] = 255;
        }
    }
    repaint::write_picture((here / "alpha.png").string(), see_through);
    repaint::write_picture((here / "marked.png").string(), marked);
    const auto alpha = inpaint(here, {"--image", "alpha.png", "--paint", "alpha", "-o", "out.png"});
    INFO(alpha.error);
    REQUIRE(alpha.status == 0);
    const picture filled = repaint::read_picture((here / "out.png").string());
    REQUIRE(filled.channels == 4);
    for (std::size_t i = 0; i < 32 * 32; ++i) {
        REQUIRE(filled.pixels[4 * i + 3] == 255); // what was filled can be seen
    }
    CHECK_THAT(inpaint(here, {"--image", "marked.png", "--paint", "#ff00ff", "-o", "out.png"}).error,
               contains("6.2 % to fill"));
    check_refused(inpaint(here, {"--image", demo_face, "--paint", "#010203", "-o", "no.png"}), 1,
                  "has that colour nowhere");
}

TEST_CASE("arrays are taken in the units of their type, or refused with their range", "[cli]") {
    const workplace here;
    repaint::write_picture((here / "keep.png").string(), square(1, {0}, {255}));
    host_tensor bytes({1, 3, 32, 32});
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes.values()[i] = static_cast<float>(i % 256);
    }
    repaint::write_npy((here / "bytes.npy").string(), bytes, repaint::dtype::u8);
    repaint::write_npy((here / "floats.npy").string(), bytes);
    const auto check_known = [&](const std::vector<std::string>& options, repaint::dtype type) {
        const auto f = inpaint(here, joined(options, {"--keep", "keep.png", "-o", "out.npy"}));
        INFO(f.error);
        REQUIRE(f.status == 0);
        const auto out = repaint::read_npy_array(repaint::mapped_file((here / "out.npy").string()));
        CHECK(out.type == type);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            const float value = out.values.values()[i];
            if (!in_hole(i % 1024)) {
                REQUIRE(value == bytes.values()[i]);
            }
            REQUIRE((value >= -1.0F && value <= 256.0F));
        }
    };
    check_known({"--image", "bytes.npy"}, repaint::dtype::u8);
    check_known({"--image", "floats.npy", "--range", "0", "255"}, repaint::dtype::f32);
    check_refused(
        inpaint(here, {"--image", "floats.npy", "--keep", "keep.png", "-o", "no.npy"}), 1,
        "floats.npy: holds values from 0 to 255, expected -1 to 1: give what black and white are, as --range 0 255");
    CHECK(
        inpaint(here, {"--image", "floats.npy", "--range", "255", "0", "--keep", "keep.png", "-o", "no.npy"}).status ==
        2);

    repaint::write_npy((here / "hwc.npy").string(), host_tensor({1, 32, 32, 3}));
    check_refused(inpaint(here, {"--image", "hwc.npy", "--keep", "keep.png", "-o", "no.npy"}), 1,
                  "looks like rows, columns and channels");

    // NaN is a hole, and needs no mask; infinity is nothing.
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes.values()[i] = in_hole(i % 1024) ? std::numeric_limits<float>::quiet_NaN() : 0.25F;
    }
    repaint::write_npy((here / "holes.npy").string(), bytes);
    const auto f = inpaint(here, {"--image", "holes.npy", "-o", "out.npy"});
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.error, contains("6.2 % to fill"));
    const auto filled = repaint::read_npy((here / "out.npy").string());
    CHECK(std::all_of(filled.values().begin(), filled.values().end(), [](float v) { return std::isfinite(v); }));
    bytes.values()[0] = std::numeric_limits<float>::infinity();
    repaint::write_npy((here / "infinite.npy").string(), bytes);
    check_refused(inpaint(here, {"--image", "infinite.npy", "-o", "no.npy"}), 1, "infinite.npy: holds infinity");
    std::fill(bytes.values().begin(), bytes.values().end(), 0.5F);
    repaint::write_npy((here / "whole.npy").string(), bytes);
    check_refused(inpaint(here, {"--image", "whole.npy", "-o", "no.npy"}), 1,
                  "whole.npy has no NaN, so it takes a mask");
}

TEST_CASE("16 bits, profiles, grey and pipes go in and come out", "[cli]") {
    const workplace here;
    repaint::write_picture((here / "keep.png").string(), square(1, {0}, {255}));
    const picture face = repaint::read_picture(demo_face);
    picture deep{32, 32, 3, {}};
    for (std::size_t i = 0; i < 32 * 32 * 3; ++i) {
        deep.deep.push_back(static_cast<std::uint16_t>(i * 21));
        deep.pixels.push_back(static_cast<std::uint8_t>(deep.deep.back() >> 8U));
    }
    auto said = std::make_shared<repaint::picture_metadata>();
    said->pieces = {{"gAMA", {std::byte{0}, std::byte{0}, std::byte{177}, std::byte{143}}}};
    deep.metadata = said;
    repaint::write_picture((here / "deep.png").string(), deep);
    REQUIRE(inpaint(here, {"--image", "deep.png", "--keep", "keep.png", "-o", "out.png"}).status == 0);
    const picture out = repaint::read_picture((here / "out.png").string());
    REQUIRE(out.deep.size() == deep.deep.size());
    for (std::size_t i = 0; i < out.deep.size(); ++i) {
        if (!in_hole(i / 3)) {
            REQUIRE(out.deep[i] == deep.deep[i]);
        }
    }
    REQUIRE(out.metadata->pieces.size() == 1);
    CHECK(out.metadata->pieces[0].type == "gAMA");
    const auto f = inpaint(here, {"--image", "deep.png", "--keep", "keep.png", "-o", "out.jpg", "--quality", "70"});
    CHECK_THAT(f.error, contains("note: a JPEG has 8 bits"));
    CHECK(repaint::read_picture((here / "out.jpg").string()).metadata->quality == 70);
    REQUIRE(inpaint(here, {"--image", "out.jpg", "--keep", "keep.png", "-o", "again.jpg"}).status == 0);
    CHECK(repaint::read_picture((here / "again.jpg").string()).metadata->quality == 70);

    // From a pipe, and to standard output.
    const std::string command = "cd " + here.folder().string() + " && cat " + demo_face + " | " + REPAINT_PROGRAM +
                                " inpaint " + demo_model + " --image - --keep keep.png --timesteps 3 --jump-length 1 " +
                                "--jump-n-sample 1 -o - > piped.png 2> error";
    REQUIRE(std::system(command.c_str()) == 0);
    REQUIRE(inpaint(here, {"--image", demo_face, "--keep", "keep.png", "-o", "file.png"}).status == 0);
    CHECK(content(here / "piped.png") == content(here / "file.png"));
    check_refused(inpaint(here, {"--image", "/dev/null", "--keep", "keep.png", "-o", "no.png"}), 1, "is a device");
}

TEST_CASE("of several networks in a file the averaged one is taken, and NaN in weights is refused", "[cli]") {
    const workplace here;
    repaint::write_picture((here / "keep.png").string(), square(1, {0}, {255}));
    const auto model = repaint::read_safetensors(demo_model);
    std::map<std::string, repaint::stored_tensor> both;
    for (const auto& [name, tensor] : model.tensors) {
        both.emplace("model.module." + name, tensor);
        both.emplace("ema." + name, tensor);
    }
    const std::vector<float> nan{std::numeric_limits<float>::quiet_NaN(), 0.0F, 0.0F, 0.0F, 0.0F, 0.0F};
    both.at("model.module.out.2.bias") = repaint::describe(nan, {6});
    repaint::write_safetensors((here / "both.safetensors").string(), both);
    const std::vector<std::string> files{"--config",
                                         REPAINT_MODELS "/faces32.json",
                                         "--image",
                                         demo_face,
                                         "--keep",
                                         "keep.png",
                                         "--timesteps",
                                         "3",
                                         "--jump-n-sample",
                                         "1",
                                         "-o",
                                         "out.png"};
    const auto f = run(here, joined({"inpaint", "both.safetensors"}, files));
    INFO(f.error);
    CHECK(f.status == 0);
    CHECK_THAT(f.error,
               contains("note: the tensors were taken from the entry \"ema\", averaged weights, also there and not "
                        "read: \"model.module\""));
    check_refused(run(here, joined({"inpaint", "both.safetensors", "--weights", "model"}, files)), 1,
                  "both.safetensors: the tensor out.2.bias holds 1 NaN or infinite of 6 values");
    check_refused(run(here, joined({"inpaint", "both.safetensors", "--weights", "other"}, files)), 1,
                  "has no network under \"other\", but under \"ema\", \"model.module\"");
    std::ofstream(here / "page.pt") << "<!DOCTYPE html><html>";
    check_refused(run(here, {"info", "page.pt"}), 1, "page.pt: is a web page, not a checkpoint: the download failed");
}

TEST_CASE("folders are filled into folders, and nothing is written over an input", "[cli]") {
    const workplace here;
    for (const char* folder : {"in/sub", "in/__MACOSX", "in/.hidden", "masks/sub", "links"}) {
        fs::create_directories(here / folder);
    }
    for (const char* file : {"in/a.png", "in/b.png", "in/sub/c.png", "in/__MACOSX/d.png", "in/.hidden/e.png"}) {
        fs::copy_file(demo_face, here / file);
    }
    std::ofstream(here / "in/._a.png") << "AppleDouble";
    std::ofstream(here / "in/Thumbs.db") << "thumbs";
    for (const char* file : {"masks/a.png", "masks/b.png", "masks/sub/c.png"}) {
        repaint::write_picture((here / file).string(), square(1, {0}, {255}));
    }
    const auto names = [&](const char* folder) {
        std::vector<std::string> found;
        for (const auto& entry : fs::recursive_directory_iterator(here / folder)) {
            if (entry.is_regular_file()) {
                found.push_back(entry.path().lexically_relative(here / folder).string());
            }
        }
        std::sort(found.begin(), found.end());
        return found;
    };
    const auto flat = inpaint(here, {"--image", "in", "--keep", "masks", "-o", "out"});
    INFO(flat.error);
    REQUIRE(flat.status == 0);
    CHECK_THAT(flat.error, contains("2 pictures of 32x32"));
    CHECK(names("out") == std::vector<std::string>{"a.png", "b.png"});
    REQUIRE(inpaint(here, {"--image", "in", "--keep", "masks", "--recursive", "-o", "all"}).status == 0);
    CHECK(names("all") == std::vector<std::string>{"a.png", "b.png", "sub/c.png"});
    fs::remove(here / "masks/b.png");
    check_refused(inpaint(here, {"--image", "in", "--keep", "masks", "-o", "no"}), 1,
                  "in/b.png has no partner of its name among the masks");
    fs::create_directories(here / "empty");
    check_refused(inpaint(here, {"--image", "empty", "--keep", "masks/a.png", "-o", "no"}), 1,
                  "empty: there is no .png, .jpg or .jpeg or .npy in this folder; --recursive looks");

    const std::string before = content(here / "in/a.png");
    check_refused(inpaint(here, {"--image", "in/a.png", "--keep", "masks/a.png", "-o", "in"}), 1,
                  "in/a.png would be written over the input in/a.png: give another folder for -o");
    fs::create_symlink(here / "in/a.png", here / "links/b.png");
    check_refused(inpaint(here, {"--image", "in/a.png", "in/b.png", "--keep", "masks/a.png", "-o", "links"}), 1,
                  "links/b.png would be written over the input in/a.png");
    CHECK(content(here / "in/a.png") == before);
    check_refused(inpaint(here, {"--image", "in/a.png", "--keep", "masks/a.png", "-o", "masks/a.png"}), 1,
                  "masks/a.png would be written over the input masks/a.png");
    REQUIRE(inpaint(here, {"--image", "in/a.png", "--keep", "masks/a.png", "-o", "in/a.png"}).status == 0); // as asked
    CHECK(content(here / "in/a.png") != before);
}

TEST_CASE("pictures of several sizes are summarised, and one far from the network's size noted", "[cli]") {
    const workplace here;
    fs::copy_file(demo_face, here / "a.png");
    picture large{128, 128, 3, std::vector<std::uint8_t>(std::size_t{128} * 128 * 3, 90)};
    repaint::write_picture((here / "b.png").string(), large);
    repaint::write_picture((here / "ka.png").string(), square(1, {0}, {255}));
    picture mask{128, 128, 1, std::vector<std::uint8_t>(std::size_t{128} * 128, 255)};
    mask.pixels[5000] = 0;
    repaint::write_picture((here / "kb.png").string(), mask);
    const auto f = inpaint(here, {"--image", "a.png", "b.png", "--keep", "ka.png", "kb.png", "-o", "out"});
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.error, contains("2 pictures of 32x32 and 128x128, 3.1 % to fill\n"));
    CHECK_THAT(f.error, contains("note: the network was trained on pictures of 32x32; what it makes of 128x128"));
    CHECK_THAT(f.error, contains("\nabout "));
}

TEST_CASE("places that cannot be written are found before the work", "[cli]") {
    const workplace here;
    repaint::write_picture((here / "keep.png").string(), square(1, {0}, {255}));
    const auto to = [&](const std::string& out) {
        return inpaint(here, {"--image", demo_face, "--keep", "keep.png", "-o", out});
    };
    fs::create_directories(here / "folder.png");
    check_refused(to("/proc/x.png"), 1, "/proc/x.png: cannot be created");
    check_refused(to("none/x.png"), 1, "none/x.png: there is no folder ");
    check_refused(run(here, {"mask", "half", "--size", "8x8", "-o", "none/x.png"}), 1, "none/x.png");
    check_refused(run(here, {"sample", demo_model, "--timesteps", "2", "-o", "/proc/x.png"}), 1, "/proc/x.png");
    CHECK(to("folder.png").status == 0); // a folder, whatever it is called
    CHECK(fs::exists(here / "folder.png/face-1.png"));

    fs::create_directories(here / "small");
    if (::mount("tmpfs", (here / "small").c_str(), "tmpfs", 0, "size=16k") != 0) {
        WARN("no file system of its own to fill up: not root");
        return;
    }
    std::ofstream(here / "small/most") << std::string(8192, 'x');
    const auto f = to("small/x.npy");
    ::umount((here / "small").c_str());
    check_refused(f, 1, "small/x.npy: about 12.3 kB will be written, but the disk has ");
}

TEST_CASE("a run does not go on with another picture", "[cli]") {
    const workplace here;
    repaint::write_picture((here / "keep.png").string(), square(1, {0}, {255}));
    fs::copy_file(demo_face, here / "a.png");
    std::vector<std::string> command{"inpaint",  demo_model,    "--image", "a.png", "--keep",
                                     "keep.png", "--timesteps", "500",     "-o",    "out.png"};
    const pid_t child = start(here, command);
    for (int i = 0; i < 6000 && content(here / "stderr").find("about") == std::string::npos; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    REQUIRE(::kill(child, SIGHUP) == 0);
    const auto stopped = finish(here, child);
    INFO(stopped.error);
    REQUIRE(stopped.status == 130);
    CHECK_THAT(stopped.error, contains("stopping after this evaluation; again: at once"));
    REQUIRE(fs::exists(here / "out.png.resume"));
    fs::copy_file(REPAINT_MODELS "/demo/face-2.png", here / "a.png", fs::copy_options::overwrite_existing);
    check_refused(run(here, joined(command, {"--resume", "out.png.resume"})), 1,
                  "the pictures or the masks are not those that the run was stopped with");
    fs::copy_file(demo_face, here / "renamed.png");
    command[3] = "renamed.png";
    const pid_t again = start(here, joined(command, {"--resume", "out.png.resume"}));
    for (int i = 0; i < 6000 && content(here / "stderr").find("about") == std::string::npos; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    REQUIRE(::kill(again, SIGTERM) == 0);
    CHECK(finish(here, again).status == 130); // it had gone on
}
