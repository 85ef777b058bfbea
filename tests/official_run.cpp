// `repaint run`, from outside: what a configuration of the official program makes, and every sentence about a wrong one.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <repaint/backend/reference.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/official_crop.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/io/npy.hpp>
#include <repaint/io/safetensors.hpp>
#include <repaint/model/load.hpp>

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
using repaint::picture;

namespace {

/// A configuration: lines in order, so that a test can change, add and take away settings by name.
class configuration {
public:
    /// The official keys, with the small network of tests/data/official and pictures in gts and masks.
    configuration()
        : lines_{{"", "# a comment"},
                 {"attention_resolutions", "'16'"},
                 {"class_cond", "false"},
                 {"diffusion_steps", "1000"},
                 {"learn_sigma", "true"},
                 {"noise_schedule", "linear"},
                 {"num_channels", "8"},
                 {"num_head_channels", "8"},
                 {"num_heads", "4"},
                 {"num_res_blocks", "1"},
                 {"resblock_updown", "true"},
                 {"use_fp16", "false"},
                 {"use_scale_shift_norm", "true"},
                 {"classifier_scale", "4.0"},
                 {"lr_kernel_n_std", "2"},
                 {"num_samples", "100"},
                 {"show_progress", "true"},
                 {"timestep_respacing", "'10'"},
                 {"use_kl", "false"},
                 {"predict_xstart", "false"},
                 {"rescale_timesteps", "false"},
                 {"rescale_learned_sigmas", "false"},
                 {"classifier_use_fp16", "false"},
                 {"classifier_width", "128"},
                 {"classifier_depth", "2"},
                 {"classifier_attention_resolutions", "32,16,8"},
                 {"classifier_use_scale_shift_norm", "true"},
                 {"classifier_resblock_updown", "true"},
                 {"classifier_pool", "attention"},
                 {"num_heads_upsample", "-1"},
                 {"channel_mult", "'4'"},
                 {"dropout", "0.0"},
                 {"use_checkpoint", "false"},
                 {"use_new_attention_order", "false"},
                 {"clip_denoised", "true"},
                 {"use_ddim", "false"},
                 {"image_size", "16"},
                 {"model_path", golden::data("official/unet.pt").string()},
                 {"name", "small"},
                 {"inpa_inj_sched_prev", "true"},
                 {"n_jobs", "1"},
                 {"print_estimated_vars", "true"},
                 {"inpa_inj_sched_prev_cumnoise", "false"},
                 {"schedule_jump_params", ""},
                 {"  t_T", "10"},
                 {"  n_sample", "1"},
                 {"  jump_length", "3"},
                 {"  jump_n_sample", "2"},
                 {"data", ""},
                 {"  eval", ""},
                 {"    faces", ""},
                 {"      mask_loader", "true"},
                 {"      gt_path", "./gts"},
                 {"      mask_path", "./masks"},
                 {"      image_size", "16"},
                 {"      class_cond", "false"},
                 {"      deterministic", "true"},
                 {"      random_crop", "false"},
                 {"      random_flip", "false"},
                 {"      return_dict", "true"},
                 {"      drop_last", "false"},
                 {"      batch_size", "2"},
                 {"      return_dataloader", "true"},
                 {"      offset", "0"},
                 {"      max_len", "8"},
                 {"      paths", ""},
                 {"        srs", "./log/inpainted"},
                 {"        lrs", "./log/gt_masked"},
                 {"        gts", "./log/gt"},
                 {"        gt_keep_masks", "./log/gt_keep_mask"}} {}

    /// Sets the setting of that name; one that begins with spaces belongs to the mapping it is indented under.
    configuration& set(const std::string& key, const std::string& value) {
        const auto found = at(key);
        if (found == lines_.end()) {
            const std::size_t indentation = key.find_first_not_of(' ');
            const auto mapping = at(indentation == 2 ? "schedule_jump_params" : "    faces");
            lines_.insert(indentation == 0 ? lines_.begin() : std::next(mapping), {key, value});
        } else {
            found->second = value;
        }
        return *this;
    }

    configuration& remove(const std::string& key) {
        const auto found = at(key);
        REQUIRE(found != lines_.end());
        const std::size_t indentation = key.find_first_not_of(' ');
        auto end = std::next(found);
        while (end != lines_.end() && end->first.find_first_not_of(' ') > indentation) {
            ++end;
        }
        lines_.erase(found, end);
        return *this;
    }

    [[nodiscard]] int line_of(const std::string& key) {
        const auto found = at(key);
        REQUIRE(found != lines_.end());
        return static_cast<int>(found - lines_.begin()) + 1;
    }

    [[nodiscard]] std::string text() const {
        std::string result;
        for (const auto& [key, value] : lines_) {
            result += key + (key.empty() ? "" : ": ") + value + '\n';
        }
        return result;
    }

    void write(const fs::path& file) const { std::ofstream(file) << text(); }

private:
    std::vector<std::pair<std::string, std::string>>::iterator at(const std::string& key) {
        return std::find_if(lines_.begin(), lines_.end(), [&](const auto& line) { return line.first == key; });
    }

