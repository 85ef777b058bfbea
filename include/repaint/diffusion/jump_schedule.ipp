#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/step_values.hpp>
#include <repaint/core/text.hpp>
#include <repaint/diffusion/jump_schedule.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD const char* first_unknown_jump_option(const jump_options& options,
                                                   std::initializer_list<std::string_view> known) {
    const jump_options usual;
    const std::pair<const char*, bool> all[]{{"n_sample", options.n_sample != usual.n_sample},
                                             {"jump_length", options.jump_length != usual.jump_length},
                                             {"jump_n_sample", options.jump_n_sample != usual.jump_n_sample},
                                             {"jump2_length", options.jump2_length != usual.jump2_length},
                                             {"jump2_n_sample", options.jump2_n_sample != usual.jump2_n_sample},
                                             {"jump3_length", options.jump3_length != usual.jump3_length},
                                             {"jump3_n_sample", options.jump3_n_sample != usual.jump3_n_sample},
                                             {"start_resampling", options.start_resampling != usual.start_resampling}};
    for (const auto& [name, given] : all) {
        if (given && std::find(known.begin(), known.end(), std::string_view(name)) == known.end()) {
            return name;
        }
    }
    return nullptr;
}

/// Where one level of jumps turns up, and how often it still may.
class turning_points {
public:
    turning_points(int timesteps, int length, int passes, int start)
        : limit_(timesteps - length), length_(length), jumps_(passes - 1), start_(start - length) {
        if (jumps_ > 0) {
            points_.resize(static_cast<std::size_t>((limit_ - 1) / length_ + 1));
        }
    }

    /// True when the walk is to jump from t; uses up one jump of that timestep.
    bool take(int t) {
        if (jumps_ == 0 || t > start_ || t >= limit_ || t % length_ != 0) {
            return false;
        }
        point& here = points_[static_cast<std::size_t>(t / length_)];
        if (here.round != round_) {
            here = {.round = round_, .taken = 0};
        }
        if (here.taken == jumps_) {
            return false;
        }
        ++here.taken;
        return true;
    }

    /// Gives every timestep all of its jumps again, in constant time: nested walks do this often.
    void refill() { ++round_; }

private:
    struct point {
        int round = 0;
        int taken = 0;
    };

    int limit_;
    int length_;
    int jumps_;
    int start_;
    int round_ = 0;
    std::vector<point> points_;
};

inline void check_jump(const char* length_name, const char* passes_name, int length, int passes, int timesteps) {
    if (length < 1) {
        throw std::invalid_argument(joined_text({std::string(length_name), " must be at least 1, got ", length}));
    }
    if (passes < 1) {
        throw std::invalid_argument(joined_text({std::string(passes_name), " must be at least 1, got ", passes}));
    }
    if (passes > 1 && length >= timesteps) {
        throw std::invalid_argument(
            joined_text({std::string(length_name), " must be below timesteps: ", length, " of ", timesteps}));
    }
}

} // namespace detail

REPAINT_COLD std::vector<transition> jump_schedule(int timesteps, const jump_options& options) {
    if (timesteps < 1) {
        throw std::invalid_argument(joined_text({"timesteps must be at least 1, got ", timesteps}));
    }
    if (static_cast<std::size_t>(timesteps) > detail::most_transitions) {
        throw std::invalid_argument(
            joined_text({"timesteps must be at most ", detail::most_transitions, ", got ", timesteps}));
    }
    if (options.n_sample < 1) {
        throw std::invalid_argument(joined_text({"n_sample must be at least 1, got ", options.n_sample}));
    }
    if (options.start_resampling < 0) {
        throw std::invalid_argument(
            joined_text({"start_resampling must be at least 0, got ", options.start_resampling}));
    }
    detail::check_jump("jump_length", "jump_n_sample", options.jump_length, options.jump_n_sample, timesteps);
    detail::check_jump("jump2_length", "jump2_n_sample", options.jump2_length, options.jump2_n_sample, timesteps);
    detail::check_jump("jump3_length", "jump3_n_sample", options.jump3_length, options.jump3_n_sample, timesteps);

    std::vector<transition> walk;
    int t = timesteps - 1;
    const auto move_to = [&](int next) {
        if (walk.size() >= detail::most_transitions) {
            throw std::invalid_argument(
                joined_text({"jump_schedule: the walk over ", timesteps, " timesteps has more than ",
                             detail::most_transitions, " transitions; lower n_sample or the jump options"}));
        }
        walk.push_back({.from = t, .to = next});
        t = next;
    };
    detail::turning_points jumps(timesteps, options.jump_length, options.jump_n_sample, options.start_resampling);
    detail::turning_points jumps2(timesteps, options.jump2_length, options.jump2_n_sample, options.start_resampling);
    detail::turning_points jumps3(timesteps, options.jump3_length, options.jump3_n_sample, options.start_resampling);
    const auto climb = [&](int length) {
        for (int i = 0; i < length; ++i) {
            move_to(t + 1);
        }
    };
    for (;;) {
        // The two topmost timesteps are never repeated, as in the published walk.
        if (t < timesteps - 2 && t <= options.start_resampling) {
            for (int i = 1; i < options.n_sample; ++i) {
                move_to(t + 1);
                move_to(t - 1);
            }
        }
        // Innermost level first, and each level looks at where the one before has left the walk.
        if (jumps3.take(t)) {
            climb(options.jump3_length);
        }
        if (jumps2.take(t)) {
            climb(options.jump2_length);
            jumps3.refill();
        }
        if (jumps.take(t)) {
            climb(options.jump_length);
            jumps2.refill();
            jumps3.refill();
        }
        if (t == 0) {
            break;
        }
        move_to(t - 1);
    }
    move_to(-1);
    return walk;
}

REPAINT_COLD int network_evaluations(std::span<const transition> walk) {
    int count = 0;
    for (const transition& move : walk) {
        count += move.to < move.from ? 1 : 0;
    }
    return count;
}

} // namespace repaint
