// The published loops of diffusers and MONAI, against what their released packages compute with a formula in place of
// the network (tests/peers/make_loop_goldens.py), and what holds for every system: stopping, resuming, refusing.
#include <cmath>
#include <cstddef>
#include <string>
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
using repaint::sampling_system;
using repaint::shape4;

namespace {

using backends = network_backends;

/// One case of loops.safetensors.
struct published_run {
    sampling_system system = sampling_system::official;
    bool inpaints = true;
    repaint::diffusion_settings settings;
    std::string timesteps;
    std::optional<double> eta;
    repaint::jump_options jumps;
    std::string mask;
    std::uint64_t seed = 0;
    bool tape = false;
    std::size_t evaluations = 0;
};

published_run read_case(const repaint::json_value& c) {
    published_run run;
    run.system = c.string("algorithm") == "diffusers" ? sampling_system::diffusers : sampling_system::monai;
    run.inpaints = c.string("task") == "inpaint";
    repaint::beta_schedule betas{
        .steps = static_cast<int>(c.number("steps")), .start = c.number("start"), .end = c.number("end")};
    const std::string kind = c.string("betas");
    if (kind == "scaled_linear") {
        betas.kind = repaint::beta_kind::scaled_linear;
    } else if (kind == "sigmoid") {
        betas.kind = repaint::beta_kind::sigmoid;
    } else if (kind == "cosine") {
        betas.kind = run.system == sampling_system::monai ? repaint::beta_kind::monai_cosine
                                                          : repaint::beta_kind::squared_cosine;
    }
    betas.ends_in_noise = c.boolean("ends_in_noise");
    const std::string prediction = c.string("prediction");
    const std::string variance = c.string("variance");
    using repaint::prediction_type;
    using repaint::variance_type;
    run.settings = {.training = repaint::noise_schedule(betas),
                    .reading = {.prediction = prediction == "x_0"        ? prediction_type::x_0
                                              : prediction == "velocity" ? prediction_type::velocity
                                                                         : prediction_type::epsilon,
                                .variance = variance == "fixed_large"     ? variance_type::fixed_large
                                            : variance == "learned"       ? variance_type::learned
                                            : variance == "learned_range" ? variance_type::learned_range
                                                                          : variance_type::fixed_small,
                                .clip = c.boolean("clip")},
                    .betas = betas};
    const auto limits = c.array("limits");
    run.settings.reading.limits = {static_cast<float>(limits[0].as_number()),
                                   static_cast<float>(limits[1].as_number())};
    run.settings.scheduler.offset = static_cast<int>(c.number("offset"));
    run.settings.scheduler.ends_clean = c.boolean("ends_clean");
    const std::string spacing = c.string("spacing");
    if (spacing != "leading") {
        run.settings.scheduler.spacing =
            spacing == "linspace" ? repaint::timestep_spacing::linspace : repaint::timestep_spacing::trailing;
    }
    run.timesteps = c.string("timesteps");
    if (c.find("eta") != nullptr && !c.find("eta")->is_null()) {
        run.eta = c.number("eta");
    }
    if (run.system == sampling_system::monai) {
        run.jumps.n_sample = static_cast<int>(c.number("n_sample"));
    } else {
        run.jumps.jump_length = static_cast<int>(c.number("jump_length"));
        run.jumps.jump_n_sample = static_cast<int>(c.number("jump_n_sample"));
    }
    run.mask = c.string("mask");
    run.seed = static_cast<std::uint64_t>(c.number("seed"));
    run.tape = c.boolean("tape");
    run.evaluations = static_cast<std::size_t>(c.number("evaluations"));
    return run;
}

/// The formula of make_loop_goldens.py.
struct formula {
    const published_run* run;
    const repaint::noise_schedule* schedule;