    std::vector<std::pair<std::string, std::string>> lines_;
};

picture noise_picture(int width, int height, int channels, std::uint32_t seed) {
    picture p{width, height, channels, {}};
    for (int i = 0; i < width * height * channels; ++i) {
        seed = seed * 1664525U + 1013904223U;
        p.pixels.push_back(static_cast<std::uint8_t>(seed >> 24U));
    }
    return p;
}

/// Known on the left.
picture half_mask(int width, int height) {
    picture p{width, height, 1, {}};
    for (int i = 0; i < width * height; ++i) {
        p.pixels.push_back(i % width < width / 2 ? 255 : 0);
    }
    return p;
}

/// gts/a.png, b.png, c.png and masks/a.png, b.png, c.png of 16 x 16.
void write_pictures(const workplace& here, int count = 3) {
    fs::create_directories(here / "gts");
    fs::create_directories(here / "masks");
    for (int i = 0; i < count; ++i) {
        const std::string name = std::string(1, static_cast<char>('a' + i)) + ".png";
        repaint::write_picture(here / ("gts/" + name), noise_picture(16, 16, 3, static_cast<std::uint32_t>(i + 1)));
        repaint::write_picture(here / ("masks/" + name), half_mask(16, 16));
    }
}

/// The official program's byte of a float32.
std::uint8_t official_byte(float x) {
    const float scaled = (x + 1.0F) * 127.5F;
    return static_cast<std::uint8_t>(std::min(std::max(scaled, 0.0F), 255.0F));
}

picture official_picture(const host_tensor& images, int index) {
    const auto s = images.shape();
    picture p{s.w, s.h, 3, {}};
    for (int y = 0; y < s.h; ++y) {
        for (int x = 0; x < s.w; ++x) {
            for (int c = 0; c < 3; ++c) {
                p.pixels.push_back(official_byte(images(index, c, y, x)));
            }
        }
    }
    return p;
}

/// What must be in gts, lrs and gt_keep_masks for a picture and its mask.
struct expected_inputs {
    picture gt;
    picture known;
    picture keep;
};

expected_inputs expected_of(const picture& gt, const picture& mask, int size) {
    expected_inputs e{repaint::official_crop(gt, size), {}, repaint::official_crop(mask, size)};
    e.known = e.gt;
    for (std::size_t i = 0; i < e.gt.pixels.size(); ++i) {
        const float g = static_cast<float>(e.gt.pixels[i]) / 127.5F - 1.0F;
        const float m = static_cast<float>(e.keep.pixels[i]) / 255.0F;
        const float product = g * m;
        const float rest = -1.0F * (1.0F - m);
        e.known.pixels[i] = official_byte(product + rest);
        e.keep.pixels[i] = official_byte(m * 2.0F - 1.0F);
        e.gt.pixels[i] = official_byte(g);
    }
    return e;
}

/// How many bytes of a picture are one off; none may be more: truncation makes a byte of a rounding where a value falls
/// on a whole number.
int bytes_off(const picture& ours, const picture& official) {
    REQUIRE(ours.channels == 3);
    REQUIRE(ours.pixels.size() == official.pixels.size());
    int different = 0;
    for (std::size_t at = 0; at < ours.pixels.size(); ++at) {
        REQUIRE(std::abs(ours.pixels[at] - official.pixels[at]) <= 1);
        different += ours.pixels[at] != official.pixels[at] ? 1 : 0;
    }
    return different;
}

std::set<std::string> names_in(const fs::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) {
        names.insert(entry.path().filename().string());
    }
    return names;
}

/// One stream of PyTorch for several batches, with labels in between.
template <class G> struct shared_stream {
    std::shared_ptr<G> generator;

    template <repaint::memory_backend B> repaint::tensor_of<B> operator()(B& b, repaint::shape4 shape) {
        host_tensor draw(shape);
        generator->normal(draw.values());
        return b.upload(draw);
    }
    [[nodiscard]] typename G::state state() const { return generator->save(); }
    void restore(const typename G::state& state) { generator->restore(state); }
};

host_tensor image_of(const picture& p) { return repaint::to_tensor(p, 3); }

const std::vector<std::string> exact{"run", "c.yml", "--quiet", "--backend", "reference"};

} // namespace

TEST_CASE("the official program's run is reproduced from a configuration", "[run][golden]") {
    for (const std::string name : {"soft_mask", "nested_jumps"}) {
        CAPTURE(name);
        const workplace here;
        fs::create_directories(here / "gts");
        fs::create_directories(here / "masks");
        const host_tensor sample = repaint::read_npy(golden::data("official/" + name + "/sample.npy"));
        const auto mask = repaint::read_picture(golden::data("official/" + name + "/keep.png"));
        for (int i = 0; i < sample.shape().n; ++i) {
            const std::string file = "in" + std::to_string(i) + ".png";
            fs::copy_file(golden::data("official/" + name + "/" + file), here / ("gts/" + file));
            repaint::write_picture(here / ("masks/" + file), mask);
        }
        configuration c;
        c.set("cond_y", "3").remove("      max_len"); // with cond_y no labels are drawn before the noise
        if (name == "nested_jumps") {
            c.set("timestep_respacing", "12").set("  t_T", "12").set("  n_sample", "2").set("  jump_length", "4");
            c.set("  jump2_length", "2").set("  jump2_n_sample", "2").set("  jump3_length", "1");
            c.set("  jump3_n_sample", "2").set("  start_resampling", "9");
        }
        c.write(here / "c.yml");
        const auto f = run(here, {"run", "c.yml", "--noise", "torch-cpu", "--seed", "110", "--backend", "reference"});
        INFO(f.error);
        REQUIRE(f.status == 0);
        CHECK(f.out.empty());
        CHECK_THAT(f.error, contains("paired by name"));
        CHECK_THAT(f.error, contains("cond_y"));
        for (int i = 0; i < sample.shape().n; ++i) {
            const std::string file = "in" + std::to_string(i) + ".png";
            CHECK(bytes_off(repaint::read_picture(here / ("log/inpainted/" + file)), official_picture(sample, i)) <= 2);
            const auto inputs = expected_of(repaint::read_picture(here / ("gts/" + file)), mask, 16);
            CHECK(repaint::read_picture(here / ("log/gt/" + file)) == inputs.gt);
            CHECK(repaint::read_picture(here / ("log/gt_masked/" + file)) == inputs.known);
            CHECK(repaint::read_picture(here / ("log/gt_keep_mask/" + file)) == inputs.keep);
        }
    }
}

