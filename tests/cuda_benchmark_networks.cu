// The three networks of the CPU's benchmark with random weights, in every precision, as a run evaluates them.
#include "cuda_benchmark.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <repaint/backend/cuda.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/inpainter.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/random_weights.hpp>

namespace benchmark {

namespace {

using repaint::shape4;

/// random_weights of a whole network, on all cores.
class generated_weights {
public:
    explicit generated_weights(const repaint::model_preset& preset) {
        repaint::dry_backend b;
        repaint::weight_map names([this](const std::string& name, const shape4& shape) {
            all_[name].shape = shape;
            return repaint::host_weights{shape, nullptr};
        });
        const repaint::unet<repaint::dry_backend> network(b, preset.network, names);
        std::vector<std::pair<const std::string, repaint::host_weights>*> entries;
        for (auto& entry : all_) {
            entries.push_back(&entry);
        }
        std::sort(entries.begin(), entries.end(),
                  [](const auto* a, const auto* b) { return a->second.shape.size() > b->second.shape.size(); });
        std::atomic<std::size_t> next{0};
        const auto work = [&] {
            for (std::size_t i = next++; i < entries.size(); i = next++) {
                entries[i]->second = repaint::random_weights(0, entries[i]->first, entries[i]->second.shape);
            }
        };
        std::vector<std::jthread> threads;
        for (unsigned i = 1; i < std::max(1U, std::thread::hardware_concurrency()); ++i) {
            threads.emplace_back(work);
        }
        work();
    }

