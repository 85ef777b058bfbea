#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <repaint/backend/dry_run.hpp>
#include <repaint/diffusion/class_guidance.hpp>
#include <repaint/model/random_weights.hpp>

#include "engine.hpp"
#include "run_state.hpp"

namespace cli {

/// The engine of any backend.
template <repaint::tensor_backend B> class basic_engine final : public engine {
public:
    template <class... Arguments>
    basic_engine(std::string_view name, const engine_options& options, const source_opener& open,
                 Arguments&&... backend_arguments)
        : name_(name), threads_(options.threads), precision_(options.precision),
          classifier_scale_(options.guidance ? options.guidance->scale : 1.0F),
          backend_(std::forward<Arguments>(backend_arguments)...), model_(load(open())) {}

    [[nodiscard]] const repaint::model_description& description() const override { return model_.description; }
    [[nodiscard]] const repaint::unet_config& network() const override { return model_.network.config(); }

    [[nodiscard]] const repaint::classifier_config* classifier() const override {
        return classifier_ ? &classifier_->config() : nullptr;
    }

    [[nodiscard]] int classes() const override {
        return network().classes > 0 || !classifier_ ? network().classes : classifier_->config().classes;
    }

    [[nodiscard]] std::string_view name() const override { return name_; }
    [[nodiscard]] int threads() const override {
        if constexpr (requires { backend_.threads(); }) {
            return backend_.threads();
        } else {
            return threads_;
        }
    }
    [[nodiscard]] std::string_view precision() const override { return precision_; }
    [[nodiscard]] std::string device() const override {
        if constexpr (requires { backend_.device_name(); }) {
            return std::string(backend_.device_name());
        } else {
            return {};
        }
    }
    [[nodiscard]] std::vector<std::string> notes() const override {
        std::vector<std::string> found;
        if constexpr (requires { backend_.plans_ignored(); }) {
            if (const std::string reason = backend_.plans_ignored(); !reason.empty()) {
                found.push_back("the plans are chosen anew: " + reason);
            }
        }
        if constexpr (requires { backend_.not_recorded(); }) {
            if (const std::string reason = backend_.not_recorded(); !reason.empty()) {
                found.push_back("the network is not replayed as a CUDA graph, which would be faster: " + reason);
            }
        }
        return found;
    }
    [[nodiscard]] int training_steps() const override { return model_.diffusion.training.size(); }

    [[nodiscard]] std::size_t evaluations(const repaint::inpaint_options& options) override {
        repaint::inpainter<B> planned(backend_, model_, options);
        guide(planned, {0}); // refuses an algorithm without guidance
        return planned.evaluations();
    }

    [[nodiscard]] std::size_t evaluations(const repaint::sampling_options& options) override {
        repaint::unconditional_sampler<B> planned(backend_, model_, options);
        guide(planned, {0}); // refuses an algorithm without guidance
        return planned.evaluations();
    }

    [[nodiscard]] repaint::value_range data_range() const override { return model_.diffusion.data_range; }
    [[nodiscard]] repaint::scheduler_settings scheduler() const override { return model_.diffusion.scheduler; }

    batch_outcome inpaint(const batch_request& request, const saved_batch* from,
                          const progress_observer& observe) override {
        switch (request.noise.kind) {
        case noise_kind::torch_cpu: return run(request, repaint::torch_cpu_noise(request.seed), from, observe);
        case noise_kind::torch_cuda:
            return run(request, repaint::torch_cuda_noise(request.seed, noise_device(request.noise)), from, observe);
        default: return run(request, repaint::philox_noise(request.seed), from, observe);
        }
    }

    std::optional<repaint::host_tensor> sample(const sample_request& request,
                                               const progress_observer& observe) override {
        switch (request.noise.kind) {
        case noise_kind::torch_cpu: return draw(request, repaint::torch_cpu_noise(request.seed), observe);
        case noise_kind::torch_cuda:
            return draw(request, repaint::torch_cuda_noise(request.seed, noise_device(request.noise)), observe);
        default: return draw(request, repaint::philox_noise(request.seed), observe);
        }
    }

    repaint::host_tensor predict(const repaint::host_tensor& x, float timestep, std::span<const int> labels) override {
        const auto& network = model_.network;
        repaint::check_image_shape(network.config(), x.shape());
        if (!labels.empty() && labels.size() != static_cast<std::size_t>(x.shape().n)) {
            throw std::invalid_argument(std::to_string(labels.size()) + " labels were given for " +
                                        std::to_string(x.shape().n) + " images");
        }
        const auto embedding = network.embed(backend_, timestep, labels);
        repaint::host_tensor output = backend_.download(network(backend_, backend_.upload(x), embedding));
        if (const std::size_t broken = repaint::not_finite(output.values()); broken > 0) {
            throw repaint::error("the network returned " + std::to_string(broken) + " NaN or infinite of " +
                                 std::to_string(output.size()) + " values");
        }
        return output;
    }

    [[nodiscard]] double multiply_adds(repaint::shape4 shape) override {
        const std::vector<int> labels(network().classes > 0 ? static_cast<std::size_t>(shape.n) : 0, 0);
        repaint::dry_run<B> dry(backend_, sizeof(float));
        (void)model_.network(dry, dry.allocate(shape), model_.network.embed(dry, 0.0F, labels));
        return static_cast<double>(dry.multiply_adds());
    }

    double time_evaluation(repaint::shape4 shape) override {
        const int t = timed_process_.schedule.size() / 2;
        if (!timed_ || timed_->x.shape() != shape) {
            const std::vector<int> labels(network().classes > 0 ? static_cast<std::size_t>(shape.n) : 0, 0);
            repaint::philox_noise noise(0);
            timed_.emplace(noise(backend_, shape), repaint::unet_denoiser<B>(model_, timed_process_, labels));
            if (classifier_) {
                timed_->guide.emplace(*classifier_, timed_process_,
                                      std::vector<int>(static_cast<std::size_t>(shape.n), 0), classifier_scale_);
            }
            if constexpr (repaint::provides_replay<B>) {
                (void)timed_->denoise(backend_, timed_->x, t); // before what it does is recorded
            }
            (void)timed_->denoise(backend_, timed_->x, t);
        }
        backend_.synchronize();
        const auto start = std::chrono::steady_clock::now();
        const auto prediction = timed_->denoise(backend_, timed_->x, t);
        if (timed_->guide) {
            const auto gradient = (*timed_->guide)(backend_, timed_->x, t);
        }
        backend_.synchronize();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

private:
    /// The model, and beside it the classifier if the source has one.
    repaint::diffusion_model<B> load(const opened_source& source) {
        if (source.classifier) {
            classifier_.emplace(repaint::load_classifier(backend_, *source.classifier));
        }
        if (const auto* preset = std::get_if<repaint::model_preset>(&source.model)) {
            return repaint::random_model(backend_, *preset);
        }
        return repaint::load_model(backend_, std::get<repaint::opened_model>(source.model));
    }

    /// The labels of a request's pictures, drawn if asked for; options keep them if the network itself takes labels.
    template <class Options, class N>
    std::vector<int> take_labels(Options& options, bool drawn, int pictures, N& noise) const {
        if (drawn) {
            options.labels = noise.labels(pictures, classes());
        }
        auto labels = options.labels;
        if (network().classes == 0 && classifier_) {
            options.labels.clear(); // they are the classifier's alone
        }
        if (labels.size() == 1) {
            labels.resize(static_cast<std::size_t>(pictures), labels.front());
        }
        return labels;
    }

    /// Has the classifier, if there is one, guide an inpainter or sampler, which must stay where it is.
    template <class Runner> void guide(Runner& runner, std::vector<int> labels) {
        if (classifier_) {
            runner.guide_with(repaint::class_guidance<B>(*classifier_, runner.process(), std::move(labels),
                                                         classifier_scale_, model_.diffusion.timestep_scale));
        }
    }

    template <class N>
    std::optional<repaint::host_tensor> draw(const sample_request& request, N noise, const progress_observer& observe) {
        auto options = request.options;
        options.images = model_.diffusion.data_range; // which pictures and arrays are in already
        auto labels = take_labels(options, request.draw_labels, request.shape.n, noise);
        repaint::unconditional_sampler<B> draw_images(backend_, model_, options);
        guide(draw_images, std::move(labels));
        try {
            return draw_images(request.shape, std::move(noise), observe);
        } catch (const repaint::cancelled&) {
            return std::nullopt;
        }
    }

    template <class N>
    batch_outcome run(const batch_request& request, N noise, const saved_batch* from,
                      const progress_observer& observe) {
        auto options = request.options;
        options.images = model_.diffusion.data_range; // which pictures and arrays are in already
        auto labels = take_labels(options, request.draw_labels, request.images.shape().n, noise);
        repaint::inpainter<B> inpaint(backend_, model_, options);
        guide(inpaint, std::move(labels));
        using state_type = typename repaint::sampling_run<B, N>::state_type;
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
            outcome.noise = to_words(running.state().noise);
        } else {
            auto state = running.state();
            outcome.stopped = {std::move(state.x), state.position, to_words(state.noise)};
        }
        return outcome;
    }

    struct timed_input {
        repaint::tensor_of<B> x;
        repaint::unet_denoiser<B> denoise;
        std::optional<repaint::class_guidance<B>> guide;
        timed_input(repaint::tensor_of<B> input, repaint::unet_denoiser<B> network)
            : x(std::move(input)), denoise(std::move(network)) {}
    };

    std::string_view name_;
    int threads_;
    std::string precision_;
    float classifier_scale_;
    B backend_;
    std::optional<repaint::classifier<B>> classifier_; // before the model, whose loading loads it
    repaint::diffusion_model<B> model_;
    repaint::diffusion_process timed_process_{repaint::noise_schedule::linear().respaced("4")};
    std::optional<timed_input> timed_;
};

} // namespace cli