TEST_CASE("a guided run of the official program is reproduced, labels drawn, from a configuration", "[run][golden]") {
    const workplace here;
    auto file = repaint::read_checkpoint(golden::data("classifier/official_run.safetensors"));
    golden::add_generated(file);
    const auto sample = golden::tensor(file, "sample");
    const auto images = golden::tensor(file, "image_u8");
    const auto keep = golden::tensor(file, "keep_u8"); // (rows, columns)
    for (const std::string part : {"network", "classifier"}) {
        std::map<std::string, repaint::stored_tensor> tensors;
        for (const auto& [name, tensor] : file.tensors) {
            if (name.starts_with(part + ".")) {
                tensors.emplace(name.substr(part.size() + 1), tensor);
            }
        }
        repaint::write_safetensors(here / (part + ".safetensors"), tensors);
    }
    fs::create_directories(here / "gts");
    fs::create_directories(here / "masks");
    for (int i = 0; i < 2; ++i) {
        const std::string name = std::to_string(i) + ".png";
        picture p{64, 64, 3, {}};
        for (int at = 0; at < 64 * 64 * 3; ++at) {
            p.pixels.push_back(static_cast<std::uint8_t>(images(i, at % 3, at / 3 / 64, at / 3 % 64)));
        }
        repaint::write_picture(here / ("gts/" + name), p);
        repaint::write_picture(here / ("masks/" + name), {64, 64, 1, {keep.values().begin(), keep.values().end()}});
    }
    configuration c;
    const auto settings = [&](const std::string& name) { return repaint::parse_json(file.metadata.at(name), name); };
    const auto take = [&c](const repaint::json_value& json, const std::string& indentation) {
        for (const auto& [key, value] : json.as_object()) {
            if (value.is_string()) {
                c.set(indentation + key, "'" + value.as_string() + "'");
            } else if (value.is_boolean()) {
                c.set(indentation + key, value.as_boolean() ? "true" : "false");
            } else if (value.is_number() && key != "seed") {
                c.set(indentation + key, repaint::shortest_text(value.as_number()));
            }
        }
    };
    take(settings("network"), "");
    take(settings("classifier"), "");
    const auto about = settings("run");
    take(about, "");
    take(*about.find("schedule_jump_params"), "  ");
    c.set("model_path", "network.safetensors").set("classifier_path", "classifier.safetensors");
    c.set("      image_size", "64").write(here / "c.yml");
    const auto f = run(here, {"run", "c.yml", "--noise", "torch-cpu", "--seed", std::to_string(about.integer("seed"))});
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.error, contains("guided by classifier.safetensors"));
    for (int i = 0; i < 2; ++i) {
        const std::string name = "log/inpainted/" + std::to_string(i) + ".png";
        // Of 12288. The program itself moves by 3.6e-5 with another convolution, half a per cent of a byte.
        CHECK(bytes_off(repaint::read_picture(here / name), official_picture(sample, i)) <= 60);
    }
}

