// The facade with what a user brings: denoisers, conditioners and steps of one's own, ranges of values, tensors on the
// device, stopping, resuming and moving. Nearly all of it with formulas in place of a network.
#include <atomic>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <repaint/backend/cpu.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/repaint.hpp>

#include "support/compare.hpp"
#include "support/golden.hpp"

using repaint::host_tensor;
using repaint::sampling_system;
using repaint::shape4;

namespace {

using backends = std::tuple<repaint::reference_backend, repaint::cpu_backend>;

const std::vector<sampling_system> systems{sampling_system::official, sampling_system::diffusers,
                                           sampling_system::monai};

/// A prediction by formula, on every backend the same.
struct formula {
    template <class B> typename B::tensor operator()(B& b, const typename B::tensor& x, int t) const {
        auto values = b.download(x);
        for (float& value : values.values()) {
            value = 0.3F * value + 0.1F * std::sin(3.0F * value) + 0.01F * static_cast<float>(t);
        }
        return b.upload(values);
    }
};

/// The same, counting how often it is asked; there is only one of it.
struct counting {
    int calls = 0;
    std::unique_ptr<int> only_one = nullptr;

    template <class B> typename B::tensor operator()(B& b, const typename B::tensor& x, int t) {
        ++calls;
        return formula{}(b, x, t);
    }
};

repaint::diffusion_settings trained() {
    repaint::diffusion_settings settings;
    settings.reading.variance = repaint::variance_type::fixed_small;
    return settings;
}

/// A short run of each system, without what puts known pixels back at the end.
repaint::inpaint_options short_run(sampling_system system) {
    repaint::inpaint_options options{.timesteps = 8, .composite = false, .system = system};
    if (system == sampling_system::monai) {
        options.jumps.n_sample = 2;
    } else {
        options.jumps = {.jump_length = 2, .jump_n_sample = 2};
    }
    return options;
}

/// Two pictures, the left half of which is known. Values are multiples of 1/64, which other ranges hold exactly.
struct task {
    host_tensor image = random_images({2, 3, 4, 4}, 1);
    host_tensor keep = repaint::make_mask(repaint::mask_kind::half, 4, 4);

    task() {
        for (float& value : image.values()) {
            value = std::round(64.0F * value) / 64.0F;
        }
    }
};

repaint::philox_noise noise() { return repaint::philox_noise(3); }

/// What a run computes, put together from the parts that it is made of.
template <class B>
host_tensor by_hand(B& b, const repaint::diffusion_settings& settings, const repaint::inpaint_options& options,
                    const host_tensor& image, const host_tensor& keep) {
    const auto plan = repaint::plan_inpainting(settings, options);
    formula denoise;
    auto draws = noise();
    auto run = repaint::start_sampling(b, draws, image.shape());
    repaint::with_system(options.system, [&](auto system) {
        const repaint::known_region<B> known(b.upload(image), b.upload(system.keep_mask(keep)));
        auto loop = system.template inpainting_loop<B>(plan, known, repaint::guide<B>{});
        CHECK(repaint::advance(b, run, denoise, loop, draws, plan.walk));
    });
    return b.download(run.x);
}

/// A network of tests/data/unet on a backend.
template <class B> repaint::diffusion_model<B> small_model(B& b) {
    const auto file = golden::read_network("strided_additive");
    const auto read = repaint::read_guided_diffusion(file.weights, &file.config);
    repaint::weight_map weights(file.weights);
    repaint::diffusion_model<B> model{repaint::unet<B>(b, read.network, weights), read.diffusion, read.description};
    // As MONAI interpolates variances, an untrained network may give it a negative one.
    model.diffusion.reading.variance = repaint::variance_type::fixed_small;
    return model;
}

/// Imposes what is known as known_region does, and counts.
template <class B> struct counting_condition {
    repaint::known_region<B> known;
    int* calls;

    template <class N> void operator()(B& b, typename B::tensor& x, repaint::mixing level, N& draws) {
        ++*calls;
        known(b, x, level, draws);
    }
};

/// The official program's step, once more.
template <class B> struct step_of_ones_own {
    const repaint::diffusion_process* process;
    repaint::any_condition<B>* condition;
    int* calls;

    static bool evaluates(const repaint::transition& move) { return move.to < move.from; }

    template <class D, class N>
    void operator()(B& b, typename B::tensor& x, const repaint::transition& move, bool first, D& denoise, N& draws,
                    typename B::tensor* x0) {
        ++*calls;
        const auto z = draws(b, x.shape());
        if (!evaluates(move)) {
            repaint::ops::forward_step(b, x, z, process->forward(move.to));
            return;
        }
        if (!first) {
            (*condition)(b, x, process->marginal(move.from), draws);
        }
        const auto prediction = denoise(b, x, move.from);
        repaint::ops::reverse_step(b, x, prediction, z, process->reverse(move.from), x0);
    }
};

} // namespace

