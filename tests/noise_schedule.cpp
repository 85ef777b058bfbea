#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <limits>
#include <map>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/diffusion/step.hpp>
#include <repaint/diffusion/tables.hpp>
#include <repaint/diffusion/timesteps.hpp>

#include "support/catch.hpp"

namespace {

using repaint::noise_schedule;
using repaint::prediction_type;
using repaint::variance_type;

/// Lists of tests/data/schedules.txt by (name, key).
std::map<std::pair<std::string, std::string>, std::vector<double>> read_schedules() {
    std::ifstream file(std::string(REPAINT_TEST_DATA) + "/schedules.txt");
    std::map<std::pair<std::string, std::string>, std::vector<double>> lists;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string name;
        std::string key;
        words >> name >> key;
        std::vector<double>& values = lists[{name, key}];
        for (std::string word; words >> word;) {
            values.push_back(std::stod(word));
        }
    }
    return lists;
}

/// The largest difference, as a share of the expected value.
template <class A, class B> double worst(const A& actual, const B& expected) {
    REQUIRE(actual.size() == expected.size());
    double result = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto e = static_cast<double>(expected[i]);
        const auto difference = std::abs(static_cast<double>(actual[i]) - e);
        result = std::max(result, e == 0.0 ? difference : difference / std::abs(e));
    }
    return result;
}

std::string message(int steps, std::string_view spec) {
    try {
        static_cast<void>(repaint::respaced_timesteps(steps, spec));
    } catch (const std::invalid_argument& e) {
        return e.what();
    }
    return "";
}

} // namespace

TEST_CASE("respacing reproduces the official timestep maps") {
    const auto lists = read_schedules();
    REQUIRE(!lists.empty());
    const noise_schedule base = noise_schedule::linear(1000);
    for (const std::string spec : {"1000", "250", "100", "50", "25"}) {
        CAPTURE(spec);
        const auto& expected = lists.at({"respaced_" + spec, "timestep_map"});
        const noise_schedule schedule = base.respaced(spec);
        REQUIRE(worst(schedule.timesteps(), expected) == 0.0);
        REQUIRE(worst(repaint::respaced_timesteps(1000, spec), expected) == 0.0);
        CHECK(schedule.timestep(0) == 0);
        CHECK(schedule.timestep(schedule.size() - 1) == 999);
    }
}

TEST_CASE("respaced tables equal the official float64 tables") {
    const auto lists = read_schedules();
    for (const std::string count : {"250", "25"}) {
        CAPTURE(count);
        const std::string name = "respaced_" + count;
        const noise_schedule schedule = noise_schedule::linear(1000).respaced(count);
        // A last-bit difference of an alpha_bar is magnified to 1e-12 in beta[0] = 1 - alpha_bar[0]: the products have
        // to be made in the official order, and then these are equal to the last bit.
        CHECK(worst(schedule.betas(), lists.at({name, "betas"})) == 0.0);
        CHECK(worst(schedule.alpha_bars(), lists.at({name, "alphas_cumprod"})) == 0.0);
        CHECK(worst(schedule.posterior_variance(), lists.at({name, "posterior_variance"})) == 0.0);
        // Logarithms of another library may differ in the last bit.
        CHECK(worst(schedule.posterior_log_variance(), lists.at({name, "posterior_log_variance_clipped"})) < 1e-15);
        CHECK(schedule.posterior_log_variance()[0] == schedule.posterior_log_variance()[1]);
        CHECK(schedule.alpha_bars_previous()[0] == 1.0);
        CHECK(schedule.alpha_bars_previous()[7] == schedule.alpha_bars()[6]);
    }
}