TEST_CASE("one stream of PyTorch runs through all batches, a label for each picture before the noise", "[run]") {
    const workplace here;
    // The class-conditional network of tests/data/unet, ten classes, images of 8 x 8.
    const auto network = golden::read_network("class_labels");
    std::map<std::string, repaint::stored_tensor> tensors(network.weights.tensors.begin(),
                                                          network.weights.tensors.end());
    repaint::write_safetensors(here / "labels.safetensors", tensors);
    write_pictures(here);

    for (const bool conditional : {false, true}) {
        for (const std::string noise : {"philox", "torch-cpu", "torch-cuda"}) {
            CAPTURE(conditional, noise);
            configuration c;
            const int size = conditional ? 8 : 16;
            if (conditional) {
                for (const char* key : {"attention_resolutions", "channel_mult", "num_channels", "num_head_channels",
                                        "num_heads", "num_res_blocks", "num_heads_upsample"}) {
                    c.remove(key);
                }
                for (const auto& [key, value] : network.config.as_object()) {
                    if (key.starts_with("num_head") || key == "use_new_attention_order") {
                        c.set(key, value.is_boolean() ? (value.as_boolean() ? "true" : "false")
                                                      : std::to_string(value.as_integer()));
                    }
                }
                c.set("class_cond", "true").set("image_size", "8").set("      image_size", "8");
                c.set("model_path", "labels.safetensors");
            }
            c.set("timestep_respacing", "[4]").set("  t_T", "4").set("  jump_length", "2");
            c.write(here / "c.yml");
            auto command = joined(exact, {"--seed", "5", "--noise", noise});
            if (noise == "torch-cuda") {
                command = joined(command, {"--noise-device", "A100"});
            }
            const auto f = run(here, command);
            INFO(f.error);
            REQUIRE(f.status == 0);

            repaint::reference_backend b;
            repaint::model_files files(conditional ? here / "labels.safetensors" : golden::data("official/unet.pt"));
            if (conditional) {
                files.settings = network.config;
            }
            const auto model = repaint::load_model(b, files);
            repaint::inpaint_options options;
            options.timesteps = 4;
            options.jumps.jump_length = 2;
            options.jumps.jump_n_sample = 2;
            options.composite = false;
            const auto cpu = std::make_shared<repaint::torch_cpu_generator>(5);
            const auto cuda =
                std::make_shared<repaint::torch_cuda_generator>(5, repaint::torch_cuda_device_named("A100").value());
            int done = 0;
            for (const std::string batch : {"ab", "c"}) {
                const int count = static_cast<int>(batch.size());
                host_tensor images({count, 3, size, size});
                host_tensor keep(images.shape());
                const int classes = conditional ? 10 : 1000;
                std::vector<std::int64_t> labels(batch.size());
                if (noise == "torch-cuda") {
                    cuda->randint(0, classes, labels);
                }
                for (std::size_t i = 0; i < labels.size() && noise == "torch-cpu"; ++i) {
                    labels[i] = cpu->random32() % static_cast<unsigned>(classes);
                }
                for (std::size_t i = 0; i < labels.size() && noise == "philox"; ++i) {
                    const auto seed = static_cast<std::uint64_t>(5 + done) + i;
                    labels[i] = repaint::philox_noise(seed).labels(1, classes).front();
                }
                options.labels.clear();
                if (conditional) {
                    options.labels.assign(labels.begin(), labels.end());
                }
                for (int i = 0; i < count; ++i) {
                    const std::string file = std::string(1, batch[static_cast<std::size_t>(i)]) + ".png";
                    const auto gt =
                        image_of(repaint::official_crop(repaint::read_picture(here / ("gts/" + file)), size));
                    std::copy(gt.values().begin(), gt.values().end(), images.image(i).begin());
                    const auto mask =
                        image_of(repaint::official_crop(repaint::read_picture(here / ("masks/" + file)), size));
                    for (std::size_t at = 0; at < mask.size(); ++at) {
                        keep.image(i)[at] = mask.values()[at] > 0.0F ? 1.0F : 0.0F;
                    }
                }
                const repaint::inpainter inpaint(b, model, options);
                const host_tensor expected =
                    noise == "torch-cpu" ? inpaint(images, keep, shared_stream<repaint::torch_cpu_generator>{cpu})
                    : noise == "torch-cuda"
                        ? inpaint(images, keep, shared_stream<repaint::torch_cuda_generator>{cuda})
                        : inpaint(images, keep, repaint::philox_noise(static_cast<std::uint64_t>(5 + done)));
                for (int i = 0; i < count; ++i) {
                    const std::string file = std::string(1, batch[static_cast<std::size_t>(i)]) + ".png";
                    CAPTURE(file);
                    CHECK(repaint::read_picture(here / ("log/inpainted/" + file)) == official_picture(expected, i));
                }
                done += count;
            }
        }
    }
}

TEST_CASE("pictures and masks of any size are prepared as the official program does", "[run]") {
    const workplace here;
    fs::create_directories(here / "gts/deeper");
    fs::create_directories(here / "masks");
    const picture wide = noise_picture(50, 37, 3, 1);
    const picture grey = noise_picture(20, 33, 1, 2);
    repaint::write_picture(here / "gts/deeper/wide.png", wide);
    repaint::write_picture(here / "gts/x.y.png", grey);
    repaint::write_picture(here / "masks/1.png", half_mask(23, 23));
    repaint::write_picture(here / "masks/2.png", half_mask(40, 64));
    configuration().write(here / "c.yml");
    const auto f = run(here, {"run", "c.yml"});
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.error, contains("faces: 2 pictures with masks, paired by sorted order"));
    CHECK_THAT(f.error, contains("max_len is 8, but there are only 2 pictures"));
    const std::vector<std::pair<std::string, expected_inputs>> expected{
        {"wide.png", expected_of(wide, half_mask(23, 23), 16)}, {"x.y.png", expected_of(grey, half_mask(40, 64), 16)}};
    for (const auto& [name, inputs] : expected) {
        CAPTURE(name);
        CHECK(repaint::read_picture(here / ("log/gt/" + name)) == inputs.gt);
        CHECK(repaint::read_picture(here / ("log/gt_masked/" + name)) == inputs.known);
        CHECK(repaint::read_picture(here / ("log/gt_keep_mask/" + name)) == inputs.keep);
    }
    for (const char* folder : {"inpainted", "gt_masked", "gt", "gt_keep_mask"}) {
        CHECK(names_in(here / (std::string("log/") + folder)) == std::set<std::string>{"wide.png", "x.y.png"});
    }
}

TEST_CASE("pictures and masks go by name when all names match, else by sorted order, which is said", "[run]") {
    const workplace here;
    write_pictures(here, 3);
    fs::rename(here / "masks/a.png", here / "masks/z.png"); // by order, b gets the mask of c
    repaint::write_picture(here / "masks/b.png", noise_picture(16, 16, 1, 9));
    configuration c;
    c.set("timestep_respacing", "2").set("  t_T", "2").set("  jump_n_sample", "1").write(here / "c.yml");
    const auto mixed = run(here, {"run", "c.yml"});
    INFO(mixed.error);
    REQUIRE(mixed.status == 0);
    CHECK_THAT(mixed.error, contains("paired by sorted order, as ./gts/a.png has no partner of its name\n"));
    const picture noisy = repaint::official_crop(noise_picture(16, 16, 1, 9), 16);
    const auto mask_of = [&](const std::string& name) {
        return repaint::read_picture(here / ("log/gt_keep_mask/" + name)).pixels.front();
    };
    CHECK(mask_of("a.png") == official_byte(static_cast<float>(noisy.pixels.front()) / 255.0F * 2.0F - 1.0F));
    CHECK(mask_of("b.png") == 255);

    repaint::write_picture(here / "masks/a.png", half_mask(16, 16));
    const auto named = run(here, {"run", "c.yml"});
    INFO(named.error);
    REQUIRE(named.status == 0);
    CHECK_THAT(named.error, contains("paired by name\n"));
    CHECK(mask_of("a.png") == 255);
    CHECK(mask_of("b.png") == official_byte(static_cast<float>(noisy.pixels.front()) / 255.0F * 2.0F - 1.0F));

    fs::remove(here / "masks/c.png");
    fs::remove(here / "masks/z.png");
    check_refused(run(here, exact), 1, "gts/c.png has no partner of its name among the masks (2)");
}