// ---- a denoiser of one's own -----------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("a denoiser of one's own gives what sample() gives, bit for bit", "[facade]", backends) {
    TestType b;
    const task holes;
    const auto settings = trained();
    const auto process = settings.respaced("8");
    const auto options = short_run(sampling_system::official);
    const auto walk = repaint::jump_schedule(8, options.jumps);

    counting own;
    const repaint::known_region<TestType> known(b.upload(holes.image), b.upload(holes.keep));
    auto draws = noise();
    const auto expected = b.download(repaint::sample(b, own, known, draws, process, walk, holes.image.shape()));
    const int once = own.calls;
    CHECK(once == repaint::network_evaluations(walk));

    SECTION("sample() takes temporaries") {
        const auto same = b.download(
            repaint::sample(b, counting{}, repaint::known_region<TestType>(b.upload(holes.image), b.upload(holes.keep)),
                            noise(), process, walk, holes.image.shape()));
        CHECK(same_bits(same, expected));
    }
    SECTION("over a process: what has a name is referred to, a temporary is taken over") {
        const repaint::inpainter named(b, own, process, options);
        CHECK(same_bits(named(holes.image, holes.keep, noise()), expected));
        CHECK(own.calls == 2 * once);
        const repaint::inpainter temporary(b, counting{}, process, options);
        CHECK(same_bits(temporary(holes.image, holes.keep, noise()), expected));
        CHECK(same_bits(temporary(holes.image, holes.keep, noise()), expected));
        const formula constant;
        CHECK(same_bits(repaint::inpainter(b, constant, process, options)(holes.image, holes.keep, noise()), expected));
        CHECK(same_bits(repaint::inpainter(
                            b,
                            [](TestType& on, const typename TestType::tensor& x, int t) { return formula{}(on, x, t); },
                            process, options)(holes.image, holes.keep, noise()),
                        expected));
        CHECK(temporary.evaluations() == static_cast<std::size_t>(once));
    }
    SECTION("over settings") {
        const repaint::inpainter named(b, own, settings, options);
        CHECK(same_bits(named(holes.image, holes.keep, noise()), expected));
        CHECK(own.calls == 2 * once);
        const repaint::inpainter temporary(b, counting{}, settings, options);
        CHECK(same_bits(temporary(holes.image, holes.keep, noise()), expected));
    }
    SECTION("unconditional") {
        const auto down = repaint::jump_schedule(8, {.jump_n_sample = 1});
        const auto drawn =
            b.download(repaint::sample(b, formula{}, repaint::unconditional{}, noise(), process, down, {2, 3, 4, 4}));
        CHECK(same_bits(repaint::unconditional_sampler(b, own, process)({2, 3, 4, 4}, noise()), drawn));
        CHECK(same_bits(repaint::unconditional_sampler(b, counting{}, process)({2, 3, 4, 4}, noise()), drawn));
        CHECK(same_bits(repaint::unconditional_sampler(b, own, settings, {.timesteps = 8})({2, 3, 4, 4}, noise()),
                        drawn));
    }
    SECTION("a process is followed in one way") {
        REQUIRE_THROWS_WITH(repaint::inpainter(b, own, process, short_run(sampling_system::monai)),
                            contains("as the system official does; for monai give the settings of the training"));
        REQUIRE_THROWS_WITH(repaint::unconditional_sampler(b, own, process, {.timesteps = 5}),
                            contains("timesteps \"5\" were asked for, but the process has its 8 already"));
        REQUIRE_THROWS_WITH(repaint::unconditional_sampler(b, own, process, {.system = sampling_system::diffusers}),
                            contains("for diffusers give the settings"));
        auto impossible = options;
        impossible.eta = 1.5;
        REQUIRE_THROWS_WITH(repaint::inpainter(b, own, process, impossible), contains("eta must be 0 to 1"));
        auto labelled = options;
        labelled.labels = {1};
        REQUIRE_THROWS_WITH(repaint::inpainter(b, own, process, labelled)(holes.image, holes.keep, noise()),
                            contains("labels were given, which a denoiser of one's own takes by itself"));
    }
}

