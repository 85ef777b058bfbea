#pragma once

#include <bit>
#include <chrono>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <repaint/model/random_weights.hpp>

#include "engine.hpp"

namespace cli {

/// The noise sources' states as words, so that they can be stored.
inline std::vector<std::uint64_t> to_words(std::uint64_t draws) { return {draws}; }

inline std::vector<std::uint64_t> to_words(const repaint::torch_cpu_generator::state& s) {
    std::vector<std::uint64_t> words(s.words.begin(), s.words.end());
    words.push_back(static_cast<std::uint64_t>(s.position));
    words.push_back(s.has_cached ? 1 : 0);
    words.push_back(std::bit_cast<std::uint64_t>(s.cached));
    return words;
}

/// Throws format_error unless a stored state has the words it needs.
inline void expect_words(const std::vector<std::uint64_t>& words, std::size_t count) {
    if (words.size() != count) {
        throw repaint::format_error("the saved state of the noise has " + std::to_string(words.size()) +
                                    " words, expected " + std::to_string(count));
    }
}

inline void from_words(const std::vector<std::uint64_t>& words, std::uint64_t& draws) {
    expect_words(words, 1);
    draws = words[0];
}

inline void from_words(const std::vector<std::uint64_t>& words, repaint::torch_cpu_generator::state& s) {
    const std::size_t count = s.words.size();
    expect_words(words, count + 3);
    for (std::size_t i = 0; i < count; ++i) {
        s.words[i] = static_cast<std::uint32_t>(words[i]);
    }
    s.position = static_cast<int>(words[count] & 0xFFFF);
    s.has_cached = words[count + 1] != 0;
    s.cached = std::bit_cast<double>(words[count + 2]);
}

/// The engine of any backend.
template <repaint::tensor_backend B> class basic_engine final : public engine {
public:
    template <class... Arguments>
    basic_engine(std::string_view name, int threads, const opened_source& source, Arguments&&... backend_arguments)
        : name_(name), threads_(threads), backend_(std::forward<Arguments>(backend_arguments)...),
          model_(make_model(backend_, source)) {}

    [[nodiscard]] const repaint::model_description& description() const override { return model_.description; }
    [[nodiscard]] const repaint::unet_config& network() const override { return model_.network.config(); }

    [[nodiscard]] std::string_view name() const override { return name_; }
    [[nodiscard]] int threads() const override {
        if constexpr (requires { backend_.threads(); }) {
            return backend_.threads();
        } else {
            return threads_;
        }
    }
    [[nodiscard]] int training_steps() const override { return model_.diffusion.training.size(); }

    [[nodiscard]] std::size_t evaluations(const repaint::inpaint_options& options) override {
        const repaint::inpainter<B> inpaint(backend_, model_, options);
        return static_cast<std::size_t>(repaint::network_evaluations(inpaint.walk()));
    }

    batch_outcome inpaint(const batch_request& request, const saved_batch* from,
                          const progress_observer& observe) override {
        if (request.noise == noise_kind::torch_cpu) {
            return run(request, repaint::torch_cpu_noise(request.seed), from, observe);
        }
        return run(request, repaint::philox_noise(request.seed), from, observe);
    }

    repaint::host_tensor predict(const repaint::host_tensor& x, float timestep, std::span<const int> labels) override {
        const auto& network = model_.network;
        repaint::check_image_shape(network.config(), x.shape());
        if (!labels.empty() && labels.size() != static_cast<std::size_t>(x.shape().n)) {
            throw std::invalid_argument(std::to_string(labels.size()) + " labels were given for " +
                                        std::to_string(x.shape().n) + " images");
        }
        const auto embedding = network.embed(backend_, timestep, labels);
        return backend_.download(network(backend_, backend_.upload(x), embedding));
    }

    double time_evaluation(repaint::shape4 shape) override {
        const auto& network = model_.network;
        if (!timed_ || timed_->x.shape() != shape) {
            const std::vector<int> labels(network.config().classes > 0 ? static_cast<std::size_t>(shape.n) : 0, 0);
            repaint::philox_noise noise(0);
            timed_.emplace(noise(backend_, shape), network.embed(backend_, 500.0F, labels));
        }
        backend_.synchronize();
        const auto start = std::chrono::steady_clock::now();
        const auto prediction = network(backend_, timed_->x, timed_->embedding);
        backend_.synchronize();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

private:
    static repaint::diffusion_model<B> make_model(B& backend, const opened_source& source) {
        if (const auto* preset = std::get_if<repaint::model_preset>(&source)) {
            return repaint::random_model(backend, *preset);
        }
        return repaint::load_model(backend, std::get<repaint::opened_model>(source));
    }

    template <class N>
    batch_outcome run(const batch_request& request, N noise, const saved_batch* from,
                      const progress_observer& observe) {
        const repaint::inpainter<B> inpaint(backend_, model_, request.options);
        using state_type = typename repaint::inpainting<B, N>::state_type;
        auto running = [&] {
            if (from == nullptr) {
                return inpaint.start(request.images, request.keep, std::move(noise));
            }
            state_type state{from->x, static_cast<std::size_t>(from->position), noise.state()};
            from_words(from->noise, state.noise);
            return inpaint.resume(request.images, request.keep, std::move(noise), state);
        }();
        batch_outcome outcome;
        if (running.advance(observe)) {
            outcome.images = running.result();
        } else {
            auto state = running.state();
            outcome.stopped = {std::move(state.x), state.position, to_words(state.noise)};
        }
        return outcome;
    }

    struct timed_input {
        repaint::tensor_of<B> x;
        typename repaint::unet<B>::embedding embedding;
        timed_input(repaint::tensor_of<B> input, typename repaint::unet<B>::embedding e)
            : x(std::move(input)), embedding(std::move(e)) {}
    };

    std::string_view name_;
    int threads_;
    B backend_;
    repaint::diffusion_model<B> model_;
    std::optional<timed_input> timed_;
};

} // namespace cli