TEST_CASE("offset, max_len, drop_last and several data sets", "[run]") {
    const workplace here;
    write_pictures(here, 5);
    configuration c;
    c.set("timestep_respacing", "2").set("  t_T", "2").set("  jump_n_sample", "1").set("      offset", "1");
    SECTION("offset and max_len") {
        c.set("      max_len", "3").write(here / "c.yml");
        REQUIRE(run(here, exact).status == 0);
        CHECK(names_in(here / "log/inpainted") == std::set<std::string>{"b.png", "c.png", "d.png"});
    }
    SECTION("drop_last leaves out what does not fill a batch") {
        c.set("      max_len", "~").set("      batch_size", "3").set("      drop_last", "yes").write(here / "c.yml");
        const auto f = run(here, {"run", "c.yml"});
        INFO(f.error);
        REQUIRE(f.status == 0);
        CHECK(names_in(here / "log/inpainted") == std::set<std::string>{"b.png", "c.png", "d.png"});
        CHECK_THAT(f.error, contains("drop_last is true: the last batch is left out, 1 picture"));
    }
    SECTION("nothing is left") {
        c.set("      offset", "5").write(here / "c.yml");
        check_refused(run(here, exact), 1, "data.eval.faces.offset is 5, but there are only 5 pictures");
    }
    SECTION("folders that are not named are not written") {
        c.remove("        lrs").remove("        gts").remove("        gt_keep_masks").write(here / "c.yml");
        REQUIRE(run(here, exact).status == 0);
        CHECK(names_in(here / "log") == std::set<std::string>{"inpainted"});
    }
    SECTION("two data sets") {
        std::ofstream(here / "c.yml") << c.text() << R"(    more:
      gt_path: gts
      mask_path: masks
      batch_size: 4
      max_len: 1
      paths: {srs: log/more}
)";
        const auto f = run(here, {"run", "c.yml", "--seed", "1"});
        INFO(f.error);
        REQUIRE(f.status == 0);
        CHECK_THAT(f.error, contains("faces: 4 pictures with masks, paired by name\nmore: 1 picture with masks"));
        CHECK(names_in(here / "log/inpainted").size() == 4);
        CHECK(names_in(here / "log/more") == std::set<std::string>{"a.png"});
    }
}

TEST_CASE("paths are taken from where the program runs, else from the configuration's folder", "[run]") {
    const workplace here;
    write_pictures(here, 1);
    fs::create_directories(here / "elsewhere");
    configuration().set("timestep_respacing", "2").set("  t_T", "2").write(here / "c.yml");
    const auto f = run(here, {"run", "../c.yml"}, here / "elsewhere");
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.error, contains("data.eval.faces.gt_path is ../gts, taken from the folder of the configuration"));
    CHECK(fs::exists(here / "elsewhere/log/inpainted/a.png"));

    configuration().set("model_path", "./pretrained/faces.pt").write(here / "c.yml");
    check_refused(run(here, exact), 1,
                  "c.yml, line 38: model_path is ./pretrained/faces.pt, which exists neither below ");
    configuration().set("model_path", "/nowhere/faces.pt").write(here / "c.yml");
    check_refused(run(here, exact), 1, "model_path is /nowhere/faces.pt, which does not exist");
    configuration().set("      mask_path", "nomasks").write(here / "c.yml");
    check_refused(run(here, exact), 1, "data.eval.faces.mask_path is nomasks, which exists neither");
}

TEST_CASE("switches that are dead in the official program are named", "[run]") {
    const workplace here;
    write_pictures(here, 1);
    struct dead {
        std::string key;
        std::string value;
        std::string sentence;
    };
    const std::vector<dead> all{
        {"use_ddim", "true", "use_ddim is true, and the official program has no DDIM sampler"},
        {"inpa_inj_sched_prev_cumnoise", "true", "does not have (get_gt_noised); accepted: false"},
        {"respace_interpolate", "true", "does not have (resample_betas); accepted: false"},
        {"rescale_timesteps", "on", "the official program raises NotImplementedError; accepted: false"},
        {"use_value_logger", "true", "accepted: false"},
        {"inpa_inj_sched_prev", "false", "never merges what is known into the sample; accepted: true"},
        {"inpa_inj_time_shift", "2", "inpa_inj_time_shift is 2, "},
        {"      random_crop", "true", "data.eval.faces.random_crop is true, "},
        {"      random_flip", "True", "data.eval.faces.random_flip is true, "},
        {"      class_cond", "true", "data.eval.faces.class_cond is true, "},
        {"      return_dict", "false", "data.eval.faces.return_dict is false, "},
        {"      mask_loader", "no", "data.eval.faces.mask_loader is false, "},
    };
    for (const auto& one : all) {
        CAPTURE(one.key);
        configuration c;
        c.set(one.key, one.value).write(here / "c.yml");
        const auto f = run(here, exact);
        check_refused(f, 1, one.sentence);
        CHECK_THAT(f.error, contains("c.yml, line " + std::to_string(c.line_of(one.key)) + ": "));
    }
    configuration().remove("inpa_inj_sched_prev").write(here / "c.yml");
    check_refused(run(here, exact), 1, "inpa_inj_sched_prev is missing, with which the official program never merges");
    configuration().remove("clip_denoised").write(here / "c.yml");
    check_refused(run(here, exact), 1, "clip_denoised is missing, which is false to the official program; accepted: ");
}