TEMPLATE_LIST_TEST_CASE("a denoiser of one's own runs by every system", "[facade]", backends) {
    TestType b;
    const task holes;
    for (const auto system : systems) {
        CAPTURE(to_string(system));
        const auto options = short_run(system);
        const auto expected = by_hand(b, trained(), options, holes.image, holes.keep);
        counting own;
        const repaint::inpainter inpaint(b, own, trained(), options);
        CHECK(same_bits(inpaint(holes.image, holes.keep, noise()), expected));
        CHECK(static_cast<std::size_t>(own.calls) == inpaint.evaluations());
        CHECK(same_bits(repaint::inpainter(b, counting{}, trained(), options)(holes.image, holes.keep, noise()),
                        expected));
    }
}

// ---- a conditioner and a step of one's own ---------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("a conditioner of one's own takes known_region's place", "[facade]", backends) {
    TestType b;
    const task holes;
    using tensor = typename TestType::tensor;
    for (const auto system : systems) {
        CAPTURE(to_string(system));
        repaint::inpainter inpaint(b, formula{}, trained(), short_run(system));
        const auto plain = inpaint(holes.image, holes.keep, noise());
        int calls = 0;
        inpaint.condition_with([&calls](TestType&, tensor known, tensor keep) {
            return counting_condition<TestType>{{std::move(known), std::move(keep)}, &calls};
        });
        CHECK(same_bits(inpaint(holes.image, holes.keep, noise()), plain));
        CHECK(calls > 8);
        // Tensors on the device go to it as they are.
        const int on_host = calls;
        if (system != sampling_system::monai) { // whose masks hold 0 and 1, as this one does
            CHECK(same_bits(b.download(inpaint(b.upload(holes.image), b.upload(holes.keep), noise())), plain));
            CHECK(calls == 2 * on_host);
        }

        // One that does nothing leaves plain sampling, and what draws more than its step has is told so.
        inpaint.condition_with([](TestType&, tensor, tensor) { return repaint::unconditional{}; });
        CHECK_FALSE(same_bits(inpaint(holes.image, holes.keep, noise()), plain));
        inpaint.condition_with([](TestType&, tensor, tensor) {
            return [](TestType& on, tensor& x, repaint::mixing, auto& draws) {
                (void)draws(on, x.shape());
                (void)draws(on, x.shape());
            };
        });
        if (system == sampling_system::official) {
            CHECK_NOTHROW(inpaint(holes.image, holes.keep, noise()));
        } else {
            REQUIRE_THROWS_WITH(inpaint(holes.image, holes.keep, noise()), contains("may draw noise once a step"));
        }
    }
    auto options = short_run(sampling_system::official);
    options.composite = true;
    repaint::inpainter inpaint(b, formula{}, trained(), options);
    inpaint.condition_with([](TestType&, tensor, tensor) { return repaint::unconditional{}; });
    const auto filled = inpaint(holes.image, holes.keep, noise());
    CHECK(same_bits(repaint::keep_known(holes.image, holes.keep, filled), filled));
    REQUIRE_THROWS_WITH(inpaint(b.upload(holes.image), b.upload(holes.keep), noise()),
                        contains("set composite to false"));
}