    template <class B>
    [[nodiscard]] repaint::diffusion_model<B> model(B& b, const repaint::model_preset& preset) const {
        repaint::weight_map weights([this](const std::string& name, const shape4&) { return all_.at(name); });
        repaint::unet<B> network(b, preset.network, weights);
        return {std::move(network), {}, {}};
    }

private:
    std::map<std::string, repaint::host_weights> all_;
};

std::vector<int> labels_of(const repaint::model_preset& preset, int images) {
    return std::vector<int>(preset.network.classes > 0 ? static_cast<std::size_t>(images) : 0U, 1);
}

/// What one evaluation takes, by dry_backend.
struct prediction {
    double flops = 0.0;
    double bytes = 0.0; ///< of activations at the most
};

prediction predict(const repaint::model_preset& preset, int batch, std::size_t element) {
    repaint::dry_backend b(element, element);
    repaint::weight_map weights([](const std::string&, const shape4& shape) {
        return repaint::host_weights{shape, nullptr};
    });
    const repaint::unet<repaint::dry_backend> network(b, preset.network, weights);
    const auto e = network.embed(b, 0.0F, labels_of(preset, batch));
    const auto x = b.allocate({batch, preset.network.in_channels, preset.image_size, preset.image_size});
    const auto before = b.multiply_adds();
    (void)network(b, x, e);
    return {2.0 * static_cast<double>(b.multiply_adds() - before), static_cast<double>(b.peak_bytes())};
}

/// A network that is evaluated as in a run: a denoiser over a few timesteps, one evaluation enqueued after the other.
template <class B> class evaluation {
public:
    evaluation(B& b, const repaint::diffusion_model<B>& model, const repaint::model_preset& preset, int batch)
        : b_(&b), process_(model.diffusion.respaced("4")), denoise_(model, process_, labels_of(preset, batch)),
          noise_(1), x_(noise_(b, {batch, preset.network.in_channels, preset.image_size, preset.image_size})) {
        const clock time;
        call(1);
        b_->synchronize();
        first_ = time.seconds();
        call(2); // whatever else is done once
        b_->synchronize();
        const clock again;
        call(1);
        b_->synchronize();
        estimate_ = again.seconds();
    }

    [[nodiscard]] double first_seconds() const { return first_; }

    /// Milliseconds per evaluation, the median of at most `most` times that are each of several evaluations unless one
    /// takes long; about `seconds` in all, five times at the least, or three when one takes a quarter of a second.
    [[nodiscard]] spread times(double seconds, int most, int* counted = nullptr) {
        constexpr double least = 0.02; // seconds between two looks at the clock
        const int together = std::max(1, static_cast<int>(std::ceil(least / std::max(estimate_, 1e-6))));
        const std::size_t fewest = estimate_ > 0.25 ? 3 : 5;
        std::vector<double> found;
        const clock time;
        while (found.size() < fewest || (static_cast<int>(found.size()) < most && time.seconds() < seconds)) {
            const clock one;
            call(together);
            b_->synchronize();
            found.push_back(1e3 * one.seconds() / together);
        }
        if (counted != nullptr) {
            *counted = together * static_cast<int>(found.size());
        }
        return spread_of(found);
    }

private:
    void call(int times) {
        for (int i = 0; i < times; ++i) {
            (void)denoise_(*b_, x_, next_);
            next_ = (next_ + 1) % process_.size();
        }
    }

    B* b_;
    repaint::diffusion_process process_;
    repaint::unet_denoiser<B> denoise_;
    repaint::philox_noise noise_;
    repaint::tensor_of<B> x_;
    int next_ = 0;
    double first_ = 0.0;
    double estimate_ = 0.0;
};

/// A whole run of the published length on one picture, against as many evaluations.
template <class B>
void whole_run(results& to, B& b, const repaint::diffusion_model<B>& model, const repaint::model_preset& preset,
               const std::string& precision, double evaluation_ms) {
    repaint::inpaint_options options;
    options.labels = labels_of(preset, 1);
    const repaint::inpainter<B> inpaint(b, model, options);
    const int side = preset.image_size;
    const repaint::host_tensor image({1, preset.network.in_channels, side, side});
    const auto keep = repaint::make_mask(repaint::mask_kind::half, side, side);
    const clock time;
    const auto filled = inpaint(image, keep, repaint::philox_noise(1));
    const double seconds = time.seconds();
    evaluation<B> again(b, model, preset, 1);
    const double warm_ms = again.times(0.5, 20).median; // at the clock rate that the run ended with
    const auto evaluations = static_cast<double>(inpaint.evaluations());
    const double outside = 1.0 - evaluations * 1e-3 * warm_ms / seconds;
    const bool finite =
        std::all_of(filled.values().begin(), filled.values().end(), [](float value) { return std::isfinite(value); });
    std::printf("%-11s %-58s %.2f s, %.0f evaluations of %.3f ms (before: %.3f); outside the network %.2f %%%s\n",
                "run", (preset.name + ", " + precision + ", 250/10/10, batch 1").c_str(), seconds, evaluations, warm_ms,
                evaluation_ms, 100.0 * outside, finite ? "" : "; NOT FINITE");
    std::fflush(stdout);
    to.add(record()
               .text("kind", "run")
               .text("name", preset.name)
               .text("precision", precision)
               .value("seconds", seconds)
               .value("evaluations", evaluations)
               .value("ms", warm_ms)
               .value("ms_before", evaluation_ms)
               .value("outside", outside)
               .value("finite", finite ? 1.0 : 0.0));
}

struct plan {
    std::string precision;
    repaint::cuda_options options;
    std::vector<int> batches;
    bool whole_run = false;
};

template <class T>
void one_precision(results& to, const generated_weights& weights, const repaint::model_preset& preset, const plan& how,
                   const clock& time, double until) {
    using B = repaint::basic_cuda_backend<T>;
    if (time.seconds() > until) {
        to.skip("network", preset.name + ", " + how.precision, "no time left");
        return;
    }
    B b(how.options);
    const auto model = weights.model(b, preset);
    for (const int batch : how.batches) {
        const std::string name = preset.name + ", " + how.precision + ", batch " + std::to_string(batch);
        if (time.seconds() > until) {
            to.skip("network", name, "no time left");
            continue;
        }
        try {
            const auto expected = predict(preset, batch, sizeof(T));
            evaluation<B> e(b, model, preset, batch);
            const spread ms = e.times(0.6, 20);
            const auto peak = static_cast<double>(b.peak_bytes());
            record more;
            more.text("network", preset.name).text("precision", how.precision).value("batch", batch);
            more.times("ms", ms).value("first_seconds", e.first_seconds());
            more.value("peak_bytes", peak).value("predicted_bytes", expected.bytes);
            to.add("network", name, scaled(ms, 1e3), 0.0, expected.flops, more);
            std::printf("%-11s %-58s %.0f MB of activations, %.2f x the prediction; first evaluation after %.2f s\n",
                        "", "", peak * 1e-6, peak / expected.bytes, e.first_seconds());
            if (batch == 1 && how.whole_run && time.seconds() + 2.6 * ms.median < until) { // 2410 evaluations
                whole_run(to, b, model, preset, how.precision, ms.median);
            }
        } catch (const repaint::device_error& failed) {
            to.skip("network", name, failed.what());
        }
    }
}

template <class T> int serve_one(const repaint::model_preset& preset, const repaint::cuda_options& options, int batch) {
    using B = repaint::basic_cuda_backend<T>;
    B b(options);
    const generated_weights weights(preset);
    const auto model = weights.model(b, preset);
    evaluation<B> e(b, model, preset, batch);
    std::cout << record().text("ready", preset.name).value("first_seconds", e.first_seconds()).line() << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        int runs = 0;
        const spread ms = e.times(std::strtod(line.c_str(), nullptr), 100'000, &runs);
        std::cout << record()
                         .value("median_ms", ms.median)
                         .value("min_ms", ms.lowest)
                         .value("max_ms", ms.highest)
                         .value("runs", runs)
                         .line()
                  << std::endl;
    }
    return 0;
}

} // namespace

void networks(results& to, const clock& time, double until) {
    const std::vector<int> all{1, 4, 16};
    repaint::cuda_options with_tf32;
    with_tf32.tf32 = true;
    repaint::cuda_options measured;
    measured.tune = true;
    struct network {
        repaint::model_preset preset;
        generated_weights weights;
        explicit network(const char* name) : preset(repaint::find_preset(name)), weights(preset) {}
    };
    std::vector<network> networks;
    for (const char* name : {"guided-256", "imagenet-64", "guided-64"}) {
        const network& n = networks.emplace_back(name);
        one_precision<__half>(to, n.weights, n.preset, {"half", {}, all, n.preset.name != "imagenet-64"}, time, until);
    }
    for (const network& n : networks) {
        one_precision<__half>(to, n.weights, n.preset, {"half, measured plans", measured, {1, 16}}, time, until);
        one_precision<float>(to, n.weights, n.preset, {"float", {}, all}, time, until);
        one_precision<float>(to, n.weights, n.preset, {"tf32", with_tf32, all}, time, until);
        one_precision<__nv_bfloat16>(to, n.weights, n.preset, {"bfloat16", {}, all}, time, until);
    }
}

int serve(const std::vector<std::string>& arguments) {
    std::string preset = "guided-64";
    std::string precision = "half";
    int batch = 1;
    repaint::cuda_options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& option = arguments[i];
        if (option == "--tune") {
            options.tune = true;
        } else if (i + 1 == arguments.size()) {
            throw std::invalid_argument(option + " needs a value");
        } else if (option == "--preset") {
            preset = arguments[++i];
        } else if (option == "--precision") {
            precision = arguments[++i];
        } else if (option == "--batch") {
            batch = std::max(1, std::atoi(arguments[++i].c_str()));
        } else if (option == "--plans") {
            options.plans = arguments[++i];
        } else {
            throw std::invalid_argument("serve takes --preset, --precision, --batch, --plans and --tune, got " +
                                        option);
        }
    }
    const auto found = repaint::find_preset(preset);
    if (precision == "half") {
        return serve_one<__half>(found, options, batch);
    }
    if (precision == "bfloat16") {
        return serve_one<__nv_bfloat16>(found, options, batch);
    }
    options.tf32 = precision == "tf32";
    if (options.tf32 || precision == "float") {
        return serve_one<float>(found, options, batch);
    }
    throw std::invalid_argument("--precision takes half, bfloat16, tf32 and float, got " + precision);
}

} // namespace benchmark