TEST_CASE("what changes nothing is said and no error", "[run]") {
    const workplace here;
    write_pictures(here, 1);
    configuration c;
    c.set("timestep_respacing", "2").set("  t_T", "2").set("use_fp16", "true").set("device", "cuda:0");
    c.set("my_own_key", "[1, {a: b}]").set("      workers", "4").set("classifier_path", "nowhere.pt");
    c.set("classifier_scale", "0").set("      deterministic", "false").set("cond_y", "7").set("seed", "3");
    c.write(here / "c.yml");
    const auto f = run(here, {"run", "c.yml"});
    INFO(f.error);
    REQUIRE(f.status == 0);
    CHECK_THAT(f.error, contains("note: use_fp16 is true: "));
    CHECK_THAT(f.error, contains("note: device is \"cuda:0\": "));
    CHECK_THAT(f.error, contains("note: the setting my_own_key is not known and was ignored"));
    CHECK_THAT(f.error, contains("note: the setting data.eval.faces.workers is not known and was ignored"));
    CHECK_THAT(f.error, contains("note: classifier_path is given, but classifier_scale is not above 0"));
    CHECK_THAT(f.error, contains("note: data.eval.faces.deterministic is not true: "));
    CHECK_THAT(f.error, contains("note: cond_y is given, but nothing takes labels"));
    const std::string sample = content(here / "log/inpainted/a.png");

    // The seed of the file is the seed of the run, unless the command has one.
    REQUIRE(run(here, joined(exact, {"--seed", "3"})).status == 0);
    CHECK(content(here / "log/inpainted/a.png") == sample);
    REQUIRE(run(here, joined(exact, {"--seed", "4"})).status == 0);
    CHECK(content(here / "log/inpainted/a.png") != sample);
    const auto quiet = run(here, exact);
    CHECK(quiet.error.empty());
    CHECK(content(here / "log/inpainted/a.png") == sample);
}

TEST_CASE("wrong settings are named with their value and what is accepted", "[run]") {
    const workplace here;
    write_pictures(here, 1);
    struct wrong {
        std::string key;
        std::string value;
        std::string sentence;
    };
    const std::vector<wrong> all{
        {"class_cond", "maybe", "class_cond is \"maybe\"; accepted: true or false"},
        {"class_cond", "'true'", "class_cond is \"true\"; accepted: true or false"},
        {"num_channels", "many", "num_channels is \"many\"; accepted: an integer of 1 or more"},
        {"num_channels", "'8'", "num_channels is \"8\"; accepted: an integer of 1 or more"},
        {"num_channels", "8.5", "num_channels is 8.5; accepted: an integer of 1 or more"},
        {"num_channels", "-8", "num_channels is -8; accepted: an integer of 1 or more"},
        {"num_channels", "99999999999999999999999", "; accepted: an integer of 1 or more"},
        {"num_channels", "16", "num_channels is 16, but the checkpoint's tensors are those of a network with 8"},
        {"num_head_channels", "[8]", "num_head_channels is a list; accepted: an integer of -1 or more"},
        {"channel_mult", "a,b", "channel_mult is \"a,b\"; accepted: numbers, as 32,16,8"},
        {"attention_resolutions", "{a: 1}", "attention_resolutions is a mapping; accepted: numbers"},
        {"noise_schedule", "sigmoid", "noise_schedule is sigmoid"},
        {"noise_schedule", "5", "noise_schedule is 5; accepted: linear"},
        {"dropout", "none", "dropout is \"none\"; accepted: a number"},
        {"classifier_scale", "strong", "classifier_scale is \"strong\"; accepted: a number"},
        {"classifier_pool", "max", "classifier_pool is \"max\"; accepted: attention, adaptive, spatial or"},
        {"timestep_respacing", "'a lot'", "timestep_respacing"},
        {"timestep_respacing", "'2000'", "timestep_respacing of 1000 timesteps: "},
        {"timestep_respacing", "{}", "timestep_respacing is a mapping; accepted: a count as '250'"},
        {"timestep_respacing", "'250'", "schedule_jump_params.t_T is 10, but timestep_respacing \"250\" leaves 250"},
        {"  t_T", "250", "schedule_jump_params.t_T is 250, but timestep_respacing \"10\" leaves 10 timesteps"},
        {"  t_T", "0", "schedule_jump_params.t_T is 0; accepted: an integer of 1 or more"},
        {"  n_sample", "x", "schedule_jump_params.n_sample is \"x\"; accepted: an integer of 1 or more"},
        {"  jump_n_sample", "100000000", "schedule_jump_params: "},
        {"schedule_jump_params", "5\nignored:", "schedule_jump_params is 5, accepted: a mapping of settings"},
        {"image_size", "0", "image_size is 0; accepted: an integer from 1 to 16384"},
        {"image_size", "17", "image_size is 16, but the network's image_size is 17; accepted: 17"},
        {"model_path", "5", "model_path is 5; accepted: a path"},
        {"model_path", golden::data("families/centred").string(),
         "centred, a diffusers UNet2DModel; accepted: a guided"},
        {"model_path", "", "model_path is missing; accepted: the network's .pt or .safetensors"},
        {"cond_y", "-1", "cond_y is -1; accepted: an integer of 0 or more"},
        {"seed", "-1", "seed is -1; accepted: an integer of 0 or more"},
        {"      batch_size", "0", "data.eval.faces.batch_size is 0; accepted: an integer from 1 to 65536"},
        {"      batch_size", "", "data.eval.faces.batch_size is missing; accepted: an integer from 1 to 65536"},
        {"      offset", "-1", "data.eval.faces.offset is -1; accepted: an integer of 0 or more"},
        {"      max_len", "all", "data.eval.faces.max_len is \"all\"; accepted: an integer of 1 or more"},
        {"      image_size", "32", "data.eval.faces.image_size is 32, but the network's image_size is 16"},
        {"      gt_path", "", "data.eval.faces.gt_path is missing; accepted: a folder of pictures"},
        {"        srs", "", "data.eval.faces.paths.srs is missing; accepted: a folder for the results"},
        {"        lrs", "log/./inpainted", "data.eval.faces.paths.lrs is \"log/./inpainted\", the folder of srs, too"},
        {"        srs", "gts", "gts/a.png would be written over a picture of the input"},
        {"        gts", "c.yml", "data.eval.faces.paths: c.yml is a file, accepted: a folder"},
    };
    for (const auto& one : all) {
        CAPTURE(one.key, one.value);
        configuration c;
        c.set(one.key, one.value).write(here / "c.yml");
        check_refused(run(here, exact), 1, one.sentence);
    }
    for (const char* key : {"schedule_jump_params", "data", "  eval", "  t_T", "  jump_length", "image_size"}) {
        CAPTURE(key);
        configuration c;
        c.remove(key).write(here / "c.yml");
        check_refused(run(here, exact), 1, " is missing");
    }
    CHECK_FALSE(fs::exists(here / "log"));

    configuration().set("        srs", "/proc/nothing").write(here / "c.yml");
    check_refused(run(here, exact), 1, "/proc/nothing: the folder cannot be made: ");
}