TEMPLATE_LIST_TEST_CASE("a step of one's own takes the system's place", "[facade]", backends) {
    TestType b;
    const task holes;
    int calls = 0;
    const auto make = [&calls](const repaint::run_plan& plan, repaint::any_condition<TestType>& condition) {
        return step_of_ones_own<TestType>{&plan.process, &condition, &calls};
    };
    const auto options = short_run(sampling_system::official);
    repaint::inpainter inpaint(b, formula{}, trained(), options);
    const auto plain = inpaint(holes.image, holes.keep, noise());
    inpaint.step_with(make);
    CHECK(same_bits(inpaint(holes.image, holes.keep, noise()), plain));
    CHECK(static_cast<std::size_t>(calls) == inpaint.walk().size());

    auto first = inpaint.start(holes.image, holes.keep, noise());
    CHECK_FALSE(first.advance([](const repaint::progress& p) { return p.position == 5; }));
    auto second = inpaint.resume(holes.image, holes.keep, noise(), first.state());
    CHECK(second.advance());
    CHECK(same_bits(second.result(), plain));

    repaint::unconditional_sampler draw(b, formula{}, trained(), {.timesteps = 8});
    const auto drawn = draw({1, 3, 4, 4}, noise());
    draw.step_with(make);
    CHECK(same_bits(draw({1, 3, 4, 4}, noise()), drawn));
}

// ---- stopping and resuming -------------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("a stop token stops a run within one evaluation", "[facade]", backends) {
    static_assert(!std::is_base_of_v<repaint::error, repaint::cancelled>); // nothing went wrong
    static_assert(repaint::observer<std::stop_token, TestType>);
    static_assert(!repaint::observer<int, TestType>);
    TestType b;
    const task holes;
    using tensor = typename TestType::tensor;
    const auto options = short_run(sampling_system::official);
    const auto whole = repaint::inpainter(b, formula{}, trained(), options)(holes.image, holes.keep, noise());

    SECTION("of a source") {
        std::stop_source stop;
        int calls = 0;
        const repaint::inpainter inpaint(
            b,
            [&](TestType& on, const tensor& x, int t) {
                if (++calls == 3) {
                    stop.request_stop();
                }
                return formula{}(on, x, t);
            },
            trained(), options);
        std::size_t seen = 0;
        auto run = inpaint.start(holes.image, holes.keep, noise());
        CHECK_FALSE(run.advance(stop.get_token(), [&](const repaint::preview<TestType>&) { ++seen; }));
        CHECK(calls == 3);
        CHECK(seen == 3); // the others are told all the same
        CHECK_FALSE(run.finished());
        CHECK_FALSE(run.advance(stop.get_token())); // one transition, then it looks again
        CHECK(run.advance());
        CHECK(run.finished());
        CHECK(same_bits(run.result(), whole));
        REQUIRE_THROWS_AS(inpaint(holes.image, holes.keep, noise(), stop.get_token()), repaint::cancelled);
        const repaint::unconditional_sampler draw(b, formula{}, trained(), {.timesteps = 8});
        REQUIRE_THROWS_AS(draw({1, 3, 4, 4}, noise(), stop.get_token()), repaint::cancelled);
        CHECK_NOTHROW(draw({1, 3, 4, 4}, noise(), std::stop_token{}));
    }
    SECTION("of a thread") {
        std::atomic<int> calls = 0;
        std::binary_semaphore third{0};
        std::binary_semaphore asked{0};
        const repaint::inpainter inpaint(
            b,
            [&](TestType& on, const tensor& x, int t) {
                if (++calls == 3) {
                    third.release();
                    asked.acquire();
                }
                return formula{}(on, x, t);
            },
            trained(), options);
        auto run = inpaint.start(holes.image, holes.keep, noise());
        bool done = true;
        {
            std::jthread worker([&](const std::stop_token& token) { done = run.advance(token); });
            third.acquire();
            worker.request_stop();
            asked.release();
        }
        CHECK_FALSE(done);
        CHECK(calls == 3);
        CHECK(run.advance());
        CHECK(same_bits(run.result(), whole));
    }
}

