// Measures of picture quality against scikit-image and lpips (tests/peers/make_evaluation_goldens.py).
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/evaluation/diversity.hpp>
#include <repaint/evaluation/lpips.hpp>
#include <repaint/evaluation/mean_interval.hpp>
#include <repaint/evaluation/psnr.hpp>
#include <repaint/evaluation/ssim.hpp>
#include <repaint/io/checkpoint.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"

using repaint::host_tensor;
using repaint::shape4;
using repaint::ssim_window;

namespace {

/// Ours come from pixels in float32, the goldens from bytes; measured: 1e-7.
constexpr double exact = 1e-6;

/// Ours convolves in float32, the goldens in float64; measured: 1.5e-7.
constexpr double learned = 2e-6;

const std::vector<std::string> cases{"square", "wide_pair", "odd", "grey", "samples", "tiny"};

struct comparison {
    repaint::checkpoint file;
    host_tensor images;
    host_tensor truth;
    host_tensor keep;

    [[nodiscard]] bool has(const std::string& name) const { return file.tensors.count(name) != 0; }
};

/// (n, h, w, c) bytes as (n, c, h, w) in [-1, 1].
host_tensor images_of(const host_tensor& bytes) {
    const shape4 s = bytes.shape();
    host_tensor result({s.n, s.w, s.c, s.h});
    for (int n = 0; n < s.n; ++n) {
        for (int i = 0; i < s.c; ++i) {
            for (int j = 0; j < s.h; ++j) {
                for (int c = 0; c < s.w; ++c) {
                    result(n, c, i, j) = bytes(n, i, j, c) / 127.5F - 1.0F;
                }
            }
        }
    }
    return result;
}

comparison read_case(const std::string& name) {
    comparison result;
    result.file = repaint::read_checkpoint(golden::data("evaluation/" + name + ".safetensors"));
    result.images = images_of(golden::tensor(result.file, "images"));
    result.truth = images_of(golden::tensor(result.file, "truth"));
    host_tensor keep = golden::tensor(result.file, "keep"); // (h, w)
    for (float& value : keep.values()) {
        value /= 255.0F;
    }
    result.keep = host_tensor({1, 1, keep.shape().n, keep.shape().c}, {keep.values().begin(), keep.values().end()});
    return result;
}

void check(const std::vector<double>& actual, const comparison& c, const std::string& name, double relative) {
    const host_tensor expected = golden::tensor(c.file, name);
    CAPTURE(name);
    REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
        const auto e = static_cast<double>(expected.values()[i]);
        CAPTURE(i, actual[i], e, std::fabs(actual[i] - e) / std::fabs(e));
        CHECK(std::fabs(actual[i] - e) <= relative * std::fabs(e));
    }
}

repaint::checkpoint generated_weights() {
    auto file = repaint::read_checkpoint(golden::data("evaluation/weights.safetensors"));
    file.tensors.clear();
    golden::add_generated(file);
    return file;
}

repaint::lpips_weights find(std::vector<repaint::checkpoint> parts) { return repaint::find_lpips_weights(parts); }

/// The tensors whose names start so, under names that start otherwise.
repaint::checkpoint part_of(const repaint::checkpoint& all,
                            const std::vector<std::pair<std::string, std::string>>& prefixes) {
    repaint::checkpoint result;
    for (const auto& [name, tensor] : all.tensors) {
        for (const auto& [from, to] : prefixes) {
            if (name.starts_with(from)) {
                result.tensors.emplace(to + name.substr(from.size()), tensor);
            }
        }
    }
    return result;
}

repaint::checkpoint whole_module(const repaint::checkpoint& all) {
    auto result = part_of(all, {{"features.0.", "net.slice1.0."},
                                {"features.3.", "net.slice2.3."},
                                {"features.6.", "net.slice3.6."},
                                {"features.8.", "net.slice4.8."},
                                {"features.10.", "net.slice5.10."},
                                {"lin", "lin"},
                                {"lin0.", "lins.0."},
                                {"lin1.", "lins.1."},
                                {"lin2.", "lins.2."},
                                {"lin3.", "lins.3."},
                                {"lin4.", "lins.4."}});
    result.tensors.emplace("scaling_layer.shift", golden::stored({1, 3, 1, 1}, {-0.030F, -0.088F, -0.188F}));
    result.tensors.emplace("scaling_layer.scale", golden::stored({1, 3, 1, 1}, {0.458F, 0.448F, 0.450F}));
    return result;
}

