#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/diffusion/jump_schedule.hpp>

#include "support/catch.hpp"

namespace {

using repaint::jump_options;
using repaint::jump_schedule;
using repaint::transition;

/// The timesteps a walk passes through, the last being -1.
std::vector<int> times_of(const std::vector<transition>& walk) {
    std::vector<int> times;
    if (!walk.empty()) {
        times.push_back(walk.front().from);
    }
    for (const transition& move : walk) {
        REQUIRE(times.back() == move.from);
        times.push_back(move.to);
    }
    return times;
}

int moves_up(const std::vector<transition>& walk) {
    return static_cast<int>(
        std::count_if(walk.begin(), walk.end(), [](const transition& move) { return move.to > move.from; }));
}

/// The definition, word for word: tables of jumps left that are rebuilt whole. Slow, and independent of the library's.
std::vector<int> walk_by_definition(int timesteps, const jump_options& o) {
    const auto table = [&](int length, int passes) {
        std::map<int, int> jumps;
        for (int j = 0; j < timesteps - length; j += length) {
            jumps[j] = passes - 1;
        }
        return jumps;
    };
    auto jumps1 = table(o.jump_length, o.jump_n_sample);
    auto jumps2 = table(o.jump2_length, o.jump2_n_sample);
    auto jumps3 = table(o.jump3_length, o.jump3_n_sample);
    std::vector<int> times;
    int t = timesteps;
    const auto up = [&](int length) {
        for (int i = 0; i < length; ++i) {
            times.push_back(++t);
        }
    };
    while (t >= 1) {
        times.push_back(--t);
        if (t + 1 < timesteps - 1 && t <= o.start_resampling) {
            for (int i = 0; i < o.n_sample - 1; ++i) {
                times.push_back(++t);
                times.push_back(--t);
            }
        }
        if (jumps3[t] > 0 && t <= o.start_resampling - o.jump3_length) {
            --jumps3[t];
            up(o.jump3_length);
        }
        if (jumps2[t] > 0 && t <= o.start_resampling - o.jump2_length) {
            --jumps2[t];
            up(o.jump2_length);
            jumps3 = table(o.jump3_length, o.jump3_n_sample);
        }
        if (jumps1[t] > 0 && t <= o.start_resampling - o.jump_length) {
            --jumps1[t];
            up(o.jump_length);
            jumps2 = table(o.jump2_length, o.jump2_n_sample);
            jumps3 = table(o.jump3_length, o.jump3_n_sample);
        }
    }
    times.push_back(-1);
    return times;
}

} // namespace

TEST_CASE("walks equal the official jump lists") {
    std::ifstream file(std::string(REPAINT_TEST_DATA) + "/schedules.txt");
    int compared = 0;
    std::vector<int> o;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string name;
        std::string key;
        words >> name >> key;
        if (name.rfind("jump_", 0) != 0) {
            continue;
        }
        std::vector<int> values;
        for (int value = 0; words >> value;) {
            values.push_back(value);
        }
        if (key == "options") {
            REQUIRE(values.size() == 9);
            o = values;
            continue;
        }
        CAPTURE(name);
        const jump_options options{.n_sample = o[1],
                                   .jump_length = o[2],
                                   .jump_n_sample = o[3],
                                   .jump2_length = o[4],
                                   .jump2_n_sample = o[5],
                                   .jump3_length = o[6],
                                   .jump3_n_sample = o[7],
                                   .start_resampling = o[8]};
        CHECK(times_of(jump_schedule(o[0], options)) == values);
        ++compared;
    }
    REQUIRE(compared == 7);
}

TEST_CASE("the published walk has 4570 transitions, 2410 of them evaluations") {
    const auto walk = jump_schedule(250);
    CHECK(walk.size() == 4570);
    CHECK(repaint::network_evaluations(walk) == 2410);
    CHECK(moves_up(walk) == 2160);
    CHECK(walk.front() == transition{.from = 249, .to = 248});
    CHECK(walk.back() == transition{.from = 0, .to = -1});
}

TEST_CASE("evaluations and resampling steps of known settings") {
    struct row {
        int timesteps, jump_length, jump_n_sample, evaluations, up;
    };
    const row rows[] = {
        {250, 10, 1, 250, 0},      {250, 1, 2, 499, 249},     {250, 10, 2, 490, 240},     {250, 1, 5, 1246, 996},
        {250, 10, 5, 1210, 960},   {250, 1, 10, 2491, 2241},  {250, 10, 10, 2410, 2160},  {250, 5, 5, 1230, 980},
        {250, 10, 15, 3610, 3360}, {250, 5, 10, 2455, 2205},  {250, 10, 20, 4810, 4560},  {250, 5, 15, 3680, 3430},
        {250, 20, 10, 2410, 2160}, {250, 50, 10, 2050, 1800}, {100, 10, 10, 910, 810},    {50, 10, 10, 410, 360},
        {25, 10, 10, 205, 180},    {20, 10, 10, 110, 90},     {1000, 10, 10, 9910, 8910}, {5, 2, 2, 9, 4},
    };
    for (const row& r : rows) {
        CAPTURE(r.timesteps, r.jump_length, r.jump_n_sample);
        const auto walk = jump_schedule(r.timesteps, {.jump_length = r.jump_length, .jump_n_sample = r.jump_n_sample});
        CHECK(repaint::network_evaluations(walk) == r.evaluations);
        CHECK(moves_up(walk) == r.up);
        CHECK(walk.size() == static_cast<std::size_t>(r.evaluations + r.up));
    }
    // From a start on a multiple of jump_length, start / jump_length points make 9 jumps of 10.
    const int starts[][2] = {{200, 2050}, {150, 1600}, {100, 1150}, {50, 700}};
    for (const auto& [start, evaluations] : starts) {
        CHECK(repaint::network_evaluations(jump_schedule(250, {.start_resampling = start})) == evaluations);
    }
    CHECK(times_of(jump_schedule(5, {.jump_length = 2, .jump_n_sample = 2})) ==
          std::vector<int>{4, 3, 2, 3, 4, 3, 2, 1, 0, 1, 2, 1, 0, -1});
}