TEMPLATE_LIST_TEST_CASE("an unconditional run goes on bit for bit, by every system", "[facade]", backends) {
    TestType b;
    const auto model = small_model(b);
    const shape4 shape{2, 3, 8, 8};
    for (const auto system : systems) {
        CAPTURE(to_string(system));
        for (const std::optional<double> eta : {std::optional<double>(), std::optional<double>(0.5)}) {
            const repaint::unconditional_sampler draw(b, model, {.timesteps = 8, .eta = eta, .system = system});
            const auto check = [&](const auto& source) {
                const auto whole = draw(shape, source);
                for (const std::size_t stop : {std::size_t{1}, std::size_t{5}, std::size_t{8}}) {
                    auto first = draw.start(shape, source);
                    first.advance([&](const repaint::progress& p) { return p.position == stop; });
                    const auto state = first.state();
                    CHECK(state.position == stop);
                    auto second = draw.resume(shape, source, state);
                    CHECK(second.advance());
                    CHECK(same_bits(second.result(), whole));
                }
            };
            check(noise());
            check(repaint::torch_cpu_noise(5));
        }
    }
    const repaint::unconditional_sampler draw(b, model, {.timesteps = 8});
    auto run = draw.start(shape, noise());
    auto state = run.state();
    REQUIRE_THROWS_AS(draw.resume({1, 3, 8, 8}, noise(), state), repaint::shape_error);
    state.position = 9;
    REQUIRE_THROWS_WITH(draw.resume(shape, noise(), state), contains("at transition 9"));
}

// ---- moving ----------------------------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("inpainters and runs may be moved and copied", "[facade]", backends) {
    TestType b;
    const task holes;
    const auto settings = std::make_unique<repaint::diffusion_settings>(trained());
    for (const auto system : systems) {
        CAPTURE(to_string(system));
        using inpainter = repaint::inpainter<TestType>;
        auto original = std::make_unique<inpainter>(b, formula{}, *settings, short_run(system));
        const auto whole = (*original)(holes.image, holes.keep, noise());

        auto moved = std::make_unique<inpainter>(std::move(*original));
        original.reset();
        CHECK(same_bits((*moved)(holes.image, holes.keep, noise()), whole));
        inpainter copied(*moved);
        inpainter assigned(b, formula{}, *settings, {.timesteps = 20});
        assigned = *moved;
        auto run = moved->start(holes.image, holes.keep, noise());
        CHECK_FALSE(run.advance([](const repaint::progress& p) { return p.position == 3; }));
        moved.reset(); // a run does not refer to what made it
        CHECK(same_bits(copied(holes.image, holes.keep, noise()), whole));
        CHECK(same_bits(assigned(holes.image, holes.keep, noise()), whole));

        std::vector<decltype(run)> runs;
        runs.push_back(std::move(run));
        CHECK_FALSE(runs.back().advance([](const repaint::progress& p) { return p.position == 6; }));
        runs.push_back(copied.start(holes.image, holes.keep, noise())); // which moves the first once more
        const auto state = runs.front().state();
        CHECK(runs.front().advance());
        CHECK(same_bits(runs.front().result(), whole));
        CHECK(runs.back().advance());
        CHECK(same_bits(runs.back().result(), whole));
        runs.front() = copied.resume(holes.image, holes.keep, noise(), state);
        CHECK(runs.front().advance());
        CHECK(same_bits(runs.front().result(), whole));
    }
}

TEMPLATE_LIST_TEST_CASE("a guide may keep the address of the process", "[facade]", backends) {
    TestType b;
    const task holes;
    using tensor = typename TestType::tensor;
    const auto guide_over = [](const repaint::diffusion_process& process) {
        return [&process](TestType& on, const tensor& x, int t) {
            auto values = on.download(x);
            for (float& value : values.values()) {
                value = (0.2F - value) * (1.0F + static_cast<float>(process.schedule.timestep(t)) / 1000.0F);
            }
            return on.upload(values);
        };
    };
    using inpainter = repaint::inpainter<TestType>;
    const auto options = short_run(sampling_system::official);
    inpainter stays(b, formula{}, trained(), options);
    const auto unguided = stays(holes.image, holes.keep, noise());
    stays.guide_with(guide_over(stays.process()));
    const auto whole = stays(holes.image, holes.keep, noise());
    CHECK_FALSE(same_bits(whole, unguided));

    auto original = std::make_unique<inpainter>(b, formula{}, trained(), options);
    original->guide_with(guide_over(original->process()));
    auto moved = std::make_unique<inpainter>(std::move(*original));
    original.reset();
    CHECK(same_bits((*moved)(holes.image, holes.keep, noise()), whole));
    auto run = moved->start(holes.image, holes.keep, noise());
    moved.reset();
    CHECK(run.advance());
    CHECK(same_bits(run.result(), whole));
}

