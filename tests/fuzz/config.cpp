// The JSON beside a checkpoint: any text is read as the settings of a small network, or refused with an exception.
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>

#include <repaint/model/unet.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/error.hpp>
#include <repaint/io/json.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/weight_map.hpp>

namespace {

/// Names and shapes of a class-conditional network of two levels, without values.
repaint::checkpoint small_network() {
    repaint::checkpoint file;
    file.path = "network";
    const auto add = [&file](const std::string& name, std::vector<std::int64_t> shape) {
        repaint::stored_tensor tensor;
        tensor.type = repaint::dtype::f32;
        tensor.strides = repaint::contiguous_strides(shape);
        tensor.shape = std::move(shape);
        file.tensors.emplace(name, tensor);
    };
    const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in) {
        add(name + ".weight", {out, in});
        add(name + ".bias", {out});
    };
    const auto conv = [&](const std::string& name, std::int64_t out, std::int64_t in, std::int64_t k) {
        add(name + ".weight", {out, in, k, k});
        add(name + ".bias", {out});
    };
    const auto norm = [&](const std::string& name, std::int64_t channels) {
        add(name + ".weight", {channels});
        add(name + ".bias", {channels});
    };
    const auto residual = [&](const std::string& name, std::int64_t in, std::int64_t out) {
        norm(name + ".in_layers.0", in);
        conv(name + ".in_layers.2", out, in, 3);
        linear(name + ".emb_layers.1", 2 * out, 128);
        norm(name + ".out_layers.0", out);
        conv(name + ".out_layers.3", out, out, 3);
        if (in != out) {
            conv(name + ".skip_connection", out, in, 1);
        }
    };
    const auto attention = [&](const std::string& name, std::int64_t channels) {
        norm(name + ".norm", channels);
        add(name + ".qkv.weight", {3 * channels, channels, 1});
        add(name + ".qkv.bias", {3 * channels});
        add(name + ".proj_out.weight", {channels, channels, 1});
        add(name + ".proj_out.bias", {channels});
    };
    linear("time_embed.0", 128, 32);
    linear("time_embed.2", 128, 128);
    add("label_emb.weight", {10, 128});
    conv("input_blocks.0.0", 32, 3, 3);
    residual("input_blocks.1.0", 32, 32);
    residual("input_blocks.2.0", 32, 32);
    residual("input_blocks.3.0", 32, 64);
    attention("input_blocks.3.1", 64);
    residual("middle_block.0", 64, 64);
    attention("middle_block.1", 64);
    residual("middle_block.2", 64, 64);
    residual("output_blocks.0.0", 128, 64);
    attention("output_blocks.0.1", 64);
    residual("output_blocks.1.0", 96, 64);
    attention("output_blocks.1.1", 64);
    residual("output_blocks.1.2", 64, 64);
    residual("output_blocks.2.0", 96, 32);
    residual("output_blocks.3.0", 64, 32);
    norm("out.0", 32);
    conv("out.2", 6, 32, 3);
    return file;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const repaint::checkpoint file = small_network();
    try {
        const auto settings =
            repaint::parse_json(std::string_view(reinterpret_cast<const char*>(data), size), "settings.json");
        const auto read = repaint::read_guided_diffusion(file, &settings);
        repaint::dry_backend b;
        repaint::weight_map weights(file, repaint::weight_map::check_only);
        const repaint::unet<repaint::dry_backend> network(b, read.network, weights);
        weights.finish();
        const auto process = read.diffusion.respaced("");
        (void)process.reverse(process.size() - 1);
    } catch (const repaint::error&) {
    } catch (const std::invalid_argument&) {
    }
    return 0;
}