template <class B> void check_lpips(B& backend, double relative) {
    const repaint::lpips<B> measure(backend, find({generated_weights()}));
    for (const auto& name : cases) {
        CAPTURE(name);
        const auto c = read_case(name);
        if (!c.has("lpips")) {
            CHECK_THROWS_WITH(measure(backend, c.images, c.truth), contains("(1, 3, 11, 12)") && contains("31"));
            continue;
        }
        check(measure(backend, c.images, c.truth), c, "lpips", relative);
        check(measure(backend, c.images, c.truth, c.keep), c, "lpips_hole", relative);
        if (c.has("diversity")) {
            const auto features = measure.features(backend, c.images);
            check({repaint::lpips_diversity(features)}, c, "diversity", relative);
            check({repaint::lpips_diversity(features, c.keep)}, c, "diversity_hole", relative);
        }
    }
}

/// n times the same.
host_tensor repeated(const host_tensor& t, int n) {
    const shape4 s = t.shape();
    host_tensor result({n, s.c, s.h, s.w});
    for (int i = 0; i < n; ++i) {
        std::copy(t.values().begin(), t.values().end(), result.image(i).begin());
    }
    return result;
}

} // namespace

TEST_CASE("PSNR and SSIM agree with scikit-image", "[evaluation][golden]") {
    for (const auto& name : cases) {
        CAPTURE(name);
        const auto c = read_case(name);
        check(repaint::psnr(c.images, c.truth), c, "psnr", exact);
        check(repaint::psnr(c.images, c.truth, c.keep), c, "psnr_hole", exact);
        check(repaint::ssim(c.images, c.truth), c, "ssim", exact);
        check(repaint::ssim(c.images, c.truth, c.keep), c, "ssim_hole", exact);
        check(repaint::ssim(c.images, c.truth, ssim_window::gaussian), c, "gaussian", exact);
        check(repaint::ssim(c.images, c.truth, c.keep, ssim_window::gaussian), c, "gaussian_hole", exact);
        if (c.has("deviation")) {
            check({repaint::sample_deviation(c.images)}, c, "deviation", exact);
            check({repaint::sample_deviation(c.images, c.keep)}, c, "deviation_hole", exact);
        }
    }
}

TEST_CASE("LPIPS agrees with the lpips package", "[evaluation][golden]") {
    SECTION("cpu") {
        repaint::cpu_backend backend;
        check_lpips(backend, learned);
    }
    SECTION("cpu, plain sums") {
        repaint::cpu_options options;
        options.strict = true;
        repaint::cpu_backend backend(options);
        check_lpips(backend, learned);
    }
    SECTION("reference") {
        repaint::reference_backend backend;
        check_lpips(backend, learned);
    }
}

TEST_CASE("equal pictures, and holes that are not there", "[evaluation]") {
    const auto c = read_case("square");
    const host_tensor all_known({1, 1, 32, 32}, std::vector<float>(1024, 1.0F));
    const host_tensor nothing_known({1, 1, 32, 32});
    repaint::cpu_backend backend;
    const repaint::lpips<repaint::cpu_backend> measure(backend, find({generated_weights()}));

    CHECK(std::isinf(repaint::psnr(c.truth, c.truth)[0]));
    CHECK(std::isinf(repaint::psnr(c.truth, c.truth, c.keep)[0]));
    CHECK(repaint::ssim(c.truth, c.truth)[0] == approx(1.0));
    CHECK(repaint::ssim(c.truth, c.truth, c.keep, ssim_window::gaussian)[0] == approx(1.0));
    CHECK(measure(backend, c.truth, c.truth)[0] == 0.0);
    CHECK(measure(backend, c.truth, c.truth, c.keep)[0] == 0.0);

    CHECK(std::isnan(repaint::psnr(c.images, c.truth, all_known)[0]));
    CHECK(std::isnan(repaint::ssim(c.images, c.truth, all_known)[0]));
    CHECK(std::isnan(measure(backend, c.images, c.truth, all_known)[0]));
    CHECK(repaint::psnr(c.images, c.truth, nothing_known)[0] == approx(repaint::psnr(c.images, c.truth)[0]));
    CHECK(repaint::ssim(c.images, c.truth, nothing_known)[0] == approx(repaint::ssim(c.images, c.truth)[0]));
    // Stretched and not: the map's mean is not quite the stages' mean, but no other.
    CHECK(measure(backend, c.images, c.truth, nothing_known)[0] ==
          approx(measure(backend, c.images, c.truth)[0]).epsilon(0.1));

    // One grey level off everywhere.
    const host_tensor grey({1, 1, 8, 8});
    const host_tensor brighter({1, 1, 8, 8}, std::vector<float>(64, 1.0F / 127.5F));
    CHECK(repaint::psnr(brighter, grey)[0] == approx(20.0 * std::log10(255.0)));
    CHECK(repaint::sample_deviation(host_tensor({2, 1, 1, 1}, {0.0F, 2.0F / 127.5F})) == approx(std::sqrt(2.0)));
}