// ---- ranges of values ------------------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("the network sees its own range, the caller another", "[facade]", backends) {
    TestType b;
    const task holes;
    const repaint::value_range unit{0.0F, 1.0F};
    host_tensor image_in_unit = holes.image;
    for (float& value : image_in_unit.values()) {
        value = 0.5F * value + 0.5F; // exact: see task
    }
    auto settings = trained();
    settings.data_range = unit;
    settings.reading.limits = {0.0F, 1.0F};
    for (const auto system : systems) {
        for (const bool composite : {false, true}) {
            CAPTURE(to_string(system), composite);
            auto options = short_run(system);
            options.composite = composite;
            const auto centred = repaint::inpainter(b, formula{}, settings, options)(holes.image, holes.keep, noise());
            options.images = unit;
            const repaint::inpainter inpaint(b, formula{}, settings, options);
            const auto unit_result = inpaint(image_in_unit, holes.keep, noise());
            // What the network sees is the same; the result is rounded once on its way to [-1, 1], where values are
            // below 2: 2^-24 each.
            host_tensor expected = unit_result;
            for (float& value : expected.values()) {
                value = 2.0F * value - 1.0F;
            }
            CHECK(largest_difference(centred, expected) < 1.2e-7);
            // Equal ranges: nothing is converted.
            auto raw = by_hand(b, settings, options, image_in_unit, holes.keep);
            if (composite && system == sampling_system::official) {
                raw = repaint::keep_known(image_in_unit, holes.keep, raw);
            }
            CHECK(same_bits(unit_result, raw));
        }
        // What is drawn goes out as the options say.
        repaint::sampling_options drawing{.timesteps = 8, .system = system};
        const auto centred = repaint::unconditional_sampler(b, formula{}, settings, drawing)({2, 3, 4, 4}, noise());
        drawing.images = unit;
        auto same = repaint::unconditional_sampler(b, formula{}, settings, drawing)({2, 3, 4, 4}, noise());
        for (float& value : same.values()) {
            value = 2.0F * value - 1.0F;
        }
        CHECK(largest_difference(centred, same) < 1.2e-7);
    }
    SECTION("bytes, once the options say so") {
        auto options = short_run(sampling_system::official);
        options.composite = true;
        options.images = {0.0F, 255.0F};
        host_tensor bytes = holes.image;
        for (float& value : bytes.values()) {
            value = std::round(127.5F * (value + 1.0F));
        }
        const auto filled = repaint::inpainter(b, formula{}, trained(), options)(bytes, holes.keep, noise());
        CHECK(same_bits(repaint::keep_known(bytes, holes.keep, filled), filled));
        CHECK(filled(0, 0, 0, 3) > -1.0F);
        CHECK(std::fabs(filled(0, 0, 0, 3)) < 256.0F);
    }
}

TEST_CASE("values that are no images in the range are refused", "[facade]") {
    repaint::reference_backend b;
    const task holes;
    repaint::inpaint_options options = short_run(sampling_system::official);
    const auto fill = [&](float value) {
        host_tensor image = holes.image;
        image.values()[7] = value;
        return repaint::inpainter(b, formula{}, trained(), options)(image, holes.keep, noise());
    };
    CHECK_NOTHROW(fill(1.5F)); // a filter may have overshot
    host_tensor bytes({2, 3, 4, 4});
    bytes.values()[5] = 255.0F;
    REQUIRE_THROWS_WITH(repaint::inpainter(b, formula{}, trained(), options)(bytes, holes.keep, noise()),
                        contains("the images hold values from 0 to 255, expected about -1 to 1: rescale them, or say "
                                 "their range in the options"));
    REQUIRE_THROWS_AS(fill(-4.0F), std::invalid_argument);
    REQUIRE_THROWS_WITH(fill(std::nanf("")), contains("the images hold NaN, expected values from -1 to 1"));
    REQUIRE_THROWS_WITH(fill(std::numeric_limits<float>::infinity()), contains("the images hold infinity"));
    options.images = {0.0F, 255.0F};
    CHECK_NOTHROW(fill(255.0F));
    REQUIRE_THROWS_WITH(fill(1024.0F), contains("expected about 0 to 255"));
}