TEST_CASE("reverse steps hold the official coefficients, rounded once") {
    const auto lists = read_schedules();
    for (const std::string count : {"250", "25"}) {
        const std::string name = "respaced_" + count;
        const noise_schedule schedule = noise_schedule::linear(1000).respaced(count);
        const auto rounded = [&](const char* key, int t) {
            return static_cast<float>(lists.at({name, key})[static_cast<std::size_t>(t)]);
        };
        for (int t = 0; t < schedule.size(); ++t) {
            CAPTURE(count, t);
            const auto p = schedule.reverse(t, prediction_type::epsilon, variance_type::learned_range, true);
            REQUIRE(p.x0_from_x == rounded("sqrt_recip_alphas_cumprod", t));
            REQUIRE(p.x0_from_prediction == -rounded("sqrt_recipm1_alphas_cumprod", t));
            REQUIRE(p.mean_from_x0 == rounded("posterior_mean_coef1", t));
            REQUIRE(p.mean_from_x == rounded("posterior_mean_coef2", t));
            // Again the logarithm: one bit of float64 may decide how the float32 rounds.
            REQUIRE(p.min_log_variance == approx(rounded("posterior_log_variance_clipped", t)).epsilon(1e-7));
            REQUIRE(p.max_log_variance ==
                    approx(std::log(lists.at({name, "betas"})[static_cast<std::size_t>(t)])).epsilon(1e-7));
            REQUIRE(p.noise == (t == 0 ? 0.0F : 1.0F));
            REQUIRE(p.clip);
        }
    }
}

TEST_CASE("each prediction and variance type fills its part of the step") {
    const noise_schedule schedule = noise_schedule::linear(1000).respaced("250");
    const int t = 100;
    const std::size_t i = 100;

    const auto x_0 = schedule.reverse(t, prediction_type::x_0, variance_type::fixed_small, false);
    CHECK(x_0.x0_from_x == 0.0F);
    CHECK(x_0.x0_from_prediction == 1.0F);
    CHECK(!x_0.clip);
    CHECK(x_0.prediction == prediction_type::x_0);
    CHECK(x_0.variance == variance_type::fixed_small);
    CHECK(x_0.min_log_variance == approx(std::log(schedule.posterior_variance()[i])).epsilon(1e-7));
    CHECK(x_0.max_log_variance == x_0.min_log_variance);

    // x_0 recovered from the mean it leads to: 1e-4 because the factors 1 / 0.0x magnify the float32 rounding of both.
    const auto previous = schedule.reverse(t, prediction_type::previous_x, variance_type::fixed_large, true);
    const float mean = previous.mean_from_x0 * 0.4F + previous.mean_from_x * -0.7F;
    CHECK(repaint::predicted_x0(previous, -0.7F, mean) == approx(0.4).epsilon(1e-4));
    CHECK(previous.min_log_variance == approx(std::log(schedule.betas()[i])).epsilon(1e-7));
    CHECK(previous.max_log_variance == previous.min_log_variance);

    const auto large = schedule.reverse(0, prediction_type::epsilon, variance_type::fixed_large, true);
    CHECK(large.min_log_variance == approx(std::log(schedule.posterior_variance()[1])).epsilon(1e-7));

    // At the last step the mean is the predicted x_0 itself.
    const auto last = schedule.reverse(0, prediction_type::epsilon, variance_type::learned_range, true);
    CHECK(last.mean_from_x0 == 1.0F);
    CHECK(last.mean_from_x == 0.0F);
    CHECK(last.noise == 0.0F);
}

TEST_CASE("mixings take their roots in float32, from rounded betas") {
    const noise_schedule schedule = noise_schedule::linear(1000).respaced("250");
    // 1 - float32(0.9999) is 1.00016594e-4, not 1e-4: published samples carry that difference.
    const auto marginal = schedule.marginal(0);
    CHECK(marginal.noise == std::sqrt(1.0F - 0.9999F));
    CHECK(static_cast<double>(marginal.noise) * static_cast<double>(marginal.noise) ==
          approx(1.00016594e-4).epsilon(1e-6));
    CHECK(marginal.signal == std::sqrt(0.9999F));
    for (int t = 0; t < schedule.size(); ++t) {
        const auto beta = static_cast<float>(schedule.betas()[static_cast<std::size_t>(t)]);
        REQUIRE(schedule.forward(t).signal == std::sqrt(1.0F - beta));
        REQUIRE(schedule.forward(t).noise == std::sqrt(beta));
    }
}