TEST_CASE("masks of one, several or coloured images", "[evaluation]") {
    const auto c = read_case("wide_pair");
    repaint::cpu_backend backend;
    const repaint::lpips<repaint::cpu_backend> measure(backend, find({generated_weights()}));
    const host_tensor many = repeated(c.keep, 2);
    const host_tensor colour({1, 3, 48, 64}, [&] {
        const host_tensor three = repeated(c.keep, 3);
        return std::vector<float>(three.values().begin(), three.values().end());
    }());
    for (const auto* keep : {&many, &colour}) {
        check(repaint::psnr(c.images, c.truth, *keep), c, "psnr_hole", exact);
        check(repaint::ssim(c.images, c.truth, *keep), c, "ssim_hole", exact);
        check(measure(backend, c.images, c.truth, *keep), c, "lpips_hole", learned);
    }
    // A hole in one channel only.
    host_tensor red({1, 3, 48, 64}, std::vector<float>(3 * 48 * 64, 1.0F));
    std::copy(c.keep.values().begin(), c.keep.values().end(), red.values().begin());
    const host_tensor first({1, 1, 48, 64}, {c.images.values().begin(), c.images.values().begin() + 48 * 64});
    const host_tensor first_truth({1, 1, 48, 64}, {c.truth.values().begin(), c.truth.values().begin() + 48 * 64});
    CHECK(repaint::psnr(c.images, c.truth, red)[0] == approx(repaint::psnr(first, first_truth, c.keep)[0]));
    CHECK(repaint::ssim(c.images, c.truth, red)[0] == approx(repaint::ssim(first, first_truth, c.keep)[0]));
}

TEST_CASE("what cannot be compared is refused", "[evaluation]") {
    const host_tensor image({2, 3, 32, 32});
    CHECK_THROWS_WITH(repaint::psnr(image, host_tensor({2, 3, 32, 31})), contains("(2, 3, 32, 31)"));
    CHECK_THROWS_AS(repaint::psnr(image, host_tensor({3, 3, 32, 32})), repaint::shape_error);
    CHECK_THROWS_AS(repaint::ssim(image, host_tensor({1, 1, 32, 32})), repaint::shape_error);
    CHECK_THROWS_AS(repaint::psnr(host_tensor(), host_tensor()), repaint::shape_error);
    CHECK_THROWS_WITH(repaint::ssim(image, image, host_tensor({1, 1, 16, 32})), contains("keep mask (1, 1, 16, 32)"));
    CHECK_THROWS_AS(repaint::psnr(image, image, host_tensor({1, 2, 32, 32})), repaint::shape_error);
    const host_tensor small({1, 3, 6, 40});
    CHECK_THROWS_WITH(repaint::ssim(small, small), contains("(1, 3, 6, 40)") && contains("7x7"));
    const host_tensor low({1, 3, 10, 40});
    CHECK_NOTHROW(repaint::ssim(low, low));
    CHECK_THROWS_WITH(repaint::ssim(low, low, ssim_window::gaussian), contains("11x11"));
    CHECK_THROWS_AS(repaint::sample_deviation(host_tensor({1, 3, 8, 8})), std::invalid_argument);

    repaint::cpu_backend backend;
    const repaint::lpips<repaint::cpu_backend> measure(backend, find({generated_weights()}));
    const host_tensor smallest({1, 1, 31, 31});
    CHECK(measure(backend, smallest, smallest)[0] == 0.0);
    CHECK_THROWS_AS(measure.features(backend, host_tensor({1, 3, 30, 64})), repaint::shape_error);
    CHECK_THROWS_AS(measure.features(backend, host_tensor({1, 4, 64, 64})), repaint::shape_error);
    CHECK_THROWS_AS(repaint::lpips_diversity(measure.features(backend, smallest)), std::invalid_argument);
}

