// Classifier guidance in the program, from outside: the options, the labels, what is refused and what info says.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <repaint/image/codecs.hpp>
#include <repaint/io/npy.hpp>
#include <repaint/io/safetensors.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/program.hpp"

namespace fs = std::filesystem;
using program::check_refused;
using program::joined;
using program::run;
using program::workplace;
using repaint::host_tensor;

namespace {

/// Tensors of a golden file whose names begin with the prefix, without it, as a checkpoint of their own.
void write_part(const std::string& name, const std::string& prefix, const fs::path& to) {
    auto file = repaint::read_checkpoint(golden::data(name));
    golden::add_generated(file);
    std::map<std::string, repaint::stored_tensor> tensors;
    for (const auto& [full, tensor] : file.tensors) {
        if (full.starts_with(prefix) && !full.starts_with("golden.")) {
            tensors.emplace(full.substr(prefix.size()), tensor);
        }
    }
    repaint::write_safetensors(to, tensors);
}

void write_text(const fs::path& file, const std::string& text) { std::ofstream(file) << text; }

/// Two pictures of 16 x 16 to fill, a network with ten classes and one without labels, classifiers of ten classes and
/// of a thousand.
class guided_workplace : public workplace {
public:
    guided_workplace() {
        for (const std::string name : {"a", "b"}) {
            repaint::picture picture{16, 16, 3, {}};
            for (int i = 0; i < 16 * 16 * 3; ++i) {
                picture.pixels.push_back(static_cast<std::uint8_t>(i * (name == "a" ? 3 : 7) % 256));
            }
            repaint::write_picture(*this / (name + ".png"), picture);
        }
        repaint::picture keep{16, 16, 1, std::vector<std::uint8_t>(256, 0)};
        std::fill_n(keep.pixels.begin(), 128, std::uint8_t{255});
        repaint::write_picture(*this / "keep.png", keep);
        write_part("classifier/guided_step.safetensors", "network.", *this / "conditional.safetensors");
        write_text(*this / "conditional.json", R"({"num_head_channels": 16, "image_size": 16})");
        write_part("unet/non_square_odd_batch.safetensors", "", *this / "plain.safetensors");
        write_text(*this / "plain.json", R"({"num_heads": 4, "num_head_channels": 16})");
        write_part("classifier/guided_step.safetensors", "classifier.", *this / "attention.safetensors");
        write_part("classifier/spatial.safetensors", "", *this / "spatial.safetensors");
        write_part("classifier/adaptive_64.safetensors", "", *this / "thousand.safetensors");
        write_part("classifier/attention_64.safetensors", "", *this / "attention_64.safetensors");
    }

    [[nodiscard]] std::string path(const std::string& name) const { return (*this / name).string(); }

    [[nodiscard]] std::vector<std::string> inpaint(const std::string& model, const std::vector<std::string>& images,
                                                   const std::vector<std::string>& more) const {
        std::vector<std::string> command{"inpaint", path(model), "--image"};
        for (const auto& image : images) {
            command.push_back(path(image));
        }
        return joined(joined(command, {"--keep", path("keep.png"), "--timesteps", "6", "--jump-length", "2",
                                       "--jump-n-sample", "2", "--seed", "4", "--raw", "-o", path("out.npy")}),
                      more);
    }

    /// What a run makes; it must succeed.
    [[nodiscard]] host_tensor filled(const std::string& model, const std::vector<std::string>& images,
                                     const std::vector<std::string>& more) const {
        const auto f = run(*this, inpaint(model, images, more));
        INFO(f.error);
        REQUIRE(f.status == 0);
        return repaint::read_npy(*this / "out.npy");
    }
};

host_tensor image(const host_tensor& all, int i) {
    const auto s = all.shape();
    return {{1, s.c, s.h, s.w}, {all.image(i).begin(), all.image(i).end()}};
}

} // namespace

