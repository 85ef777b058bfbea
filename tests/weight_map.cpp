#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <repaint/io/stored_tensor.hpp>
#include <repaint/model/weight_map.hpp>

#include "support/catch.hpp"
#include "support/hostile.hpp"

namespace {

using repaint::checkpoint;
using repaint::shape4;
using repaint::weight_map;

/// Values that outlive the checkpoint which describes them.
const std::vector<float>& numbers() {
    static const std::vector<float> all(64, 1.5F);
    return all;
}

void put(checkpoint& c, const std::string& name, const std::vector<std::int64_t>& shape) {
    std::size_t count = 1;
    for (const auto extent : shape) {
        count *= static_cast<std::size_t>(extent);
    }
    c.tensors[name] = repaint::describe(std::span(numbers()).first(count), shape);
}

checkpoint small() {
    checkpoint c;
    c.path = "net.pt";
    put(c, "conv.weight", {2, 3, 1, 1});
    put(c, "conv.bias", {2});
    put(c, "attn.qkv.weight", {6, 2, 1});
    put(c, "block.0.linear.weight", {4, 3});
    return c;
}

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_CASE("tensors of one to four axes are taken with ones behind them", "[weight_map]") {
    const checkpoint c = small();
    weight_map map(c);
    const auto w = map.take("conv.weight", {2, 3, 1, 1});
    CHECK(w.shape == shape4{2, 3, 1, 1});
    CHECK(w.values.get() == numbers().data());
    CHECK(map.take("conv.bias", {2, 1, 1, 1}).values != nullptr);
    CHECK(map["attn"].take("qkv.weight", {6, 2, 1, 1}).values != nullptr);
    CHECK(map.scope("block").scope("0")["linear"].take("weight", {4, 3, 1, 1}).values != nullptr);
    CHECK_NOTHROW(map.finish());
}

TEST_CASE("has and ignore work inside scopes", "[weight_map]") {
    const checkpoint c = small();
    weight_map map(c);
    CHECK(map.has("conv.bias"));
    CHECK_FALSE(map.has("bias"));
    CHECK(map["conv"].has("bias"));
    CHECK_FALSE(map["conv"].has("gamma"));
    CHECK_FALSE(map["con"].has("v.bias"));
    map["conv"].ignore("bias");
    map.ignore("conv.weight");
    map["attn.qkv"].ignore("weight");
    map["block.0"].ignore("linear.weight");
    CHECK_NOTHROW(map.finish());
}

TEST_CASE("everything that does not fit is reported at once", "[weight_map]") {
    checkpoint c = small();
    put(c, "scalar", {});
    put(c, "five", {1, 1, 1, 1, 1});
    put(c, "typed", {2});
    c.tensors["typed"].type = repaint::dtype::complex64;
    weight_map map(c);
    CHECK(map.take("conv.weight", {3, 2, 1, 1}).values == nullptr);
    CHECK(map["conv"].take("gamma", {2, 1, 1, 1}).values == nullptr);
    CHECK(map["conv"].take("gamma", {2, 1, 1, 1}).shape == shape4{2, 1, 1, 1});
    CHECK(map.take("scalar", {1, 1, 1, 1}).values == nullptr);
    CHECK(map.take("five", {1, 1, 1, 1}).values == nullptr);
    CHECK(map.take("typed", {2, 1, 1, 1}).values == nullptr);
    CHECK(map.take("attn.qkv.weight", {6, 2, 1, 1}).values != nullptr);
    const std::string message = refusal([&] { map["anywhere"].finish(); });
    CHECK(message ==
          "net.pt: the tensors do not fit the network: 1 missing (conv.gamma (2, 1, 1, 1)); "
          "4 mis-shaped (conv.weight: (2, 3, 1, 1) instead of (3, 2, 1, 1), five: (1, 1, 1, 1, 1) instead of "
          "(1, 1, 1, 1), scalar: () instead of (1, 1, 1, 1), typed: C64 instead of floats); "
          "2 unused (block.0.linear.weight (4, 3), conv.bias (2))");
}

TEST_CASE("long lists are cut and hostile names are harmless", "[weight_map]") {
    checkpoint c;
    c.path = "a\nb";
    for (int i = 0; i < 100; ++i) {
        put(c, "unused\n" + std::to_string(i), {1});
    }
    weight_map map(c);
    for (int i = 0; i < 9; ++i) {
        map.take("missing" + std::to_string(i), {1, 1, 1, 1});
    }
    const std::string message = refusal([&] { map.finish(); });
    CHECK(mentions(message, "9 missing (missing0 (1, 1, 1, 1)"));
    CHECK(mentions(message, "missing7 (1, 1, 1, 1) and 1 more)"));
    CHECK(mentions(message, "100 unused ("));
    CHECK(mentions(message, "and 92 more)"));
    CHECK(mentions(message, "unused\\x0a0"));
}

TEST_CASE("a checking pass reads no values", "[weight_map]") {
    checkpoint c = small();
    for (auto& [name, t] : c.tensors) {
        t.type = repaint::dtype::f16; // would have to be converted
        t.data = nullptr;             // and would crash
    }
    weight_map map(c, weight_map::check_only);
    const auto w = map.take("conv.weight", {2, 3, 1, 1});
    CHECK(w.shape == shape4{2, 3, 1, 1});
    CHECK(w.values == nullptr);
    CHECK(mentions(refusal([&] { map.finish(); }), "3 unused"));
}

TEST_CASE("a map without a checkpoint makes what is asked for", "[weight_map]") {
    std::vector<std::string> asked;
    weight_map map([&](const std::string& name, const shape4& shape) {
        asked.push_back(name + " " + to_string(shape));
        return repaint::host_weights{shape, std::make_shared<float>(2.5F)};
    });
    const auto w = map["middle_block.1"].take("qkv.weight", {6, 2, 1, 1});
    CHECK(w.shape == shape4{6, 2, 1, 1});
    CHECK(*w.values == 2.5F);
    CHECK(asked == std::vector<std::string>{"middle_block.1.qkv.weight (6, 2, 1, 1)"});
    CHECK(map.has("anything"));
    CHECK_NOTHROW(map.finish());
}

TEST_CASE("weights outlive the checkpoint they came from", "[weight_map]") {
    repaint::host_weights w;
    {
        const auto file = in_memory(std::string(4096, '\0'));
        checkpoint c;
        repaint::stored_tensor t;
        t.shape = {1000};
        t.strides = {1};
        t.data = file->bytes().data();
        t.owner = file;
        c.tensors["w"] = t;
        weight_map map(c);
        w = map.take("w", {1000, 1, 1, 1});
    }
    CHECK(w.values.get()[999] == 0.0F);
}