    template <class B> typename B::tensor operator()(B& b, const typename B::tensor& x, int t) const {
        const auto values = b.download(x);
        const bool learned = repaint::is_learned(run->settings.reading.variance);
        const double u = static_cast<double>(schedule->timestep(t)) / run->settings.training.size();
        const double a = std::exp(-0.1 * u - 9.9 * u * u);
        const double g = run->settings.reading.prediction == repaint::prediction_type::epsilon
                             ? std::sqrt(1.0 - a) / (1.0 - 0.75 * a)
                             : 0.3;
        const shape4 s = values.shape();
        host_tensor out({s.n, learned ? 2 * s.c : s.c, s.h, s.w});
        for (int n = 0; n < s.n; ++n) {
            const auto from = values.image(n);
            const auto to = out.image(n);
            for (std::size_t i = 0; i < from.size(); ++i) {
                const float v = from[i];
                to[i] = static_cast<float>(g) * v + static_cast<float>(0.1 * (1.0 - u)) * std::sin(3.0F * v) +
                        static_cast<float>(0.05 * u);
                if (learned) {
                    to[from.size() + i] = run->settings.reading.variance == repaint::variance_type::learned
                                              ? 0.02F + 0.01F * std::cos(v)
                                              : 0.5F * std::cos(v) - 0.2F;
                }
            }
        }
        return b.upload(out);
    }
};

/// Tensors of two images each.
std::vector<host_tensor> pairs_of(const host_tensor& all) {
    const shape4 s = all.shape();
    std::vector<host_tensor> parts;
    const std::size_t size = 2 * all.image(0).size();
    for (std::size_t first = 0; first < all.size(); first += size) {
        const auto part = all.values().subspan(first, size);
        parts.emplace_back(shape4{2, s.c, s.h, s.w}, std::vector<float>(part.begin(), part.end()));
    }
    return parts;
}

struct finished {
    host_tensor x;
    std::size_t evaluations = 0;
};

/// Follows the plan with the formula.
template <class B, class N>
finished follow(B& b, const published_run& run, const repaint::run_plan& plan, const host_tensor& image,
                const host_tensor& keep, N& noise) {
    formula denoise{&run, &plan.process.schedule};
    auto state = repaint::start_sampling(b, noise, image.shape());
    std::size_t evaluations = 0;
    const auto count = [&](const repaint::preview<B>& p) {
        ++evaluations;
        CHECK(p.at.evaluations == plan.evaluations);
    };
    bool done = false;
    if (!run.inpaints) {
        const auto& process = *plan.scheduled;
        repaint::scheduler_loop<B> loop(run.system == sampling_system::diffusers ? repaint::diffusers_steps(process)
                                                                                 : repaint::monai_steps(process));
        done = repaint::advance(b, state, denoise, loop, noise, plan.walk, count);
    } else if (run.system == sampling_system::diffusers) {
        const repaint::known_region<B> known(b.upload(image), b.upload(keep));
        repaint::diffusers_loop<B> loop(*plan.scheduled, known);
        done = repaint::advance(b, state, denoise, loop, noise, plan.walk, count);
    } else {
        const repaint::known_region<B> known(b.upload(image), b.upload(repaint::monai_keep(keep)));
        repaint::monai_loop<B> loop(*plan.scheduled, known);
        done = repaint::advance(b, state, denoise, loop, noise, plan.walk, count);
    }
    CHECK(done);
    return {b.download(state.x), evaluations};
}

std::vector<int> steps_of(const std::vector<repaint::transition>& walk) {
    std::vector<int> visited{walk.front().from};
    for (const auto& move : walk) {
        REQUIRE(move.from == visited.back());
        visited.push_back(move.to);
    }
    return visited;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("the loops of diffusers and MONAI are followed to the end", "[loops][golden]", backends) {
    const auto file = repaint::read_checkpoint(golden::data("loops.safetensors"));
    const auto cases = repaint::parse_json(file.metadata.at("cases"), "cases");
    const auto image = golden::tensor(file, "image");
    TestType b;
    REQUIRE(cases.as_object().size() > 75);
    for (const auto& [name, settings] : cases.as_object()) {
        CAPTURE(name);
        const auto run = read_case(settings);
        const auto plan =
            run.inpaints ? repaint::plan_inpainting(
                               run.settings,
                               {.timesteps = run.timesteps, .jumps = run.jumps, .eta = run.eta, .system = run.system})
                         : repaint::plan_sampling(run.settings,
                                                  {.timesteps = run.timesteps, .eta = run.eta, .system = run.system});
        const auto keep = golden::tensor(file, run.mask);
        const auto expected = golden::tensor(file, name + ".final");
        repaint::torch_cpu_noise stream(run.seed);
        const auto result = follow(b, run, plan, image, keep, stream);
        CHECK(result.evaluations == run.evaluations);
        // PyTorch's normals and ours differ by about 1e-6 each, and its float32 expressions are rounded in another
        // order; thousands of steps add some of that up.
        CHECK(largest_difference(result.x, expected) < 1e-5);
        if (run.tape) {
            const auto tape = pairs_of(golden::tensor(file, name + ".tape"));
            repaint::recorded_noise recorded(tape);
            const auto replayed = follow(b, run, plan, image, keep, recorded);
            CHECK(recorded.state() == tape.size()); // every draw was used, none too many
            CHECK(largest_difference(replayed.x, expected) < 2e-6);
        }
    }
}

TEST_CASE("the tables are PyTorch's float32 ones", "[loops]") {
    // Of torch.linspace and torch.cumprod as RePaintScheduler and DDPMScheduler use them, read with all their digits.
    const repaint::scheduler_tables linear(repaint::beta_schedule{});
    CHECK(linear.beta(1) == 0.00011991991777904332F);
    CHECK(linear.beta(998) == 0.01998008042573929F);
    CHECK(linear.alpha_bar(1) == 0.9997800588607788F);
    CHECK(linear.alpha_bar(998) == 4.118194192415103e-05F);
    CHECK(linear.alpha_bar(999) == 4.035830352222547e-05F);
    CHECK(linear.alpha_bar(-1) == 1.0F);
    const repaint::scheduler_tables scaled({.kind = repaint::beta_kind::scaled_linear});
    CHECK(scaled.beta(1) == 0.00010264836600981653F);
    CHECK(scaled.alpha_bar(999) == 0.0007334119873121381F);
    const repaint::scheduler_tables sigmoid({.kind = repaint::beta_kind::sigmoid});
    CHECK(sigmoid.beta(0) == approx(0.00014920519606675953).epsilon(1e-7)); // PyTorch's exp differs in the last bit
    CHECK(sigmoid.alpha_bar(999) == 3.9681821363046765e-05F);
    // What float32 leaves of 1 - alpha_bar: one last bit of a cosine is 6e-8.
    const repaint::scheduler_tables cosine({.kind = repaint::beta_kind::monai_cosine});
    CHECK(cosine.beta(0) == approx(4.124641418457031e-05).margin(2e-7));
    CHECK(cosine.beta(999) == 0.999F);
    // MONAI Generative's alpha_bar is early by one timestep.
    const repaint::scheduler_tables early({.kind = repaint::beta_kind::monai_generative_cosine});
    CHECK(early.alpha_bar(0) == 1.0F);
    CHECK(early.alpha_bar(1) == approx(0.99995875).margin(2e-7));
    CHECK(early.beta(0) == approx(1e-4).margin(2e-8));
    CHECK(early.beta(999) == 0.9999F);
    REQUIRE_THROWS_WITH(early.ddim(0, -1, repaint::prediction_type::epsilon, 0.0F, true),
                        contains("timestep 0 holds no noise"));

    // Ends in noise: alpha_bar starts where it did, the last holds nothing of the image.
    for (const auto kind : {repaint::beta_kind::linear, repaint::beta_kind::squared_cosine}) {
        const repaint::scheduler_tables noise({.kind = kind, .ends_in_noise = true});
        const repaint::noise_schedule exact(repaint::beta_schedule{.kind = kind, .ends_in_noise = true});
        CHECK(noise.beta(999) == 1.0F);
        CHECK(noise.alpha_bar(999) == 0.0F);
        CHECK(exact.alpha_bars()[999] == 0.0);
        CHECK(exact.alpha_bars()[0] ==
              approx(repaint::noise_schedule(repaint::beta_schedule{.kind = kind}).alpha_bars()[0]).epsilon(1e-12));
        for (const std::size_t t : {0U, 1U, 300U, 700U, 998U}) {
            CHECK(static_cast<double>(noise.alpha_bar(static_cast<int>(t))) ==
                  approx(exact.alpha_bars()[t]).epsilon(1e-4));
        }
    }
    // As DDPMScheduler(rescale_betas_zero_snr=True) has it; PyTorch's square roots differ in the last bit.
    const repaint::scheduler_tables ending(repaint::beta_schedule{.ends_in_noise = true});
    CHECK(ending.alpha_bar(125) == approx(0.843033671).epsilon(3e-7));
    CHECK(ending.alpha_bar(500) == approx(0.0752462).epsilon(1e-6));
    CHECK(ending.beta(997) == approx(0.559590936).epsilon(1e-5));

    // Without a description, the betas at hand are rounded.
    const repaint::scheduler_tables rounded(repaint::noise_schedule::linear());
    CHECK(rounded.alpha_bar(999) == approx(static_cast<double>(linear.alpha_bar(999))).epsilon(1e-6));
    REQUIRE_THROWS_AS(repaint::scheduler_tables({.steps = 0}), std::invalid_argument);
    REQUIRE_THROWS_AS(repaint::scheduler_tables({.start = -1.0}), std::invalid_argument);
    REQUIRE_THROWS_AS(repaint::scheduler_tables({.end = std::nan("")}), std::invalid_argument);
    REQUIRE_THROWS_AS(repaint::scheduler_tables({.kind = repaint::beta_kind::listed}), std::invalid_argument);
    REQUIRE_THROWS_AS(repaint::scheduler_tables({.kind = repaint::beta_kind::listed, .betas = {0.5, 2.0}}),
                      std::invalid_argument);
}

TEST_CASE("the walk of diffusers is the official one a level lower", "[loops]") {
    // 5, 2, 2 gives the timesteps 4 3 2 3 4 3 2 1 0 1 2 1 0 there, and each stands for the level below it.
    CHECK(steps_of(repaint::diffusers_walk(5, {.jump_length = 2, .jump_n_sample = 2})) ==
          std::vector<int>{4, 3, 2, 1, 2, 3, 2, 1, 0, -1, 0, 1, 0, -1});
    const auto published = repaint::diffusers_walk(250);
    CHECK(published.size() == 4570);
    CHECK(repaint::network_evaluations(published) == 2410);
    CHECK(steps_of(repaint::diffusers_walk(1)) == std::vector<int>{0, -1});
    CHECK(steps_of(repaint::diffusers_walk(3)) == std::vector<int>{2, 1, 0, -1}); // no room for jumps of 10
    for (const int timesteps : {2, 3, 7, 12, 40}) {
        for (const int length : {1, 2, 5}) {
            const auto visited = steps_of(repaint::diffusers_walk(timesteps, {.jump_length = length}));
            CHECK(visited.front() == timesteps - 1);
            CHECK(visited.back() == -1);
            for (std::size_t i = 1; i < visited.size(); ++i) {
                CHECK(std::abs(visited[i] - visited[i - 1]) == 1);
                CHECK((visited[i] >= -1 && visited[i] < timesteps - 1));
            }
        }
    }
    CHECK(repaint::diffusers_timesteps(1000, "300")[299] == 897);
    CHECK(repaint::diffusers_timesteps(100, "250").size() == 100); // RePaintScheduler takes what there is
    CHECK(repaint::diffusers_timesteps(1000, "").size() == 1000);
}

TEST_CASE("the walk of MONAI's tutorial passes over every step", "[loops]") {
    const auto all = repaint::monai_timesteps(1000, "");
    const auto published = repaint::monai_walk(all, {.n_sample = 4});
    CHECK(repaint::inpainting_evaluations(sampling_system::monai, all, published) == 3996);
    const std::vector<int> three{0, 5, 9};
    CHECK(steps_of(repaint::monai_walk(three, {.n_sample = 2})) == std::vector<int>{2, 1, 2, 1, 0, 1, 0, -1});
    CHECK(repaint::monai_timesteps(1000, "4") == std::vector<int>{0, 333, 666, 999});
    CHECK(repaint::monai_timesteps(1000, "3") == std::vector<int>{0, 500, 999}); // 499.5 rounds to even
    CHECK(repaint::monai_timesteps(1000, "1") == std::vector<int>{999});
    CHECK(repaint::monai_timesteps(1000, "ddim4") == std::vector<int>{0, 250, 500, 750});
    CHECK(repaint::inpainting_evaluations(sampling_system::monai, std::vector<int>{999},
                                          repaint::monai_walk(std::vector<int>{999}, {})) == 1);
    REQUIRE_THROWS_WITH(repaint::monai_walk(std::vector<int>{0}, {}), contains("must be one"));
}

TEST_CASE("a scheduler's settings pick the timesteps", "[loops]") {
    using repaint::diffusers_sampling_timesteps;
    using repaint::timestep_spacing;
    CHECK(diffusers_sampling_timesteps(1000, "4", {}) == std::vector<int>{0, 250, 500, 750});
    CHECK(diffusers_sampling_timesteps(1000, "4", {.offset = 1}) == std::vector<int>{1, 251, 501, 751});
    const repaint::scheduler_settings linspace{.spacing = timestep_spacing::linspace, .offset = 1};
    CHECK(diffusers_sampling_timesteps(1000, "4", linspace) == std::vector<int>{0, 333, 666, 999});
    CHECK(diffusers_sampling_timesteps(1000, "1", linspace) == std::vector<int>{0});
    const repaint::scheduler_settings trailing{.spacing = timestep_spacing::trailing, .offset = 1};
    CHECK(diffusers_sampling_timesteps(1000, "4", trailing) == std::vector<int>{249, 499, 749, 999});
    CHECK(diffusers_sampling_timesteps(1000, "7", trailing) == std::vector<int>{142, 285, 428, 570, 713, 856, 999});
    CHECK(diffusers_sampling_timesteps(1000, "1", trailing) == std::vector<int>{999});
    // Where numpy.arange, and so diffusers, has one more, -1.
    CHECK(diffusers_sampling_timesteps(1000, "61", trailing).size() == 61);
    CHECK(diffusers_sampling_timesteps(1000, "61", trailing).front() == 15);
    for (const auto spacing : {timestep_spacing::leading, timestep_spacing::linspace, timestep_spacing::trailing}) {
        CHECK(diffusers_sampling_timesteps(1000, "", {.spacing = spacing}).size() == 1000);
        CHECK(diffusers_sampling_timesteps(7, "7", {.spacing = spacing}) == std::vector<int>{0, 1, 2, 3, 4, 5, 6});
        REQUIRE_THROWS_WITH(diffusers_sampling_timesteps(7, "8", {.spacing = spacing}), contains("count from 1 to 7"));
    }
    REQUIRE_THROWS_WITH(diffusers_sampling_timesteps(1000, "", {.offset = 1}), contains("to 1 ... 1000"));
    REQUIRE_THROWS_WITH(diffusers_sampling_timesteps(1000, "5", {.offset = -1}), contains("to -1 ... 799"));

    // PyTorch's float32 decides what is halfway: 499.5 is below it of 15, and is it of 3.
    CHECK(repaint::monai_timesteps(1000, "15")[7] == 499);
    CHECK(repaint::monai_timesteps(1000, "3")[1] == 500);
    CHECK(repaint::monai_timesteps(1000, "7", {.offset = 5}) == std::vector<int>{5, 171, 336, 502, 668, 833, 999});
    CHECK(repaint::monai_timesteps(1000, "ddim4", {.offset = 5}) == std::vector<int>{5, 255, 505, 755});
    CHECK(repaint::monai_timesteps(1000, "1", {.offset = 5}) == std::vector<int>{999});
    const repaint::scheduler_settings generative{.spacing = timestep_spacing::leading, .offset = 1};
    CHECK(repaint::monai_timesteps(1000, "4", generative) == std::vector<int>{1, 251, 501, 751});
    REQUIRE_THROWS_WITH(repaint::monai_timesteps(1000, "", generative), contains("does not leave 1000"));
    CHECK(repaint::monai_timesteps(1000, "999", {.offset = 1}).front() == 1);
    REQUIRE_THROWS_WITH(repaint::monai_timesteps(1000, "", {.offset = 1}),
                        contains("an offset of 1 does not leave 1000 of 1000"));
    REQUIRE_THROWS_WITH(repaint::monai_timesteps(1000, "ddim4", {.offset = 250}), contains("offset of 250"));
}

TEST_CASE("a scheduler's settings are followed by its own system's sampling only", "[loops]") {
    repaint::diffusion_settings settings;
    settings.scheduler = {
        .spacing = repaint::timestep_spacing::trailing, .offset = 2, .ends_clean = false, .ddim = true};
    settings.reading.limits = {-0.5F, 2.0F};
    const auto sampled = [&](sampling_system system) {
        return repaint::plan_sampling(settings, {.timesteps = 10, .system = system});
    };
    const auto inpainted = [&](sampling_system system) {
        return repaint::plan_inpainting(
            settings,
            {.timesteps = 10, .jumps = {.jump_n_sample = system == sampling_system::monai ? 10 : 1}, .system = system});
    };
    const auto diffusers = sampled(sampling_system::diffusers);
    CHECK(diffusers.scheduled->timesteps.front() == 99);
    CHECK(diffusers.scheduled->eta == 0.0);
    CHECK(diffusers.scheduled->training.alpha_bar(-1) == diffusers.scheduled->training.alpha_bar(0));
    CHECK(diffusers.scheduled->reading.limits.high == 2.0F);
    for (const auto& plan : {sampled(sampling_system::monai), inpainted(sampling_system::monai)}) {
        CHECK(plan.scheduled->timesteps.front() == 2);
        CHECK(plan.scheduled->eta == 0.0);
        CHECK(plan.scheduled->training.alpha_bar(-1) < 1.0F);
        CHECK(plan.scheduled->reading.limits.low == -0.5F);
    }
    const auto repaint_scheduler = inpainted(sampling_system::diffusers);
    CHECK(repaint_scheduler.scheduled->timesteps.back() == 900);
    CHECK_FALSE(repaint_scheduler.scheduled->eta);
    CHECK(repaint_scheduler.scheduled->training.alpha_bar(-1) == 1.0F);
    CHECK(repaint_scheduler.scheduled->reading.limits.high == 1.0F);
    CHECK(sampled(sampling_system::official).process.schedule.timestep(9) == 999);
    CHECK_FALSE(sampled(sampling_system::official).process.eta);
    CHECK(sampled(sampling_system::official).process.reading.limits.high == 2.0F);
    // DDPM's steps end clean whatever DDIM's would.
    settings.scheduler.ddim = false;
    CHECK(sampled(sampling_system::diffusers).scheduled->training.alpha_bar(-1) == 1.0F);

    // No signal is left where an epsilon prediction would need some.
    settings = {.betas = repaint::beta_schedule{.ends_in_noise = true}};
    CHECK_NOTHROW(sampled(sampling_system::diffusers));
    settings.scheduler.spacing = repaint::timestep_spacing::trailing;
    REQUIRE_THROWS_WITH(sampled(sampling_system::diffusers), contains("timestep 999 holds no signal"));
    settings.reading.prediction = repaint::prediction_type::velocity;
    CHECK_NOTHROW(sampled(sampling_system::diffusers));
    REQUIRE_THROWS_WITH(repaint::betas64({.steps = 1, .ends_in_noise = true}), contains("a single timestep"));
}

TEST_CASE("options that a system does not know are named", "[loops]") {
    using repaint::jump_options;
    const repaint::diffusion_settings settings;
    const auto plan = [&](sampling_system system, const char* timesteps, const jump_options& jumps,
                          std::optional<double> eta = std::nullopt) {
        return repaint::plan_inpainting(settings,
                                        {.timesteps = timesteps, .jumps = jumps, .eta = eta, .system = system})
            .walk.size();
    };
    for (const char* spec : {"0", "ten", "10,20", "-5", "12x", " 12", "99999999999999999999"}) {
        CAPTURE(spec);
        REQUIRE_THROWS_WITH(plan(sampling_system::diffusers, spec, {}),
                            contains("count from 1 to 1000") && contains(spec));
        REQUIRE_THROWS_WITH(plan(sampling_system::monai, spec, {}), contains("count from 1 to 1000") && contains(spec));
    }
    REQUIRE_THROWS_WITH(plan(sampling_system::monai, "1001", {}), contains("count from 1 to 1000, or \"ddim\""));
    CHECK(plan(sampling_system::diffusers, "1001", {}) ==
          plan(sampling_system::diffusers, "", {})); // as RePaintScheduler
    REQUIRE_THROWS_WITH(repaint::plan_sampling(settings, {.timesteps = "1001", .system = sampling_system::diffusers}),
                        contains("count from 1 to 1000"));
    REQUIRE_THROWS_WITH(plan(sampling_system::diffusers, "ddim250", {}), contains("must be a count from 1 to 1000"));
    REQUIRE_THROWS_WITH(plan(sampling_system::monai, "ddim0", {}), contains("must be a count from 1 to 1000"));
    REQUIRE_THROWS_WITH(plan(sampling_system::monai, "ddim", {}), contains("must be a count from 1 to 1000"));
    REQUIRE_THROWS_WITH(plan(sampling_system::diffusers, "20", {.n_sample = 2}),
                        contains("n_sample must be left alone"));
    REQUIRE_THROWS_WITH(plan(sampling_system::diffusers, "20", {.jump2_length = 2}), contains("jump2_length"));
    REQUIRE_THROWS_WITH(plan(sampling_system::diffusers, "20", {.jump2_n_sample = 2}), contains("jump2_n_sample"));
    REQUIRE_THROWS_WITH(plan(sampling_system::diffusers, "20", {.jump3_n_sample = 2}), contains("jump3_n_sample"));
    REQUIRE_THROWS_WITH(plan(sampling_system::diffusers, "20", {.start_resampling = 5}), contains("start_resampling"));
    REQUIRE_THROWS_WITH(plan(sampling_system::diffusers, "20", {.jump_length = 0}),
                        contains("jump_length must be at least"));
    REQUIRE_THROWS_WITH(plan(sampling_system::monai, "20", {.jump_length = 5}),
                        contains("jump_length must be left alone"));
    REQUIRE_THROWS_WITH(plan(sampling_system::monai, "20", {.jump_n_sample = 5}), contains("jump_n_sample"));
    REQUIRE_THROWS_WITH(plan(sampling_system::monai, "20", {.start_resampling = 5}), contains("start_resampling"));
    REQUIRE_THROWS_WITH(plan(sampling_system::monai, "20", {.n_sample = 0}),
                        contains("n_sample must be at least 1, got 0"));
    REQUIRE_THROWS_WITH(plan(sampling_system::monai, "", {.n_sample = 1'000'000}), contains("10000000"));
    for (const auto system : {sampling_system::official, sampling_system::diffusers, sampling_system::monai}) {
        for (const double eta : {-0.1, 1.1, static_cast<double>(std::nanf(""))}) {
            REQUIRE_THROWS_WITH(plan(system, "20", {}, eta), contains("eta must be 0 to 1"));
        }
    }
    repaint::diffusion_settings means;
    means.reading.prediction = repaint::prediction_type::previous_x;
    REQUIRE_THROWS_WITH(repaint::plan_sampling(means, {.timesteps = 20, .system = sampling_system::diffusers}),
                        contains("only the system official"));
    repaint::diffusion_settings early;
    early.betas = repaint::beta_schedule{.kind = repaint::beta_kind::monai_generative_cosine};
    REQUIRE_NOTHROW(repaint::plan_inpainting(early, {.timesteps = "", .system = sampling_system::monai}));
    REQUIRE_THROWS_WITH(repaint::plan_sampling(early, {.timesteps = "", .system = sampling_system::monai}),
                        contains("divides by zero"));
}

namespace {

/// A network of tests/data/unet on a backend; it learns its variance, so it returns twice the channels.
template <class B> repaint::diffusion_model<B> small_model(B& b) {
    const auto file = golden::read_network("strided_additive");
    const auto read = repaint::read_guided_diffusion(file.weights, &file.config);
    repaint::weight_map weights(file.weights);
    return {repaint::unet<B>(b, read.network, weights), read.diffusion, read.description};
}

} // namespace

TEMPLATE_LIST_TEST_CASE("every system runs a network, stops, and goes on bit for bit", "[loops]", backends) {
    TestType b;
    auto model = small_model(b);
    // As MONAI interpolates variances, an untrained network may give it a negative one.
    model.diffusion.reading.variance = repaint::variance_type::fixed_small;
    const auto image = random_images({2, 3, 8, 8}, 1);
    const auto keep = repaint::make_mask(repaint::mask_kind::half, 8, 8);
    for (const auto system : {sampling_system::official, sampling_system::diffusers, sampling_system::monai}) {
        for (const std::optional<double> eta : {std::optional<double>(), std::optional<double>(0.5)}) {
            repaint::inpaint_options options{.timesteps = 8, .eta = eta, .system = system};
            if (system == sampling_system::monai) {
                options.jumps.n_sample = 2;
            } else {
                options.jumps = {.jump_length = 2, .jump_n_sample = 2};
            }
            const repaint::inpainter<TestType> inpaint(b, model, options);
            std::size_t evaluations = 0;
            const auto whole = inpaint(image, keep, repaint::philox_noise(5),
                                       [&](const repaint::progress& p) { evaluations = p.evaluation; });
            CHECK(evaluations == inpaint.evaluations());
            for (int i = 0; i < 8; ++i) {
                for (int j = 0; j < 8; ++j) {
                    if (keep(0, 0, i, j) == 1.0F) {
                        CHECK(whole(1, 2, i, j) == image(1, 2, i, j));
                    } else {
                        CHECK(std::isfinite(whole(1, 2, i, j)));
                    }
                }
            }
            for (const std::size_t stop : {std::size_t{1}, std::size_t{6}, inpaint.walk().size() - 1}) {
                auto first = inpaint.start(image, keep, repaint::philox_noise(5));
                first.advance([&](const repaint::progress& p) { return p.position == stop; });
                const auto state = first.state();
                auto moved = std::move(first);
                CHECK_FALSE(moved.finished());
                auto second = inpaint.resume(image, keep, repaint::philox_noise(5), state);
                CHECK(second.advance());
                CHECK(same_bits(second.result(), whole));
                CHECK(moved.advance());
                CHECK(same_bits(moved.result(), whole));
            }

            const repaint::unconditional_sampler<TestType> draw(b, model,
                                                                {.timesteps = 8, .eta = eta, .system = system});
            std::size_t seen = 0;
            const auto both = draw({2, 3, 8, 8}, repaint::philox_noise(5),
                                   [&](const repaint::preview<TestType>& p) { seen = p.at.evaluation; });
            CHECK(seen == 8);
            CHECK(draw.evaluations() == 8);
            // Every image draws with its own seed, so the second is the first of another run.
            const auto second = draw({1, 3, 8, 8}, repaint::philox_noise(6));
            const auto at = both.image(1);
            CHECK(largest_difference(host_tensor({1, 3, 8, 8}, std::vector<float>(at.begin(), at.end())), second) <
                  1e-4);
            REQUIRE_THROWS_AS(draw({1, 3, 8, 8}, repaint::philox_noise(6),
                                   [](const repaint::progress& p) { return p.position == 3; }),
                              repaint::cancelled);
        }
    }
    REQUIRE_THROWS_WITH(repaint::unconditional_sampler<TestType>(b, model)({1, 3, 7, 8}, repaint::philox_noise(1)),
                        contains("7"));
}

TEST_CASE("soft masks mean what they mean to each system", "[loops]") {
    reference_backend b;
    const auto model = small_model(b);
    const auto image = random_images({1, 3, 8, 8}, 1);
    host_tensor keep({1, 1, 8, 8});
    host_tensor none({1, 1, 8, 8});
    for (float& value : keep.values()) {
        value = 0.75F;
    }
    const auto run = [&](sampling_system system, const host_tensor& mask, bool composite) {
        repaint::inpaint_options options{.timesteps = 4, .composite = composite, .system = system};
        if (system != sampling_system::monai) {
            options.jumps.jump_n_sample = 1;
        }
        return repaint::inpainter<reference_backend>(b, model, options)(image, mask, repaint::philox_noise(1));
    };
    // To MONAI what is not known is to be filled.
    CHECK(same_bits(run(sampling_system::monai, keep, true), run(sampling_system::monai, none, true)));
    // diffusers blends at every step, and so at the last; blending again would be another picture.
    CHECK(same_bits(run(sampling_system::diffusers, keep, true), run(sampling_system::diffusers, keep, false)));
    CHECK_FALSE(same_bits(run(sampling_system::official, keep, true), run(sampling_system::official, keep, false)));
}

TEST_CASE("guidance is refused where there is none", "[loops]") {
    repaint::dry_backend b;
    const auto model = small_model(b);
    const auto guide = [](repaint::dry_backend& backend, const repaint::dry_backend::tensor& x, int) {
        return backend.allocate(x.shape());
    };
    repaint::inpainter<repaint::dry_backend> official(b, model, {.timesteps = 20});
    REQUIRE_NOTHROW(official.guide_with(guide));
    repaint::inpainter<repaint::dry_backend> monai(b, model, {.timesteps = 4, .system = sampling_system::monai});
    REQUIRE_THROWS_WITH(monai.guide_with(guide), contains("official only"));
    REQUIRE_NOTHROW(monai.guide_with({}));
    repaint::unconditional_sampler<repaint::dry_backend> draw(b, model,
                                                              {.timesteps = 4, .system = sampling_system::diffusers});
    REQUIRE_THROWS_WITH(draw.guide_with(guide), contains("official only"));
}