TEST_CASE("LPIPS weights come as they are published", "[evaluation]") {
    const auto all = generated_weights();
    auto convolutions = part_of(all, {{"features.", "features."}});
    convolutions.path = "alexnet.pth";
    convolutions.tensors.emplace("classifier.1.weight", golden::stored({2, 2}, {0, 0, 0, 0}));
    auto linear = part_of(all, {{"lin", "lin"}});
    linear.path = "alex.pth";
    const auto same = [&](const repaint::lpips_weights& weights) {
        const auto expected = find({all});
        for (std::size_t i = 0; i < 5; ++i) {
            CHECK(weights.kernels[i].shape == expected.kernels[i].shape);
            CHECK(weights.kernels[i].values.get() == expected.kernels[i].values.get());
            CHECK(weights.biases[i].values.get() == expected.biases[i].values.get());
            CHECK(weights.linear[i].values.get() == expected.linear[i].values.get());
        }
        CHECK(weights.shift == expected.shift);
        CHECK(weights.scale == expected.scale);
    };
    same(find({convolutions, linear}));
    same(find({linear, convolutions}));
    same(find({whole_module(all)}));
    same(find({part_of(whole_module(all), {{"net.", ""}, {"lins.", "lins."}})}));

    CHECK_THROWS_WITH(find({linear}), contains("alex.pth") && contains("features.0.weight") && !contains("lin0.model"));
    CHECK_THROWS_WITH(find({convolutions}),
                      contains("lin0.model.1.weight, lin1.model.1.weight") && !contains("features.0.weight"));
    CHECK_THROWS_WITH(find({linear, convolutions, linear}), contains("is also in"));
    auto broken = all;
    broken.tensors["features.3.weight"] = golden::stored({1, 1}, {0.0F});
    CHECK_THROWS_WITH(find({broken}), contains("features.3.weight: (1, 1) instead of (192, 64, 5, 5)"));
    auto more = all;
    more.tensors["features.12.weight"] = golden::stored({1}, {0.0F});
    CHECK_THROWS_WITH(find({more}), contains("1 unused (features.12.weight"));
    CHECK_THROWS_AS(find({}), repaint::format_error);
}

TEST_CASE("means have intervals by Student's t", "[evaluation]") {
    // scipy.stats.t.ppf(0.975, n)
    const std::vector<std::pair<std::size_t, double>> quantiles{
        {1, 12.706204736174694},  {2, 4.302652729749464},     {3, 3.1824463052837078},    {10, 2.2281388519649385},
        {31, 2.0395134463964077}, {1000, 1.9623390808264078}, {1001, 1.9623367052808798}, {100000, 1.9599877075346095}};
    for (const auto& [degrees, expected] : quantiles) {
        CAPTURE(degrees);
        CHECK(repaint::student_t_95(degrees) == approx(expected).epsilon(1e-6));
    }
    CHECK_THROWS_AS(repaint::student_t_95(0), std::invalid_argument);

    const double infinity = std::numeric_limits<double>::infinity();
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    const auto summary = repaint::mean_with_interval(std::vector<double>{1.0, infinity, 2.0, nothing, 3.0});
    CHECK(summary.mean == approx(2.0));
    CHECK(summary.half_width == approx(4.302652729749464 / std::sqrt(3.0)));
    CHECK(summary.count == 3);
    CHECK(summary.infinite == 1);
    CHECK(summary.undefined == 1);
    CHECK(std::isnan(repaint::mean_with_interval(std::vector<double>{1.0}).half_width));
    CHECK(std::isnan(repaint::mean_with_interval({}).mean));
}
