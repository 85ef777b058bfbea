// Models without a checkpoint: their architectures, and that their weights are what the documentation says.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <repaint/backend/dry.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/random_weights.hpp>

#include "support/catch.hpp"

using repaint::host_weights;
using repaint::shape4;

namespace {

std::vector<float> values(const host_weights& w) {
    return {w.values.get(), w.values.get() + static_cast<std::ptrdiff_t>(w.shape.size())};
}

struct moments {
    double mean = 0.0;
    double deviation = 0.0;
};

moments moments_of(const std::vector<float>& numbers) {
    double sum = 0.0;
    double squares = 0.0;
    for (const float number : numbers) {
        sum += static_cast<double>(number);
        squares += static_cast<double>(number) * static_cast<double>(number);
    }
    const auto count = static_cast<double>(numbers.size());
    return {sum / count, std::sqrt(squares / count - sum / count * (sum / count))};
}

} // namespace

TEST_CASE("presets have as many parameters as their networks", "[random_weights]") {
    const std::map<std::string, std::uint64_t> parameters{
        {"guided-64", 9'285'318}, {"imagenet-64", 295'904'454}, {"guided-256", 552'814'086}};
    const auto presets = repaint::model_presets();
    REQUIRE(presets.size() == parameters.size());
    for (const auto& preset : presets) {
        CAPTURE(preset.name);
        CHECK(repaint::find_preset(preset.name).name == preset.name);
        std::uint64_t count = 0;
        // Shapes alone: the dry backend packs no values.
        repaint::weight_map shapes([&](const std::string&, const shape4& shape) {
            count += shape.size();
            return host_weights{shape, nullptr};
        });
        repaint::dry_backend b;
        const repaint::unet<repaint::dry_backend> network(b, preset.network, shapes);
        CHECK(count == parameters.at(preset.name));
        CHECK_NOTHROW(repaint::check_image_shape(network.config(), {1, 3, preset.image_size, preset.image_size}));
    }
    CHECK_THROWS_AS(repaint::find_preset("guided-65"), std::invalid_argument);
    CHECK_THROWS_WITH(repaint::find_preset(""), contains("guided-64, imagenet-64, guided-256"));
}

TEST_CASE("random weights depend on seed and name alone", "[random_weights]") {
    const shape4 shape{8, 4, 3, 3};
    const auto first = values(repaint::random_weights(7, "input_blocks.0.0.weight", shape));
    CHECK(values(repaint::random_weights(7, "input_blocks.0.0.weight", shape)) == first);
    CHECK(values(repaint::random_weights(8, "input_blocks.0.0.weight", shape)) != first);
    CHECK(values(repaint::random_weights(7, "input_blocks.0.1.weight", shape)) != first);
}

TEST_CASE("random weights have the size that keeps activations in range", "[random_weights]") {
    // The relative error of a standard deviation over n samples is 1 / sqrt(2 n), of a mean in deviations 1 / sqrt(n):
    // five of the larger one.
    for (const shape4 shape : {shape4{128, 64, 3, 3}, {512, 256, 1, 1}, {64, 3, 3, 3}}) {
        CAPTURE(to_string(shape));
        const auto found = moments_of(values(repaint::random_weights(0, "w.weight", shape)));
        const double expected = 1.0 / std::sqrt(static_cast<double>(shape.c) * static_cast<double>(shape.plane()));
        const double bound = 5.0 / std::sqrt(static_cast<double>(shape.size()));
        CHECK(std::abs(found.deviation / expected - 1.0) < bound);
        CHECK(std::abs(found.mean / expected) < bound);
    }
    CHECK(values(repaint::random_weights(0, "out.0.weight", {32, 1, 1, 1})) == std::vector<float>(32, 1.0F));
    const auto bias = moments_of(values(repaint::random_weights(0, "out.0.bias", {4096, 1, 1, 1})));
    CHECK(std::abs(bias.deviation / 0.01 - 1.0) < 5.0 / 64.0);
}

TEST_CASE("a random model says what it is", "[random_weights]") {
    repaint::dry_backend b;
    const auto model = repaint::random_model(b, repaint::find_preset("guided-64"), {}, 5);
    const auto& about = model.description;
    CHECK(about.parameters == 9'285'318);
    CHECK(b.packed_bytes() == 4 * about.parameters);
    CHECK(about.image_size == 64);
    CHECK(about.format == "random weights");
    REQUIRE(about.remarks.size() == 1);
    CHECK_THAT(about.remarks.front(), contains("guided-64") && contains("seed 5"));
}

TEST_CASE("one tensor at a time is in memory", "[random_weights]") {
    std::weak_ptr<const float> before;
    bool freed = true;
    repaint::weight_map weights([&](const std::string& name, const shape4& shape) {
        // A convolution's weight and bias are packed together, whichever is made first.
        auto made = repaint::random_weights(0, name, shape);
        if (shape.plane() > 1) {
            freed = freed && before.expired();
            before = made.values;
        }
        return made;
    });
    repaint::dry_backend b;
    const repaint::unet<repaint::dry_backend> network(b, repaint::find_preset("guided-64").network, weights);
    CHECK(freed);
}