TEST_CASE("without resampling the walk goes straight down") {
    for (const int timesteps : {1, 2, 3, 250}) {
        const auto walk = jump_schedule(timesteps, {.jump_n_sample = 1});
        REQUIRE(walk.size() == static_cast<std::size_t>(timesteps));
        CHECK(repaint::network_evaluations(walk) == timesteps);
        for (int i = 0; i < timesteps; ++i) {
            CHECK(walk[static_cast<std::size_t>(i)] == transition{.from = timesteps - 1 - i, .to = timesteps - 2 - i});
        }
    }
    CHECK(repaint::network_evaluations({}) == 0);
}

TEST_CASE("walks follow the definition for any options") {
    std::uint32_t random = 12345;
    const auto pick = [&](int low, int high) {
        random = random * 1664525U + 1013904223U;
        return low + static_cast<int>((random >> 8U) % static_cast<std::uint32_t>(high - low + 1));
    };
    for (int i = 0; i < 400; ++i) {
        const int timesteps = pick(2, 20);
        const jump_options options{.n_sample = pick(1, 3),
                                   .jump_length = pick(1, timesteps - 1),
                                   .jump_n_sample = pick(1, 3),
                                   .jump2_length = pick(1, timesteps - 1),
                                   .jump2_n_sample = pick(1, 3),
                                   .jump3_length = pick(1, timesteps - 1),
                                   .jump3_n_sample = pick(1, 2),
                                   .start_resampling = pick(0, 25)};
        CAPTURE(timesteps, options.n_sample, options.jump_length, options.jump_n_sample, options.jump2_length,
                options.jump2_n_sample, options.jump3_length, options.jump3_n_sample, options.start_resampling);
        const auto walk = jump_schedule(timesteps, options);
        REQUIRE(times_of(walk) == walk_by_definition(timesteps, options));
        REQUIRE(walk.front().from == timesteps - 1);
        REQUIRE(walk.back() == transition{.from = 0, .to = -1});
        REQUIRE(repaint::network_evaluations(walk) - moves_up(walk) == timesteps);
        for (const transition& move : walk) {
            REQUIRE((move.to - move.from == 1 || move.from - move.to == 1));
            REQUIRE((move.to >= -1 && move.to < timesteps));
        }
    }
}

TEST_CASE("impossible walks are refused with the numbers") {
    CHECK_THROWS_AS(jump_schedule(0), std::invalid_argument);
    CHECK_THROWS_WITH(jump_schedule(-7), contains("timesteps must be at least 1, got -7"));
    CHECK_THROWS_WITH(jump_schedule(8), contains("jump_length must be below timesteps: 10 of 8"));
    CHECK_THROWS_WITH(jump_schedule(10), contains("jump_length must be below timesteps: 10 of 10"));
    CHECK_NOTHROW(jump_schedule(11));
    CHECK_NOTHROW(jump_schedule(10, {.jump_n_sample = 1}));
    CHECK_THROWS_WITH(jump_schedule(250, {.n_sample = 0}), contains("n_sample must be at least 1, got 0"));
    CHECK_THROWS_WITH(jump_schedule(250, {.jump_length = 0}), contains("jump_length must be at least 1, got 0"));
    CHECK_THROWS_WITH(jump_schedule(250, {.jump_n_sample = -1}), contains("jump_n_sample must be at least 1, got -1"));
    CHECK_THROWS_WITH(jump_schedule(250, {.jump2_length = 0}), contains("jump2_length must be at least 1"));
    CHECK_THROWS_WITH(jump_schedule(250, {.jump2_n_sample = 0}), contains("jump2_n_sample must be at least 1"));
    CHECK_THROWS_WITH(jump_schedule(250, {.jump3_length = std::numeric_limits<int>::min()}),
                      contains("jump3_length must be at least 1"));
    CHECK_THROWS_WITH(jump_schedule(250, {.jump3_n_sample = 0}), contains("jump3_n_sample must be at least 1"));
    CHECK_THROWS_WITH(jump_schedule(250, {.jump2_length = 250, .jump2_n_sample = 2}),
                      contains("jump2_length must be below timesteps: 250 of 250"));
    CHECK_THROWS_WITH(jump_schedule(250, {.start_resampling = -1}), contains("start_resampling must be at least 0"));
    CHECK_NOTHROW(jump_schedule(250, {.jump_length = std::numeric_limits<int>::max(), .jump_n_sample = 1}));
}

TEST_CASE("walks too long to mean anything are refused, quickly") {
    constexpr int most = std::numeric_limits<int>::max();
    CHECK_THROWS_WITH(jump_schedule(250, {.jump_n_sample = most}), contains("more than 10000000 transitions"));
    CHECK_THROWS_WITH(jump_schedule(250, {.n_sample = most}), contains("more than 10000000 transitions"));
    CHECK_THROWS_WITH(jump_schedule(most), contains("timesteps must be at most 10000000"));
    // Nested jumps multiply, and each refills the levels below it.
    CHECK_THROWS_WITH(jump_schedule(100000, {.jump_length = 1,
                                             .jump_n_sample = 1000,
                                             .jump2_length = 1,
                                             .jump2_n_sample = 1000,
                                             .jump3_length = 1,
                                             .jump3_n_sample = 1000}),
                      contains("more than 10000000 transitions"));
}