TEST_CASE("a batch without images is refused", "[facade]") {
    repaint::reference_backend b;
    const auto model = small_model(b);
    const task holes;
    const auto options = short_run(sampling_system::official);
    const host_tensor none({0, 3, 8, 8});
    const host_tensor keep({1, 1, 8, 8});
    REQUIRE_THROWS_AS(repaint::inpainter(b, model, options)(none, keep, noise()), repaint::shape_error);
    REQUIRE_THROWS_WITH(repaint::inpainter(b, model, options)(none, keep, noise()), contains("(0, 3, 8, 8)"));
    REQUIRE_THROWS_AS(repaint::inpainter(b, model, options)(none, host_tensor({0, 1, 8, 8}), noise()),
                      repaint::shape_error);
    REQUIRE_THROWS_AS(repaint::inpainter(b, model, options)(b.upload(none), b.upload(keep), noise()),
                      repaint::shape_error);
    REQUIRE_THROWS_AS(repaint::inpainter(b, formula{}, trained(), options)(none, keep, noise()), repaint::shape_error);
    REQUIRE_THROWS_AS(repaint::unconditional_sampler(b, model)({0, 3, 8, 8}, noise()), repaint::shape_error);
    REQUIRE_THROWS_AS(repaint::unconditional_sampler(b, model)({-1, 3, 8, 8}, noise()), repaint::shape_error);
    for (const shape4 shape : {shape4{0, 3, 8, 8}, shape4{1, 0, 8, 8}, shape4{1, 3, 0, 8}, shape4{1, 3, 8, 0}}) {
        REQUIRE_THROWS_AS(repaint::unconditional_sampler(b, formula{}, trained())(shape, noise()),
                          repaint::shape_error);
    }
}

TEST_CASE("what is known is put back where shapes fit", "[facade]") {
    const auto image = random_images({2, 3, 4, 4}, 1);
    const auto drawn = random_images({2, 3, 4, 4}, 2);
    for (const shape4 keep : {shape4{1, 1, 4, 4}, shape4{2, 1, 4, 4}, shape4{1, 3, 4, 4}, shape4{2, 3, 4, 4}}) {
        CHECK(same_bits(repaint::keep_known(image, host_tensor(keep), drawn), drawn));
        host_tensor all(keep);
        for (float& value : all.values()) {
            value = 1.0F;
        }
        CHECK(same_bits(repaint::keep_known(image, all, drawn), image));
    }
    const host_tensor keep({1, 1, 4, 4});
    for (const shape4 other : {shape4{1, 3, 4, 4}, shape4{2, 1, 4, 4}, shape4{2, 3, 4, 5}, shape4{2, 3, 5, 4}}) {
        REQUIRE_THROWS_AS(repaint::keep_known(image, keep, host_tensor(other)), repaint::shape_error);
        REQUIRE_THROWS_WITH(repaint::keep_known(image, keep, host_tensor(other)), contains("must have the same shape"));
    }
    REQUIRE_THROWS_WITH(repaint::keep_known(image, host_tensor({1, 1, 4, 5}), drawn), contains("the mask is 5x4"));
    for (const shape4 other : {shape4{3, 1, 4, 4}, shape4{1, 2, 4, 4}, shape4{0, 1, 4, 4}}) {
        REQUIRE_THROWS_AS(repaint::keep_known(image, host_tensor(other), drawn), repaint::shape_error);
    }
}