TEST_CASE("a classifier guides towards the labels that are given", "[cli]") {
    const guided_workplace here;
    const std::vector<std::string> guided{"--classifier", here.path("spatial.safetensors")};
    const auto plain = here.filled("plain.safetensors", {"a.png"}, {});
    const auto three = here.filled("plain.safetensors", {"a.png"}, joined(guided, {"--label", "3"}));
    CHECK(largest_difference(plain, three) > 1e-3);
    CHECK(same_bits(three, here.filled("plain.safetensors", {"a.png"},
                                       joined(guided, {"--label", "3", "--classifier-scale", "1"}))));
    CHECK(largest_difference(three, here.filled("plain.safetensors", {"a.png"}, joined(guided, {"--label", "4"}))) >
          1e-3);
    CHECK(largest_difference(three, here.filled("plain.safetensors", {"a.png"},
                                                joined(guided, {"--label", "3", "--classifier-scale", "-2.5"}))) >
          1e-3);
    // One for each picture, and in a batch as alone.
    for (const std::string batch : {"1", "2"}) {
        const auto both =
            here.filled("plain.safetensors", {"a.png", "a.png"}, joined(guided, {"--label", "3,4", "--batch", batch}));
        CHECK(same_bits(image(both, 0), three));
        CHECK_FALSE(same_bits(image(both, 1), three));
    }
    const auto quiet = run(here, here.inpaint("plain.safetensors", {"a.png"}, joined(guided, {"--label", "3"})));
    CHECK_THAT(quiet.error, contains("note: guided by spatial.safetensors (guided-diffusion classifier, spatial pool, "
                                     "10 classes, "));
    CHECK_THAT(quiet.error, contains("parameters) times 1\n"));
    const auto noted = run(here, here.inpaint("plain.safetensors", {"a.png"},
                                              joined(guided, {"--label", "3", "--classifier-scale", "0.25"})));
    CHECK_THAT(noted.error, contains("parameters) times 0.25\n"));
}

TEST_CASE("labels are drawn from the seed, before the noise", "[cli]") {
    const guided_workplace here;
    const std::vector<std::string> guided{"--classifier", here.path("attention.safetensors"), "--classifier-scale",
                                          "4"};
    // Documented values: seeds 4 and 5 of philox; torch.manual_seed(4); torch.randint(0, 10, (2,)).
    const auto drawn = here.filled("conditional.safetensors", {"a.png", "b.png"},
                                   joined(guided, {"--label", "random", "--batch", "2"}));
    const auto given =
        here.filled("conditional.safetensors", {"a.png", "b.png"}, joined(guided, {"--label", "3,8", "--batch", "2"}));
    CHECK(same_bits(drawn, given));
    CHECK(same_bits(drawn, here.filled("conditional.safetensors", {"a.png", "b.png"},
                                       joined(guided, {"--label", "random", "--batch", "1"}))));
    // Without a classifier the network's labels are drawn all the same.
    CHECK(same_bits(here.filled("conditional.safetensors", {"a.png"}, {"--label", "random"}),
                    here.filled("conditional.safetensors", {"a.png"}, {"--label", "3"})));
    // PyTorch's stream has moved on when the noise is drawn.
    const auto torch = here.filled("conditional.safetensors", {"a.png"},
                                   joined(guided, {"--label", "random", "--noise", "torch-cpu"}));
    CHECK_FALSE(same_bits(torch, here.filled("conditional.safetensors", {"a.png"},
                                             joined(guided, {"--label", "0", "--noise", "torch-cpu"}))));
}

TEST_CASE("samples are guided, too", "[cli]") {
    const guided_workplace here;
    const auto sample = [&](const std::vector<std::string>& more) {
        const auto f = run(here, joined({"sample", here.path("conditional.safetensors"), "--timesteps", "5",
                                         "--samples", "2", "--seed", "1", "-o", here.path("s.npy")},
                                        more));
        INFO(f.error);
        REQUIRE(f.status == 0);
        return repaint::read_npy(here / "s.npy");
    };
    const std::string classifier = here.path("attention.safetensors");
    const auto plain = sample({"--label", "5"});
    const auto guided = sample({"--label", "5", "--classifier", classifier, "--classifier-scale", "4"});
    CHECK(largest_difference(plain, guided) > 1e-2);
    CHECK(same_bits(guided,
                    sample({"--label", "5", "--classifier", classifier, "--classifier-scale", "4", "--batch", "2"})));
}

