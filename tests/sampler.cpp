// The loop: the official trace and closed forms without a network, stopping, resuming and batches with small ones.
#include <cmath>
#include <cstddef>
#include <tuple>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/repaint.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"
#include "support/networks.hpp"

using repaint::host_tensor;
using repaint::reference_backend;
using repaint::shape4;

namespace {

/// Where a run is computed must not change what it means: these tests hold to the bit, or to a rounding, on each.
using backends = network_backends_and_strict;

/// What the official program was run with: eps = 0.3 x + 0.1 sin(3 x) + 0.05 t / 1000, v = 0.5 cos(x) - 0.2.
struct toy_denoiser {
    const repaint::noise_schedule* schedule;
    std::vector<host_tensor>* inputs;

    template <class B> typename B::tensor operator()(B& b, const typename B::tensor& x, int t) const {
        const auto values = b.download(x);
        if (inputs != nullptr) {
            inputs->push_back(values);
        }
        const shape4 s = values.shape();
        host_tensor out({s.n, 2 * s.c, s.h, s.w});
        for (int n = 0; n < s.n; ++n) {
            for (std::size_t i = 0; i < values.image(n).size(); ++i) {
                const float value = values.image(n)[i];
                out.image(n)[i] = 0.3F * value + 0.1F * std::sin(3.0F * value) +
                                  0.05F * static_cast<float>(schedule->timestep(t)) / 1000.0F;
                out.image(n)[values.image(n).size() + i] = 0.5F * std::cos(value) - 0.2F;
            }
        }
        return b.upload(out);
    }
};

std::vector<host_tensor> split(const host_tensor& all, int images) {
    const shape4 s = all.shape();
    std::vector<host_tensor> parts;
    for (int first = 0; first < s.n; first += images) {
        const auto size = static_cast<std::size_t>(images) * all.image(0).size();
        const auto part = all.values().subspan(static_cast<std::size_t>(first) * all.image(0).size(), size);
        parts.emplace_back(shape4{images, s.c, s.h, s.w}, std::vector<float>(part.begin(), part.end()));
    }
    return parts;
}

const repaint::unconditional nothing_known;

/// A Gaussian over pairs of neighbouring columns, mean `mean`, deviation `deviation`, correlation `correlation`: for
/// such data E[x_0 | x_t] is linear, so the best denoiser is known (Kalman's formula).
struct gaussian_pairs {
    const repaint::noise_schedule* schedule;
    double mean = 0.0;
    double deviation = 0.5;
    double correlation = 0.0;