TEST_CASE("linear, cosine and scaled linear schedules have their known values") {
    const noise_schedule linear = noise_schedule::linear();
    REQUIRE(linear.size() == 1000);
    CHECK(linear.betas()[0] == 0.0001);
    CHECK(linear.betas()[999] == 0.02);
    CHECK(linear.alpha_bars()[0] == 0.9999);
    CHECK(linear.alpha_bars()[499] == approx(0.07858724288177824).epsilon(1e-15));
    CHECK(linear.alpha_bars()[999] == approx(4.035829765375676e-05).epsilon(1e-15));
    CHECK(linear.timestep(999) == 999);
    CHECK(noise_schedule::linear(250).betas()[249] == 0.08);
    CHECK(noise_schedule::linear(20).size() == 20);

    // The cosine is the C library's; beta[0] = 1 - 0.99996 magnifies its last bit to 3e-12.
    const noise_schedule cosine = noise_schedule::cosine();
    CHECK(cosine.betas()[0] == approx(4.1284224821969140e-05).epsilon(1e-11));
    CHECK(cosine.betas()[499] == approx(3.1458862304780677e-03).epsilon(1e-12));
    CHECK(cosine.betas()[998] == approx(0.749999393).epsilon(1e-8));
    CHECK(cosine.betas()[999] == 0.999);
    CHECK(noise_schedule::cosine(1).size() == 1);

    const noise_schedule scaled = noise_schedule::scaled_linear();
    CHECK(scaled.betas()[0] == approx(0.00085).epsilon(1e-15));
    CHECK(scaled.betas()[999] == approx(0.012).epsilon(1e-15));
    const double middle = (std::sqrt(0.00085) * 499 + std::sqrt(0.012) * 500) / 999;
    CHECK(scaled.betas()[500] == approx(middle * middle).epsilon(1e-14));
    CHECK(noise_schedule::scaled_linear(1).betas()[0] == approx(0.00085).epsilon(1e-15));
}

TEST_CASE("respacing conserves the process it visits") {
    const noise_schedule base = noise_schedule::linear(1000);
    for (const std::string spec : {"250", "10,15,20", "ddim25", "7,1,1,30", "1", ""}) {
        CAPTURE(spec);
        const noise_schedule schedule = base.respaced(spec);
        for (int t = 0; t < schedule.size(); ++t) {
            const auto kept = static_cast<std::size_t>(schedule.timestep(t));
            // Rounding of up to 1000 products.
            REQUIRE(schedule.alpha_bars()[static_cast<std::size_t>(t)] ==
                    approx(base.alpha_bars()[kept]).epsilon(1e-12));
        }
    }
    CHECK(base.respaced("").size() == 1000);
    // beta = 1 - ratio of alpha_bars: cancellation leaves 1e-16 / 1e-4.
    CHECK(worst(base.respaced("").betas(), base.betas()) < 1e-11);
}

TEST_CASE("respacing a respaced schedule composes the timestep map") {
    const noise_schedule half = noise_schedule::linear(1000).respaced("ddim500");
    CHECK(half.timestep(3) == 6);
    const std::vector<int> kept = {1, 4, 499};
    const noise_schedule few = half.respaced(std::span<const int>(kept));
    REQUIRE(few.size() == 3);
    CHECK(few.timestep(0) == 2);
    CHECK(few.timestep(1) == 8);
    CHECK(few.timestep(2) == 998);
    CHECK(few.alpha_bars()[1] == approx(noise_schedule::linear(1000).alpha_bars()[8]).epsilon(1e-12));
    CHECK(half.respaced("ddim5").timestep(4) == 800);
}