TEST_CASE("wrong pictures stop the run before it starts", "[run]") {
    const workplace here;
    write_pictures(here, 2);
    configuration().write(here / "c.yml");
    SECTION("a GIF") {
        std::ofstream(here / "gts/c.Gif") << "GIF89a";
        check_refused(run(here, exact), 1,
                      "gts/c.Gif is a GIF, which is not read here; accepted are .png, .jpg and .jpeg");
    }
    SECTION("no picture at all") {
        fs::remove_all(here / "masks");
        fs::create_directories(here / "masks");
        check_refused(run(here, exact), 1, "data.eval.faces.mask_path: ");
    }
    SECTION("numbers that do not fit") {
        fs::remove_all(here / "masks");
        fs::create_directories(here / "masks");
        for (const char* name : {"x.png", "y.png", "z.png"}) {
            repaint::write_picture(here / (std::string("masks/") + name), half_mask(16, 16));
        }
        check_refused(run(here, exact), 1, "data.eval.faces.mask_path: ");
    }
    SECTION("a damaged one") {
        std::ofstream(here / "gts/b.png") << "no picture";
        check_refused(run(here, exact), 1, "b.png");
    }
    SECTION("two of one name") {
        fs::create_directories(here / "gts/deeper");
        fs::create_directories(here / "masks/deeper");
        fs::copy_file(here / "gts/a.png", here / "gts/deeper/a.png");
        fs::copy_file(here / "masks/a.png", here / "masks/deeper/a.png");
        check_refused(run(here, exact), 1, "would both be written to ./log/inpainted/a.png");
    }
    CHECK_FALSE(fs::exists(here / "log"));
}

TEST_CASE("what is no YAML, or more than a configuration, is refused in one sentence and at once", "[run]") {
    const workplace here;
    const auto many = [](const std::string& part, int times) {
        std::string text;
        for (int i = 0; i < times; ++i) {
            text += part;
        }
        return text;
    };
    std::string bomb = "a0: &a0 [1]\n";
    for (int i = 1; i < 60; ++i) {
        const std::string before = "*a" + std::to_string(i - 1);
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
        for (int k = 0; k < 9; ++k) {
            bomb += ", " + before;
        }
        bomb += "]\n";
    }
    std::string steps;
    for (int i = 0; i < 400; ++i) {
        steps += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
    }
    const std::map<std::string, std::string> texts{
        {"", "an empty configuration"},
        {"# nothing\n", "an empty configuration"},
        {"just words", "c.yml, line 1: the file is \"just words\", accepted: a mapping of settings"},
        {"- a\n- b\n", "the file is a list"},
        {"a: b: c\n", "c.yml, line 1: not YAML: "},
        {"a: 1\nb: [1, 2\n", "not YAML: "},
        {"a: \"open\n", "not YAML: "},
        {"a: 'open\nb: 1\n\n", "not YAML: "},
        {"a: *nothing\n", "not YAML: "},
        {"a: 1\n---\nb: 2\n", "2 YAML documents, expected one"},
        {"a: 1\na: 2\n", "c.yml, line 2: the key \"a\" was given before, in line 1"},
        {"<<: {a: 1}\n", "merge keys (<<) are not read"},
        {"? [a, b]\n: 1\n", "a key must be a word"},
        {"a: !!python/object/apply:os.system [ls]\n", "inpa_inj_sched_prev is missing"},
        {"a: !!python/name:os.system x\n", "the tag \"tag:yaml.org,2002:python/name:os.system\" of \"x\" is not read"},
        {"a: !!int x\n", "is not read"},
        {"a: \xFF\xFE\n", "not UTF-8"},
        {std::string("a: b\n\x04 c", 8), "c.yml, line 2: not a YAML file, there is a control character"},
        {std::string("\0\0\0", 3), "control character"},
        {"&a [*a, *a]\n", "too deeply"},
        {"a: &a {b: *a}\n", "too deeply"},
        {bomb, "more than 20000 values"},
        {many("[", 10000), "nested too deeply"},
        {many("{a: ", 10000), "nested too deeply"},
        {many("- ", 10000), "nested too deeply"},
        {many("? ", 10000), "nested too deeply"},
        {steps, "nested too deeply"},
        {many("a: [\n", 40) + many("]", 40), "c.yml"},
        {many("x", 300000), "bytes are no configuration, accepted are up to 262144"},
        {many("- 1\n", 60000), "more than 20000 values"},
        {many("&a ", 50000), "c.yml"},
        {"a: " + many("!", 100000), "c.yml"},
        {many("*", 100000), "c.yml"},
        {"a: " + many("\"\"", 50000), "c.yml"},
        {many("a: |\n", 20000), "c.yml"},
        {many("? a\n", 20000), "c.yml"},
        {"%YAML " + many("9", 100000) + "\n---\na: 1\n", "c.yml"},
    };
    for (const auto& [text, sentence] : texts) {
        CAPTURE(text.substr(0, 60), text.size());
        std::ofstream(here / "c.yml", std::ios::binary) << text;
        const auto before = std::chrono::steady_clock::now();
        check_refused(run(here, exact), 1, sentence);
        const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
        CHECK(seconds < 3.0 * REPAINT_SLOWNESS);
    }
    check_refused(run(here, {"run", "nothing.yml"}), 1, "nothing.yml: cannot be opened: ");
    check_refused(run(here, {"run", "."}), 1, "is a directory, expected a file");
}