    reference_backend::tensor operator()(reference_backend& b, const reference_backend::tensor& x, int t) const {
        auto values = b.download(x);
        const double signal = static_cast<double>(schedule->marginal(t).signal);
        const double noise = static_cast<double>(schedule->marginal(t).noise);
        // In the coordinates (a + b) / sqrt 2 and (a - b) / sqrt 2 the two are independent.
        const auto shrink = [&](double z, double variance) {
            return signal * variance / (signal * signal * variance + noise * noise) * z;
        };
        const double plus = deviation * deviation * (1.0 + correlation);
        const double minus = deviation * deviation * (1.0 - correlation);
        auto v = values.values();
        for (std::size_t i = 0; i < v.size(); i += 2) {
            const double a = static_cast<double>(v[i]) - signal * mean;
            const double c = static_cast<double>(v[i + 1]) - signal * mean;
            const double sum = shrink((a + c) / std::sqrt(2.0), plus);
            const double difference = shrink((a - c) / std::sqrt(2.0), minus);
            const double first = mean + (sum + difference) / std::sqrt(2.0);
            const double second = mean + (sum - difference) / std::sqrt(2.0);
            v[i] = static_cast<float>((static_cast<double>(v[i]) - signal * first) / noise);
            v[i + 1] = static_cast<float>((static_cast<double>(v[i + 1]) - signal * second) / noise);
        }
        return b.upload(values);
    }
};

/// A network of tests/data/unet on a backend.
template <class B> repaint::diffusion_model<B> small_model(B& b, const std::string& name) {
    const auto file = golden::read_network(name);
    const auto read = repaint::read_guided_diffusion(file.weights, &file.config);
    repaint::weight_map weights(file.weights);
    return {repaint::unet<B>(b, read.network, weights), read.diffusion, read.description};
}

struct moments {
    double mean = 0.0;
    double variance = 0.0;
};

/// Of every second value, from `first`.
moments moments_of(const host_tensor& x, std::size_t first) {
    moments m;
    const auto count = static_cast<double>(x.size() / 2);
    for (std::size_t i = first; i < x.size(); i += 2) {
        m.mean += static_cast<double>(x.values()[i]) / count;
    }
    for (std::size_t i = first; i < x.size(); i += 2) {
        m.variance += std::pow(static_cast<double>(x.values()[i]) - m.mean, 2.0) / count;
    }
    return m;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("the official program's traces are followed draw by draw", "[sampler][golden]", backends) {
    for (const bool guided : {false, true}) {
        CAPTURE(guided);
        const auto trace = repaint::read_checkpoint(
            golden::data(guided ? "trace_repaint_guided.safetensors" : "trace_repaint.safetensors"));
        const repaint::diffusion_process process{repaint::noise_schedule::linear().respaced("10")};
        const auto ts = golden::integers(trace, "ts");
        const auto walk = repaint::jump_schedule(10, {.jump_length = 3, .jump_n_sample = 2});
        REQUIRE(walk.size() + 1 == ts.size());
        for (std::size_t i = 0; i < walk.size(); ++i) {
            CHECK(walk[i] == repaint::transition{ts[i], ts[i + 1]});
        }

        TestType b;
        std::vector<host_tensor> inputs;
        std::vector<host_tensor> outputs;
        std::vector<host_tensor> guide_inputs;
        toy_denoiser denoise{&process.schedule, &inputs};
        repaint::guide<TestType> guide;
        if (guided) {
            guide = [&](TestType& on, const typename TestType::tensor& x, int t) {
                host_tensor values = on.download(x);
                guide_inputs.push_back(values);
                for (float& value : values.values()) {
                    value = 0.7F * (0.2F - value) * (1.0F + static_cast<float>(process.schedule.timestep(t)) / 1000.0F);
                }
                return on.upload(values);
            };
        }
        const auto tape = split(golden::tensor(trace, "tape"), 2);
        repaint::recorded_noise noise(tape);
        const repaint::known_region<TestType> known(b.upload(golden::tensor(trace, "gt")),
                                                    b.upload(golden::tensor(trace, "keep")));
        repaint::official_loop<TestType, const repaint::known_region<TestType>> loop(process, known, guide);
        auto run = repaint::start_sampling(b, noise, {2, 3, 4, 4});
        REQUIRE(repaint::advance(b, run, denoise, loop, noise, walk, [&](const repaint::preview<TestType>& p) {
            outputs.push_back(p.backend.download(p.x));
        }));
        CHECK(noise.state() == tape.size()); // every draw was used, none too many

        // A float32 expression rounded in another order, amplified by up to 29 transitions.
        constexpr double allowed = 2e-6;
        const auto expected_inputs = split(golden::tensor(trace, "net_inputs"), 2);
        const auto expected_outputs = split(golden::tensor(trace, "reverse_outputs"), 2);
        REQUIRE(inputs.size() == expected_inputs.size());
        REQUIRE(outputs.size() == expected_outputs.size());
        REQUIRE(guide_inputs.size() == (guided ? inputs.size() : 0));
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            CAPTURE(i);
            CHECK(largest_difference(inputs[i], expected_inputs[i]) < allowed);
            CHECK(largest_difference(outputs[i], expected_outputs[i]) < allowed);
            CHECK((!guided || same_bits(guide_inputs[i], inputs[i]))); // the merged x
        }
        CHECK(largest_difference(b.download(run.x), golden::tensor(trace, "final")) < allowed);
    }
}

TEST_CASE("sampling a Gaussian gives its mean and variance", "[sampler]") {
    const repaint::diffusion_process process{
        .schedule = repaint::noise_schedule::linear().respaced("250"),
        .reading = {.variance = repaint::variance_type::fixed_small, .clip = false}};
    reference_backend b;
    gaussian_pairs denoise{&process.schedule, 0.3, 0.4, 0.0};
    repaint::philox_noise noise(1);
    const auto walk = repaint::jump_schedule(250, {.jump_n_sample = 1});
    const auto x = b.download(repaint::sample(b, denoise, nothing_known, noise, process, walk, {1, 1, 100, 200}));
    // Every step is linear in x, so mean and variance of the result follow exactly from those of the start.
    moments expected{0.0, 1.0};
    for (int t = process.size() - 1; t >= 0; --t) {
        const auto p = process.reverse(t);
        const double signal = static_cast<double>(process.marginal(t).signal);
        const double deviation = static_cast<double>(process.marginal(t).noise);
        const double gain = signal * 0.16 / (signal * signal * 0.16 + deviation * deviation);
        const double slope = static_cast<double>(p.mean_from_x0) * gain + static_cast<double>(p.mean_from_x);
        const double offset = static_cast<double>(p.mean_from_x0) * (1.0 - gain * signal) * 0.3;
        const double added = static_cast<double>(p.noise) * std::exp(0.5 * static_cast<double>(p.min_log_variance));
        expected = {slope * expected.mean + offset, slope * slope * expected.variance + added * added};
    }
    CHECK(expected.mean == approx(0.3).margin(1e-3));
    CHECK(expected.variance == approx(0.16).epsilon(0.1)); // 250 steps of the smaller variance lose a little
    for (const std::size_t first : {std::size_t{0}, std::size_t{1}}) {
        const auto m = moments_of(x, first);
        // Four standard errors of 10,000 values.
        CHECK(m.mean == approx(expected.mean).margin(4.0 * std::sqrt(expected.variance / 10'000.0)));
        CHECK(m.variance == approx(expected.variance).epsilon(4.0 * std::sqrt(2.0 / 10'000.0)));
    }
}

TEST_CASE("RePaint draws from the conditional distribution, the better the more it resamples", "[sampler]") {
    // Known: the first of each pair, at 0.5 above the mean. The second is then N(mean + correlation * 0.5, ...).
    const double correlation = 0.9;
    const repaint::diffusion_process process{
        .schedule = repaint::noise_schedule::linear().respaced("100"),
        .reading = {.variance = repaint::variance_type::fixed_small, .clip = false}};
    const shape4 s{1, 1, 40, 100};
    host_tensor image(s);
    host_tensor keep(s);
    for (std::size_t i = 0; i < image.size(); i += 2) {
        image.values()[i] = 0.5F;
        keep.values()[i] = 1.0F;
    }
    reference_backend b;
    const auto error_of_mean = [&](int passes) {
        gaussian_pairs denoise{&process.schedule, 0.0, 0.5, correlation};
        const repaint::known_region<reference_backend> known(b.upload(image), b.upload(keep));
        repaint::philox_noise noise(3);
        const auto walk = repaint::jump_schedule(100, {.jump_length = 10, .jump_n_sample = passes});
        const auto x = b.download(repaint::sample(b, denoise, known, noise, process, walk, s));
        return std::fabs(moments_of(x, 1).mean - correlation * 0.5);
    };
    const double once = error_of_mean(1);
    const double often = error_of_mean(10);
    CAPTURE(once, often);
    CHECK(once > 0.15);
    CHECK(often < 0.5 * once);
}

TEST_CASE("a noiseless walk ends at the prediction", "[sampler]") {
    const repaint::diffusion_process process{
        .schedule = repaint::noise_schedule::cosine(8),
        .reading = {.prediction = repaint::prediction_type::x_0, .variance = repaint::variance_type::fixed_large}};
    reference_backend b;
    const auto target = random_tensor({2, 3, 4, 4}, 1);
    const auto denoise = [&](reference_backend& backend, const reference_backend::tensor&, int) {
        return backend.upload(target);
    };
    repaint::recorded_noise noise(std::vector<host_tensor>(40, host_tensor(target.shape())));
    const auto walk = repaint::jump_schedule(8, {.jump_length = 2, .jump_n_sample = 2});
    const auto x = b.download(repaint::sample(b, denoise, nothing_known, noise, process, walk, target.shape()));
    for (std::size_t i = 0; i < x.size(); ++i) {
        CHECK(x.values()[i] == std::clamp(target.values()[i], -1.0F, 1.0F)); // at t = 0 the mean is x_0 itself
    }
}

TEST_CASE("observers see every transition and evaluation, and can stop", "[sampler]") {
    const repaint::diffusion_process process{repaint::noise_schedule::linear().respaced("12")};
    const auto walk = repaint::jump_schedule(12, {.jump_length = 3, .jump_n_sample = 2});
    const auto evaluations = static_cast<std::size_t>(repaint::network_evaluations(walk));
    reference_backend b;
    toy_denoiser denoise{&process.schedule, nullptr};
    repaint::philox_noise noise(1);
    std::size_t transitions = 0;
    std::size_t previews = 0;
    auto run = repaint::start_sampling(b, noise, {1, 3, 4, 4});
    const bool done = repaint::advance(
        b, run, denoise, nothing_known, noise, process, walk,
        [&](const repaint::progress& p) {
            ++transitions;
            CHECK(p.position == transitions);
            CHECK(p.positions == walk.size());
            CHECK(p.evaluations == evaluations);
            CHECK(p.last == walk[transitions - 1]);
        },
        [&](const repaint::preview<reference_backend>& p) {
            ++previews;
            CHECK(p.at.evaluation == previews);
            const auto x0 = p.backend.download(p.x0);
            for (const float value : x0.values()) {
                CHECK(std::fabs(value) <= 1.0F);
            }
        });
    CHECK(done);
    CHECK(transitions == walk.size());
    CHECK(previews == evaluations);

    repaint::philox_noise again(1);
    auto stopped = repaint::start_sampling(b, again, {1, 3, 4, 4});
    CHECK_FALSE(repaint::advance(b, stopped, denoise, nothing_known, again, process, walk,
                                 [](const repaint::progress& p) { return p.position == 5; }));
    CHECK(stopped.position == 5);
}

TEMPLATE_LIST_TEST_CASE("a stopped run goes on bit for bit, whatever the noise", "[sampler]", backends) {
    TestType b;
    const auto model = small_model(b, "strided_additive");
    const repaint::inpainter<TestType> inpaint(b, model,
                                               {.timesteps = 8, .jumps = {.jump_length = 2, .jump_n_sample = 2}});
    const auto image = random_images({2, 3, 8, 8}, 1);
    const auto keep = repaint::make_mask(repaint::mask_kind::half, 8, 8);
    const auto check = [&](const auto& noise) {
        const auto whole = inpaint(image, keep, noise);
        for (const std::size_t stop : {std::size_t{1}, std::size_t{7}, inpaint.walk().size()}) {
            auto first = inpaint.start(image, keep, noise);
            first.advance([&](const repaint::progress& p) { return p.position == stop; });
            const auto state = first.state();
            auto second = inpaint.resume(image, keep, noise, state);
            CHECK(second.advance());
            CHECK(same_bits(second.result(), whole));
        }
    };
    check(repaint::philox_noise(5));
    check(repaint::torch_cpu_noise(5));
    check(repaint::recorded_noise(std::vector<host_tensor>(60, random_tensor({2, 3, 8, 8}, 9))));

    SECTION("a state of another run is refused") {
        auto run = inpaint.start(image, keep, repaint::philox_noise(5));
        auto state = run.state();
        state.position = 10'000;
        REQUIRE_THROWS_WITH(inpaint.resume(image, keep, repaint::philox_noise(5), state),
                            contains("at transition 10000"));
    }
    SECTION("a cancelled call says so") {
        REQUIRE_THROWS_AS(inpaint(image, keep, repaint::philox_noise(5), [](const repaint::progress&) { return true; }),
                          repaint::cancelled);
    }
}

TEMPLATE_LIST_TEST_CASE("image i of a batch is the image alone with seed + i, bit for bit", "[sampler]", backends) {
    TestType b;
    const auto model = small_model(b, "class_labels");
    const auto images = random_images({3, 3, 8, 8}, 1);
    auto keep = random_tensor({3, 1, 8, 8}, 2);
    for (float& value : keep.values()) {
        value = value > 0.0F ? 1.0F : 0.0F;
    }
    repaint::inpaint_options options{.timesteps = 6, .jumps = {.jump_length = 2, .jump_n_sample = 2}};
    options.labels = {3, 1, 9};
    const auto together = repaint::inpainter<TestType>(b, model, options)(images, keep, repaint::philox_noise(40));
    const auto parts = split(images, 1);
    const auto masks = split(keep, 1);
    for (std::size_t i = 0; i < 3; ++i) {
        auto alone = options;
        alone.labels = {options.labels[i]};
        const auto result =
            repaint::inpainter<TestType>(b, model, alone)(parts[i], masks[i], repaint::philox_noise(40 + i));
        CHECK(same_bits(split(together, 1)[i], result));
    }
}

TEMPLATE_LIST_TEST_CASE("known pixels come back exactly, soft ones blend, raw samples are raw", "[inpainter]",
                        backends) {
    TestType b;
    const auto model = small_model(b, "strided_additive");
    repaint::inpaint_options options{.timesteps = 4, .jumps = {.jump_n_sample = 1}};
    const auto image = random_images({1, 3, 8, 8}, 1);
    host_tensor keep({1, 1, 8, 8});
    for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 8; ++j) {
            keep(0, 0, i, j) = j < 3 ? 1.0F : (j == 3 ? 0.25F : 0.0F);
        }
    }
    const auto composite = repaint::inpainter<TestType>(b, model, options)(image, keep, repaint::philox_noise(1));
    options.composite = false;
    const auto raw = repaint::inpainter<TestType>(b, model, options)(image, keep, repaint::philox_noise(1));
    bool raw_differs = false;
    for (int c = 0; c < 3; ++c) {
        for (int i = 0; i < 8; ++i) {
            for (int j = 0; j < 8; ++j) {
                if (j < 3) {
                    CHECK(composite(0, c, i, j) == image(0, c, i, j));
                    raw_differs = raw_differs || raw(0, c, i, j) != image(0, c, i, j);
                } else if (j == 3) {
                    CHECK(composite(0, c, i, j) == approx(0.25 * static_cast<double>(image(0, c, i, j)) +
                                                          0.75 * static_cast<double>(raw(0, c, i, j)))
                                                       .margin(1e-6));
                } else {
                    CHECK(composite(0, c, i, j) == raw(0, c, i, j));
                }
            }
        }
    }
    CHECK(raw_differs);
}

TEST_CASE("what does not fit is refused before anything runs", "[inpainter]") {
    reference_backend b;
    const auto model = small_model(b, "class_labels");
    const auto run = [&](const host_tensor& image, const host_tensor& keep, repaint::inpaint_options options) {
        return repaint::inpainter<reference_backend>(b, model, std::move(options))(image, keep,
                                                                                   repaint::philox_noise(1));
    };
    const host_tensor image({2, 3, 8, 8});
    const host_tensor keep({1, 1, 8, 8});
    repaint::inpaint_options good{.timesteps = 4, .jumps = {.jump_n_sample = 1}, .labels = {1}};
    REQUIRE_NOTHROW(run(image, keep, good));

    REQUIRE_THROWS_WITH(run(image, host_tensor({1, 1, 8, 7}), good), contains("the mask is 7x8, the picture is 8x8"));
    REQUIRE_THROWS_AS(run(image, host_tensor({1, 2, 8, 8}), good), repaint::shape_error);
    REQUIRE_THROWS_WITH(run(host_tensor({1, 1, 8, 8}), keep, good), contains("have 1 channels, the network takes 3"));
    host_tensor loud = keep;
    loud.values()[5] = 255.0F;
    REQUIRE_THROWS_WITH(run(image, loud, good), contains("values from 0 (fill) to 1 (known), found 255"));
    loud.values()[5] = std::nanf("");
    REQUIRE_THROWS_AS(run(image, loud, good), std::invalid_argument);

    auto options = good;
    options.labels = {};
    REQUIRE_THROWS_WITH(run(image, keep, options), contains("give a label from 0 to 9"));
    options.labels = {10};
    REQUIRE_THROWS_WITH(run(image, keep, options), contains("label 10 is out of range"));
    options.labels = {1, 2, 3};
    REQUIRE_THROWS_WITH(run(image, keep, options), contains("3 labels were given for 2 images"));
    options = good;
    options.jumps = {.jump_length = 10, .jump_n_sample = 10};
    REQUIRE_THROWS_WITH(run(image, keep, options), contains("jump_length"));
    options = good;
    options.timesteps = "1001";
    REQUIRE_THROWS_AS(run(image, keep, options), std::invalid_argument);
    options.timesteps = "ten";
    REQUIRE_THROWS_AS(run(image, keep, options), std::invalid_argument);
}

TEST_CASE("a whole run can be predicted on dry_backend", "[dry]") {
    repaint::dry_backend b;
    const auto model = small_model(b, "strided_additive");
    const repaint::inpainter<repaint::dry_backend> inpaint(b, model, {.timesteps = 20, .jumps = {.jump_n_sample = 2}});
    std::size_t evaluations = 0;
    (void)inpaint(host_tensor({1, 3, 16, 16}), repaint::make_mask(repaint::mask_kind::box, 16, 16),
                  repaint::philox_noise(1), [&](const repaint::progress& p) { evaluations = p.evaluation; });
    CHECK(evaluations == static_cast<std::size_t>(repaint::network_evaluations(inpaint.walk())));
    CHECK(b.peak_bytes() > 0);
}
