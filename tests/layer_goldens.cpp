// The reference backend against PyTorch, layer by layer (tests/peers/make_layer_goldens.py).
#include <cmath>
#include <string>

#include <repaint/backend/reference.hpp>
#include <repaint/diffusion/tables.hpp>
#include <repaint/model/attention_block.hpp>
#include <repaint/model/timestep_embedding.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/oracle.hpp"

using repaint::host_tensor;
using repaint::reference_backend;
namespace ops = repaint::ops;

namespace {

const repaint::checkpoint& layers() {
    static const auto file = repaint::read_checkpoint(golden::data("layers.safetensors"));
    return file;
}

/// Every "kind.case" that has the tensor "kind.case.y" or "kind.case.sample".
std::vector<std::string> cases(const std::string& kind, const std::string& result) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : layers().tensors) {
        if (name.starts_with(kind + ".") && name.ends_with("." + result)) {
            names.push_back(name.substr(0, name.size() - result.size() - 1));
        }
    }
    REQUIRE(!names.empty());
    return names;
}

host_tensor get(const std::string& name) { return golden::tensor(layers(), name); }

/// float32 sums in another order than PyTorch's.
constexpr tolerance float32_sum{3e-6, 1e-12};

} // namespace

TEST_CASE("conv2d agrees with torch.nn.functional.conv2d", "[golden]") {
    reference_backend b;
    for (const auto& name : cases("conv2d", "y")) {
        CAPTURE(name);
        const auto packed = b.pack_conv2d(oracle::weights(get(name + ".w")), oracle::weights(get(name + ".b")));
        const repaint::conv2d_options options{.stride = name.find("s2") != std::string::npos ? 2 : 1,
                                              .padding = name.find("p1") != std::string::npos ? 1 : 0};
        CHECK(difference(b.download(ops::conv2d(b, b.upload(get(name + ".x")), packed, options)), get(name + ".y"),
                         float32_sum) == "");
    }
}

TEST_CASE("linear agrees with torch.nn.functional.linear", "[golden]") {
    reference_backend b;
    for (const auto& name : cases("linear", "y")) {
        CAPTURE(name);
        const auto packed = b.pack_conv2d(oracle::weights(get(name + ".w")), oracle::weights(get(name + ".b")));
        CHECK(difference(b.download(ops::linear(b, b.upload(get(name + ".x")), packed)), get(name + ".y"),
                         float32_sum) == "");
    }
}

TEST_CASE("group_norm agrees with torch.nn.functional.group_norm", "[golden]") {
    reference_backend b;
    for (const auto& name : cases("group_norm", "y")) {
        CAPTURE(name);
        const auto packed = b.pack_norm(oracle::weights(get(name + ".weight")), oracle::weights(get(name + ".bias")));
        const auto x = b.upload(get(name + ".x"));
        std::optional<reference_backend::tensor> scale_shift;
        if (layers().tensors.contains(name + ".scale")) {
            scale_shift.emplace(ops::concat(b, b.upload(get(name + ".scale")), b.upload(get(name + ".shift"))));
        }
        for (const bool silu : {false, true}) {
            const repaint::group_norm_options options{.then =
                                                          silu ? repaint::activation::silu : repaint::activation::none};
            // The goldens are float64; an input near 1000 has a spacing of 6e-5 itself, but both sides read the same
            // one.
            CHECK(difference(b.download(ops::group_norm(b, x, packed, options, scale_shift ? &*scale_shift : nullptr)),
                             get(name + (silu ? ".y_silu" : ".y")), float32_sum) == "");
        }
    }
}

TEST_CASE("attention agrees with softmax(q k^T) v in float64", "[golden]") {
    reference_backend b;
    for (const auto& name : cases("attention", "y")) {
        CAPTURE(name);
        const int heads = golden::integers(layers(), name + ".heads")[0];
        // Sharp: scores near 100, where one rounding moves a weight by 1e-5.
        const tolerance allowed = name == "attention.sharp" ? tolerance{1e-4, 1e-9} : float32_sum;
        CHECK(difference(b.download(ops::attention(b, b.upload(get(name + ".qkv")), heads)), get(name + ".y"),
                         allowed) == "");
    }
}