TEST_CASE("scalars have the types that PyYAML gives them", "[run]") {
    const workplace here;
    write_pictures(here, 1);
    configuration c;
    c.set("timestep_respacing", "'2'").set("  t_T", "2").set("learn_sigma", "Yes").set("resblock_updown", "ON");
    c.set("class_cond", "off").set("use_kl", "~").set("use_checkpoint", "").set("num_channels", "010");
    c.set("num_heads", "+4").set("num_head_channels", "0x8").set("diffusion_steps", "1_000").set("dropout", "1e-1");
    c.set("num_res_blocks", "!!int 1").set("classifier_scale", ".5").set("channel_mult", "[4]");
    c.write(here / "c.yml");
    const auto f = run(here, exact);
    INFO(f.error);
    CHECK(f.status == 0);
}

TEST_CASE("an interrupted run says what is done and keeps it", "[run]") {
    const workplace here;
    write_pictures(here, 3);
    configuration c;
    c.set("timestep_respacing", "250").set("  t_T", "250").set("  jump_length", "1").set("  jump_n_sample", "1000");
    c.set("      batch_size", "1").write(here / "c.yml");
    const pid_t child = start(here, exact);
    std::this_thread::sleep_for(std::chrono::milliseconds(700));
    REQUIRE(::kill(child, SIGINT) == 0);
    const auto f = finish(here, child);
    CHECK(f.status == 130);
    CHECK(f.error == "\nstopping after this evaluation; again: at once\n"
                     "stopped at ./gts/a.png; 0 of 3 pictures are done and written\n");
}

TEST_CASE("an interrupted run says what makes the rest as it would have been", "[run]") {
    const workplace here;
    write_pictures(here, 6);
    configuration c;
    c.set("timestep_respacing", "50").set("  t_T", "50").set("      batch_size", "1").set("      max_len", "5");
    c.set("      offset", "1").write(here / "c.yml");
    const std::vector<std::string> unseeded{"run", "c.yml", "--quiet", "--seed"};
    const auto command = joined(unseeded, {"7"});
    REQUIRE(run(here, command).status == 0);
    fs::rename(here / "log", here / "whole");
    const pid_t child = start(here, command);
    const fs::path second = here / "log/inpainted/c.png"; // the first picture is b.png
    for (int i = 0; i < 6000 && !fs::exists(second); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ::kill(child, SIGINT);
    const auto f = finish(here, child);
    INFO(f.error);
    if (f.status == 0) {
        return; // a very fast machine was done already
    }
    REQUIRE(f.status == 130);
    const auto done = static_cast<int>(names_in(here / "log/gt_keep_mask").size()); // written last
    REQUIRE(done >= 1);
    const auto text = [](int number) { return std::to_string(number); };
    CHECK_THAT(f.error, contains("; " + text(done) + " of 5 pictures are done and written; offset " + text(1 + done) +
                                 ", max_len " + text(5 - done) + " and --seed " + text(7 + done) + " make the rest\n"));
    c.set("      offset", text(1 + done)).set("      max_len", text(5 - done)).write(here / "c.yml");
    REQUIRE(run(here, joined(unseeded, {text(7 + done)})).status == 0);
    for (const std::string name : {"b.png", "c.png", "d.png", "e.png", "f.png"}) {
        CHECK(content(here / ("log/inpainted/" + name)) == content(here / ("whole/inpainted/" + name)));
    }
}

TEST_CASE("run is used as it is described", "[run]") {
    const workplace here;
    CHECK(run(here, {"run"}).status == 2);
    CHECK(run(here, {"run", "c.yml", "--noise", "white"}).status == 2);
    CHECK(run(here, {"run", "c.yml", "--seed", "-1"}).status == 2);
    CHECK(run(here, {"run", "c.yml", "more.yml"}).status == 2);
    const auto f = run(here, {"run", "--help"});
    CHECK(f.status == 0);
    CHECK_THAT(f.out, contains("CONFIG"));
}