TEST_CASE("guidance that cannot be is refused in one sentence", "[cli]") {
    const guided_workplace here;
    const auto refused = [&](const std::string& model, const std::vector<std::string>& more, int status,
                             const std::string& said) {
        CAPTURE(model, more);
        const auto f = run(here, here.inpaint(model, {"a.png"}, more));
        check_refused(f, status, said);
        CHECK_FALSE(fs::exists(here / "out.npy"));
    };
    const std::string spatial = here.path("spatial.safetensors");
    const std::string attention = here.path("attention.safetensors");
    refused("plain.safetensors", {"--classifier", spatial}, 1,
            "a classifier guides towards a class: give a label from 0 to 9 for each picture");
    refused("plain.safetensors", {"--classifier", spatial, "--label", "10"}, 1,
            "label 10 is out of range, the classifier knows 0 to 9");
    refused("plain.safetensors", {"--classifier", spatial, "--label", "-1"}, 1, "label -1 is out of range");
    refused("plain.safetensors", {"--classifier", spatial, "--label", "1,2"}, 1, "there are 1 image and 2 labels");
    refused("plain.safetensors", {"--label", "random"}, 1, "not class-conditional");
    refused("plain.safetensors", {"--classifier", spatial, "--label", "cat"}, 2, "cat");
    refused("plain.safetensors", {"--classifier", spatial, "--label", "random,3"}, 2, "random");
    refused("conditional.safetensors", {"--classifier", attention}, 1,
            "this network is class-conditional: give a label");
    refused("conditional.safetensors", {"--classifier", attention, "--label", "11"}, 1, "this network knows 0 to 9");
    refused("conditional.safetensors", {"--classifier", here.path("thousand.safetensors"), "--label", "3"}, 1,
            "the classifier knows 1000 classes, the network that it is to guide 10");
    refused("plain.safetensors", {"--classifier", here.path("attention_64.safetensors"), "--label", "3"}, 1,
            "the classifier takes images of 64x64, got 16x16");
    refused("conditional.safetensors", {"--classifier", here.path("attention_64.safetensors"), "--label", "3"}, 1,
            "the classifier is for pictures of 64 rows and columns, the network to guide for 16");
    refused("plain.safetensors", {"--classifier", here.path("plain.safetensors"), "--label", "3"}, 1,
            "there are output_blocks, as in a U-Net; a classifier is needed");
    refused("plain.safetensors", {"--classifier", here.path("none.pt"), "--label", "3"}, 1, "none.pt");
    refused("plain.safetensors", {"--classifier", here.path("a.png"), "--label", "3"}, 1, "a.png");
    refused("plain.safetensors",
            {"--classifier", spatial, "--classifier-config", here.path("none.json"), "--label", "3"}, 1, "none.json");
    write_text(here / "wrong.json", "{\"classifier_depth\": 1,\n \"classifier_pool\": \"max\"}");
    refused("plain.safetensors",
            {"--classifier", spatial, "--classifier-config", here.path("wrong.json"), "--label", "3"}, 1,
            "wrong.json, line 2: classifier_pool is \"max\", accepted: adaptive, attention, spatial, spatial_v2");
    for (const std::string scale : {"0", "0.0", "nan", "inf", "1e9", "-1e9", "much", ""}) {
        refused("plain.safetensors", {"--classifier", spatial, "--label", "3", "--classifier-scale", scale}, 2,
                "--classifier-scale: ");
        refused("plain.safetensors", {"--classifier", spatial, "--label", "3", "--classifier-scale", scale}, 2,
                "-1000000 to 1000000 without 0");
    }
    refused("plain.safetensors", {"--classifier-scale", "2"}, 2, "--classifier-scale requires --classifier");
    refused("plain.safetensors", {"--classifier-config", here.path("plain.json")}, 2,
            "--classifier-config requires --classifier");
    refused("conditional.safetensors", {"--classifier", attention, "--label", "3", "--algorithm", "diffusers"}, 1,
            "guidance is part of the system official only");
}

TEST_CASE("info says what a classifier is and what it is for", "[cli]") {
    const guided_workplace here;
    const auto f = run(here, {"info", here.path("attention_64.safetensors")});
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.out, contains("guided-diffusion classifier, attention pool, 1000 classes"));
    CHECK_THAT(f.out, contains("classifier_width       32\n"));
    CHECK_THAT(f.out, contains("classifier_depth       1\n"));
    CHECK_THAT(f.out, contains("channels by level      32,64,96,128\n"));
    CHECK_THAT(f.out, contains("attention at           1/8 of the size, and the middle\n"));
    CHECK_THAT(f.out, contains("image_size             64\n"));
    CHECK_THAT(f.out, contains("parameters             1,882,568\n"));
    CHECK_THAT(f.out, contains("at 64x64"));
    CHECK_THAT(f.out, contains("multiply-adds per gradient\n"));
    CHECK_THAT(f.out, contains("--classifier FILE --label CLASS"));
    write_text(here / "deep.json", R"({"classifier_depth": 2})");
    check_refused(run(here, {"info", here.path("attention_64.safetensors"), "--config", here.path("deep.json")}), 1,
                  "classifier_depth is 2, accepted: 1");
    check_refused(run(here, {"info", here.path("attention_64.safetensors"), "--size", "32x32"}), 1,
                  "the classifier takes images of 64x64, got 32x32");
    const auto any = run(here, {"info", here.path("spatial.safetensors"), "--size", "20x40"});
    REQUIRE(any.status == 0);
    CHECK_THAT(any.out, contains("image sizes            multiples of 2\n"));
    CHECK_THAT(any.out, contains("at 20x40"));
    // Where a U-Net is needed it is named for what it is.
    check_refused(run(here, here.inpaint("spatial.safetensors", {"a.png"}, {})), 1,
                  "input_blocks but no output_blocks, as in a classifier; a U-Net is needed");
}