TEST_CASE("the legacy order of q, k and v becomes the grouped one", "[golden]") {
    for (const auto& name : cases("attention", "y")) {
        CAPTURE(name);
        const int heads = golden::integers(layers(), name + ".heads")[0];
        const auto legacy = get(name + ".qkv_legacy");
        const auto grouped = get(name + ".qkv");
        for (int n = 0; n < legacy.shape().n; ++n) {
            // Channels of an activation and rows of a weight are reordered alike.
            const auto part = legacy.image(n);
            const repaint::shape4 s{legacy.shape().c, static_cast<int>(legacy.shape().plane()), 1, 1};
            const auto rows = oracle::weights(host_tensor(s, std::vector<float>(part.begin(), part.end())));
            const auto result = repaint::detail::grouped_by_role(rows, heads);
            CHECK(std::equal(grouped.image(n).begin(), grouped.image(n).end(), result.values.get()));
        }
    }
}

TEST_CASE("resampling agrees with torch", "[golden]") {
    reference_backend b;
    for (const auto& name : cases("upsample", "y")) {
        CHECK(same_bits(b.download(ops::resize(b, b.upload(get(name + ".x")), repaint::resampling::nearest_up)),
                        get(name + ".y")));
    }
    for (const auto& name : cases("downsample", "y")) {
        CHECK(difference(b.download(ops::resize(b, b.upload(get(name + ".x")), repaint::resampling::average_down)),
                         get(name + ".y"), {1e-6, 1e-13}) == "");
    }
}

TEST_CASE("timestep_embedding agrees with the official one", "[golden]") {
    for (const auto& name : cases("embedding", "y")) {
        const auto timesteps = golden::integers(layers(), name + ".t");
        const auto expected = get(name + ".y");
        for (std::size_t i = 0; i < timesteps.size(); ++i) {
            const auto row = repaint::timestep_embedding(static_cast<float>(timesteps[i]), expected.shape().c);
            for (int d = 0; d < expected.shape().c; ++d) {
                CAPTURE(name, timesteps[i], d);
                // The angle reaches 999, where float32 has a spacing of 6e-5.
                CHECK(row(0, d, 0, 0) ==
                      approx(static_cast<double>(expected(static_cast<int>(i), d, 0, 0))).margin(7e-5));
            }
        }
    }
}

TEST_CASE("reverse steps agree with the formulas in float64, for every meaning of the output", "[golden]") {
    using repaint::prediction_type;
    using repaint::variance_type;
    reference_backend b;
    std::vector<double> betas;
    const auto& stored = layers().tensors.at("posterior.betas");
    for (std::size_t i = 0; i < stored.numel(); ++i) {
        double beta = 0.0;
        std::memcpy(&beta, stored.data + i * sizeof beta, sizeof beta);
        betas.push_back(beta);
    }
    const repaint::noise_schedule schedule(betas);
    const auto output = get("posterior.output");
    const auto plain = [&](bool log_variance) {
        // "learned" reads the variance channels as a log variance, whose golden has values of a sensible size.
        if (!log_variance) {
            return output;
        }
        auto result = output;
        const auto v = get("posterior.v_as_log_variance");
        std::copy(v.values().begin(), v.values().end(),
                  result.values().begin() + static_cast<std::ptrdiff_t>(v.size()));
        return result;
    };
    host_tensor mean_only({1, 3, 4, 5});
    std::copy_n(output.data(), mean_only.size(), mean_only.data());
    int checked = 0;
    for (const auto& [prediction_name, prediction] : {std::pair{"epsilon", prediction_type::epsilon},
                                                      {"x_0", prediction_type::x_0},
                                                      {"previous_x", prediction_type::previous_x}}) {
        for (const auto& [variance_name, variance, clip] :
             {std::tuple{"learned_range", variance_type::learned_range, true},
              {"learned", variance_type::learned, true},
              {"fixed_small", variance_type::fixed_small, true},
              {"fixed_large", variance_type::fixed_large, true},
              {"unclipped", variance_type::learned_range, false}}) {
            for (const int t : {0, 1, 5, 9}) {
                const std::string name =
                    std::string("posterior.") + prediction_name + "." + variance_name + ".t" + std::to_string(t);
                CAPTURE(name);
                auto x = b.upload(get("posterior.x"));
                auto x0 = b.allocate(x.shape());
                const auto network =
                    b.upload(is_learned(variance) ? plain(variance == variance_type::learned) : mean_only);
                ops::reverse_step(b, x, network, b.upload(get("posterior.z")),
                                  schedule.reverse(t, prediction, variance, clip), &x0);
                CHECK(difference(b.download(x0), get(name + ".x0"), {3e-6, 1e-12}) == "");
                CHECK(difference(b.download(x), get(name + ".sample"), {3e-6, 1e-12}) == "");
                ++checked;
            }
        }
    }
    CHECK(checked == 60);
}