// ---- tensors on the device -------------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("tensors on the device give what the host's give, bit for bit", "[facade]", backends) {
    TestType b;
    const task holes;
    for (const auto system : systems) {
        for (const bool composite : {false, true}) {
            for (const auto& range : {repaint::value_range{}, repaint::value_range{0.0F, 1.0F}}) {
                CAPTURE(to_string(system), composite, range.low);
                auto options = short_run(system);
                options.composite = composite;
                auto settings = trained();
                settings.data_range = range; // the second is not that of the images
                const repaint::inpainter inpaint(b, formula{}, settings, options);
                const auto expected = inpaint(holes.image, holes.keep, noise());
                const auto on_device = inpaint(b.upload(holes.image), b.upload(holes.keep), noise());
                static_assert(std::is_same_v<decltype(on_device), const typename TestType::tensor>);
                CHECK(same_bits(b.download(on_device), expected));

                // Either way in, either way out.
                auto run = inpaint.start(b.upload(holes.image), b.upload(holes.keep), noise());
                CHECK_FALSE(run.advance([](const repaint::progress& p) { return p.position == 4; }));
                CHECK(run.advance());
                CHECK(same_bits(run.result(), expected));
                auto other = inpaint.start(holes.image, holes.keep, noise());
                CHECK(other.advance());
                CHECK(same_bits(b.download(std::move(other).device_result()), expected));
            }
        }
    }
    // Known values come back as they came, whatever the network's range does to them.
    auto settings = trained();
    settings.data_range = {0.0F, 1.0F};
    const auto image = random_images({2, 3, 4, 4}, 7);
    const repaint::inpainter inpaint(b, formula{}, settings,
                                     {.timesteps = 4, .jumps = {.jump_length = 1, .jump_n_sample = 1}});
    const auto filled = b.download(inpaint(b.upload(image), b.upload(holes.keep), noise()));
    CHECK(same_bits(repaint::keep_known(image, holes.keep, filled), filled));
    REQUIRE_THROWS_AS(inpaint(b.upload(image), b.upload(host_tensor({1, 1, 4, 5})), noise()), repaint::shape_error);
}

// ---- the rest --------------------------------------------------------------------------------------------------------

TEST_CASE("every system has its published defaults", "[facade]") {
    const repaint::diffusion_settings settings;
    for (const auto& [options, evaluations, timesteps] : {std::tuple{repaint::official_system::defaults(), 2410U, 250},
                                                          std::tuple{repaint::diffusers_system::defaults(), 2410U, 250},
                                                          std::tuple{repaint::monai_system::defaults(), 3996U, 1000}}) {
        CAPTURE(to_string(options.system));
        const auto plan = repaint::plan_inpainting(settings, options);
        CHECK(plan.evaluations == evaluations);
        CHECK(plan.process.size() == timesteps);
        CHECK_FALSE(plan.process.eta);
        CHECK(repaint::parse_sampling_system(to_string(options.system)) == options.system);
    }
    CHECK(repaint::official_system::defaults().system == sampling_system::official);
    CHECK(repaint::diffusers_system::defaults().system == sampling_system::diffusers);
    CHECK(repaint::monai_system::defaults().system == sampling_system::monai);
    CHECK(repaint::monai_system::defaults().jumps.n_sample == 4);
    for (const auto& [options, timesteps] : {std::tuple{repaint::official_system::sampling_defaults(), 250},
                                             std::tuple{repaint::diffusers_system::sampling_defaults(), 1000},
                                             std::tuple{repaint::monai_system::sampling_defaults(), 1000}}) {
        CAPTURE(to_string(options.system));
        CHECK(repaint::plan_sampling(settings, options).walk.size() == static_cast<std::size_t>(timesteps));
    }
    REQUIRE_THROWS_WITH(repaint::parse_sampling_system("Official"), contains("accepted are official, diffusers"));
}

TEMPLATE_LIST_TEST_CASE("one model serves two backends of a kind, each on its own thread", "[facade]", backends) {
    TestType first;
    TestType second;
    const auto model = small_model(first);
    const auto image = random_images({1, 3, 8, 8}, 1);
    const auto keep = repaint::make_mask(repaint::mask_kind::half, 8, 8);
    const repaint::inpaint_options options{.timesteps = 8, .jumps = {.jump_length = 2, .jump_n_sample = 2}};
    const auto expected = repaint::inpainter(first, model, options)(image, keep, noise());
    std::vector<host_tensor> results(2);
    {
        const auto fill = [&](TestType& b, std::size_t i) {
            results[i] = repaint::inpainter(b, model, options)(image, keep, noise());
        };
        const std::jthread one([&] { fill(first, 0); });
        const std::jthread two([&] { fill(second, 1); });
    }
    CHECK(same_bits(results[0], expected));
    CHECK(same_bits(results[1], expected));
}