TEST_CASE("respacings round half to even and split into sections") {
    using steps = std::vector<int>;
    CHECK(repaint::respaced_timesteps(10, "10") == steps{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    CHECK(repaint::respaced_timesteps(10, "1") == steps{0});
    CHECK(repaint::respaced_timesteps(1, "1") == steps{0});
    CHECK(repaint::respaced_timesteps(10, "2") == steps{0, 9});
    // Strides of 2.5 and 4.5: 2.5 -> 2, 7.5 -> 8, 4.5 -> 4.
    CHECK(repaint::respaced_timesteps(11, "5") == steps{0, 2, 5, 8, 10});
    CHECK(repaint::respaced_timesteps(10, "3") == steps{0, 4, 9});
    // Sections of 4, 3 and 3.
    CHECK(repaint::respaced_timesteps(10, "2,1,3") == steps{0, 3, 4, 7, 8, 9});
    CHECK(repaint::respaced_timesteps(10, " 2, 1 ,3") == steps{0, 3, 4, 7, 8, 9});
    CHECK(repaint::respaced_timesteps(10, "ddim5") == steps{0, 2, 4, 6, 8});
    CHECK(repaint::respaced_timesteps(10, "ddim4") == steps{0, 3, 6, 9});
    CHECK(repaint::respaced_timesteps(10, "ddim10").size() == 10);
    CHECK(repaint::respaced_timesteps(1000, "ddim25")[24] == 960);
    CHECK(repaint::respaced_timesteps(1000, "ddim250")[249] == 996);
    CHECK(repaint::respaced_timesteps(3, "") == steps{0, 1, 2});
    // Middles at 499.5 tell summed strides from multiplied ones, which would give 500, 499 and 50.
    CHECK(repaint::respaced_timesteps(1000, "21")[10] == 499);
    CHECK(repaint::respaced_timesteps(1000, "31")[15] == 500);
    CHECK(repaint::respaced_timesteps(100, "15")[7] == 49);
    // Sections of 334, 333 and 333.
    const auto sections = repaint::respaced_timesteps(1000, "10,15,20");
    REQUIRE(sections.size() == 45);
    CHECK(sections[9] == 333);
    CHECK(sections[10] == 334);
    CHECK(sections[25] == 667);
    CHECK(sections[44] == 999);
    // Whatever the count, positions stay distinct and both ends are kept.
    for (int count = 2; count <= 97; ++count) {
        const auto kept = repaint::respaced_timesteps(97, std::to_string(count));
        REQUIRE(kept.size() == static_cast<std::size_t>(count));
        REQUIRE(kept.front() == 0);
        REQUIRE(kept.back() == 96);
        for (std::size_t i = 1; i < kept.size(); ++i) {
            REQUIRE(kept[i] > kept[i - 1]);
        }
    }
}

TEST_CASE("impossible respacings are refused in one sentence") {
    CHECK_THAT(message(1000, "10,,20"), contains("\"10,,20\" has an empty section"));
    CHECK_THAT(message(1000, "10,"), contains("empty section"));
    CHECK_THAT(message(1000, ","), contains("empty section"));
    CHECK_THAT(message(1000, " "), contains("empty section"));
    CHECK_THAT(message(1000, "ddim"), contains("empty section"));
    CHECK_THAT(message(1000, "many"), contains("\"many\" is not a count"));
    CHECK_THAT(message(1000, "10,x"), contains("\"x\" is not a count"));
    CHECK_THAT(message(1000, "25.0"), contains("is not a count"));
    CHECK_THAT(message(1000, "+25"), contains("is not a count"));
    CHECK_THAT(message(1000, "0x19"), contains("is not a count"));
    CHECK_THAT(message(1000, "ddimx"), contains("\"x\" is not a count"));
    CHECK_THAT(message(1000, "0"), contains("a count must be at least 1, got 0"));
    CHECK_THAT(message(1000, "-5"), contains("a count must be at least 1, got -5"));
    CHECK_THAT(message(1000, "ddim0"), contains("a count must be at least 1, got 0"));
    CHECK_THAT(message(1000, "1001"), contains("section 1 holds 1000 timesteps, fewer than the 1001 asked for"));
    CHECK(message(1000, "10,500").empty());
    CHECK_THAT(message(1000, "10,501"), contains("section 2 holds 500 timesteps, fewer than the 501 asked for"));
    CHECK_THAT(message(1000, "99999999999999999999"), contains("is out of range"));
    CHECK_THAT(message(1000, "2147483647"), contains("is out of range"));
    CHECK_THAT(message(1000, "ddim300"), contains("no integer stride visits exactly 300 of 1000 timesteps"));
    CHECK_THAT(message(1000, "ddim2000"), contains("no integer stride"));
    CHECK_THAT(message(3, "1,1,1,1"), contains("has 4 sections, but there are only 3 timesteps"));
    CHECK_THAT(message(0, "1"), contains("must be 1 to 1000000, got 0"));
    CHECK_THAT(message(-1, ""), contains("got -1"));
    CHECK_THAT(message(2147483647, ""), contains("got 2147483647"));
    // Refused before anything of its size is allocated, and quoted in part only.
    const std::string flood(1'000'000, ',');
    CHECK(message(1000, flood).size() < 200);
    CHECK(message(1000, std::string(1'000'000, '7')).size() < 300);
}

TEST_CASE("impossible schedules are refused with the numbers") {
    const auto with = [](std::vector<double> betas) { return noise_schedule(std::move(betas)); };
    CHECK_THROWS_WITH(with({}), contains("the number of betas must be 1 to 1000000, got 0"));
    CHECK_THROWS_WITH(with({0.1, 0.0}), contains("beta[1] is 0,"));
    CHECK_THROWS_WITH(with({0.1, 0.2, -0.5}), contains("beta[2] is -0.5,"));
    CHECK_THROWS_WITH(with({1.5}), contains("beta[0] is 1.5,"));
    CHECK_THROWS_WITH(with({0.1, std::numeric_limits<double>::quiet_NaN()}), contains("nan"));
    CHECK_THROWS_WITH(with({std::numeric_limits<double>::infinity()}), contains("inf"));
    CHECK_THROWS_WITH(with({1e-20}), contains("beta[0] is 1e-20,"));
    CHECK_THROWS_AS(with({2.0}), std::invalid_argument);
    CHECK_THROWS_WITH(noise_schedule::linear(0), contains("must be 1 to 1000000, got 0"));
    CHECK_THROWS_WITH(noise_schedule::linear(-3), contains("got -3"));
    CHECK_THROWS_WITH(noise_schedule::linear(2147483647), contains("got 2147483647"));
    CHECK_THROWS_WITH(noise_schedule::linear(19), contains("beta[18] is 1.05263158,"));
    CHECK_THROWS_AS(noise_schedule::cosine(0), std::invalid_argument);
    CHECK_THROWS_WITH(noise_schedule::scaled_linear(10, -1.0), contains("got -1 and 0.012"));
    CHECK_THROWS_WITH(noise_schedule::scaled_linear(10, 0.1, std::nan("")), contains("nan"));

    const noise_schedule schedule = noise_schedule::linear(100);
    CHECK_THROWS_WITH(schedule.timestep(100), contains("timestep index 100 is outside 0..99"));
    CHECK_THROWS_WITH(schedule.forward(-1), contains("timestep index -1 is outside 0..99"));
    CHECK_THROWS_AS(schedule.marginal(100), std::invalid_argument);
    CHECK_THROWS_AS(schedule.reverse(100, prediction_type::epsilon, variance_type::fixed_small, true),
                    std::invalid_argument);

    const auto keep = [&](std::vector<int> kept) { return schedule.respaced(std::span<const int>(kept)); };
    CHECK_THROWS_WITH(keep({3, 2}), contains("entry 1 is 2 after 3"));
    CHECK_THROWS_WITH(keep({2, 2}), contains("entry 1 is 2 after 2"));
    CHECK_THROWS_WITH(keep({-1}), contains("entry 0 is -1"));
    CHECK_THROWS_WITH(keep({5, 100}), contains("entry 1 is 100"));
    CHECK_THROWS_WITH(keep({}), contains("got 0"));
}

TEST_CASE("a schedule may end without any signal") {
    const noise_schedule schedule(std::vector<double>{0.3, 0.6, 1.0});
    CHECK(schedule.alpha_bars()[2] == 0.0);
    CHECK(schedule.marginal(2).signal == 0.0F);
    CHECK(schedule.marginal(2).noise == 1.0F);
    CHECK_THROWS_WITH(schedule.reverse(2, prediction_type::epsilon, variance_type::fixed_small, true),
                      contains("timestep index 2 no signal is left"));
    const auto p = schedule.reverse(2, prediction_type::x_0, variance_type::fixed_small, true);
    CHECK(p.mean_from_x0 == approx(std::sqrt(0.28)));
    CHECK(p.mean_from_x == 0.0F);
}

TEST_CASE("a schedule of one timestep has finite coefficients") {
    const noise_schedule schedule(std::vector<double>{0.25});
    CHECK(schedule.posterior_variance()[0] == 0.0);
    CHECK(schedule.posterior_log_variance()[0] == approx(std::log(0.25)));
    for (const auto prediction : {prediction_type::epsilon, prediction_type::x_0, prediction_type::previous_x}) {
        for (const auto variance : {variance_type::learned_range, variance_type::learned, variance_type::fixed_small,
                                    variance_type::fixed_large}) {
            const auto p = schedule.reverse(0, prediction, variance, true);
            CHECK(std::isfinite(p.min_log_variance));
            CHECK(std::isfinite(p.max_log_variance));
            CHECK(std::isfinite(repaint::reverse_step(p, 0.5F, 0.1F, 0.2F, 0.3F, 1.0F)));
        }
    }
}
