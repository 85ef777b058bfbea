// What is asked of cuDNN and cuBLASLt, planned for devices that need not be there: cuDNN is told the properties of one.
// Precompiled engines plan in full this way. What is compiled at run time (attention) needs the driver's library, and
// cuBLASLt's choices a device: of those the refusals are tested, and that nothing is offered in silence.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <repaint/backend/cuda/attention_plan.hpp>
#include <repaint/backend/cuda/conv2d_plan.hpp>
#include <repaint/backend/cuda/matmul_plan.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/model/presets.hpp>
#include <repaint/model/unet.hpp>
#include <repaint/model/weight_map.hpp>

#include "support/catch.hpp"
#include "support/hostile.hpp"

namespace {

using namespace repaint::detail::cuda;

std::string replaced(std::string text, std::string_view what, std::string_view with) {
    const std::size_t at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), with);
}

device_properties h200() {
    return device_properties::from_json(file_text(test_data("cuda/h200_device_properties.json")));
}

/// An A100: what differs from the H200 and matters to engines.
device_properties a100() {
    std::string text = file_text(test_data("cuda/h200_device_properties.json"));
    text = replaced(text, "\"deviceVer\":900", "\"deviceVer\":800");
    text = replaced(text, "\"multiProcessorCount\":132", "\"multiProcessorCount\":108");
    text = replaced(text, "\"l2CacheSize\":62914560", "\"l2CacheSize\":41943040");
    text = replaced(text, "\"maxSharedMemoryPerBlockOptin\":232448", "\"maxSharedMemoryPerBlockOptin\":166912");
    text = replaced(text, "NVIDIA H200", "NVIDIA A100-SXM4-80GB");
    return device_properties::from_json(text);
}

plan_origin origin_of(const device_properties& device) {
    return {cudnn().version(), cublaslt().version(), device.name(), device.multiprocessors()};
}

/// A device with an empty store and the caches a backend object has.
struct planner {
    device_properties device;
    plan_store store;
    conv2d_plans conv2d;
    attention_plans attention;

    explicit planner(device_properties properties, const plan_limits& limits = {})
        : device(std::move(properties)), store(origin_of(device)), conv2d(device, store, limits),
          attention(device, store, limits) {}
};

/// A dry_backend that keeps which convolutions and attentions a network asks for.
struct recording_backend : repaint::dry_backend {
    std::set<conv2d_problem> convolutions;
    std::set<attention_problem> attentions;

    void conv2d(const tensor& x, const conv2d_weights& w, const tensor* residual, const repaint::conv2d_options& o,
                tensor& y) {
        const repaint::shape4 s = x.shape();
        if (s.h * s.w > 1) {
            conv2d_problem p;
            p.n = s.n;
            p.h = s.h;
            p.w = s.w;
            p.in = s.c;
            p.out = w.shape().n;
            p.kernel = w.shape().h;
            p.stride = o.stride;
            p.residual = residual != nullptr;
            p.bias = true;
            convolutions.insert(padded(p, o.padding));
        }
        dry_backend::conv2d(x, w, residual, o, y);
    }

    void attention(const tensor& qkv, int heads, tensor& y) {
        const repaint::shape4 s = y.shape();
        attention_problem p;
        p.n = s.n;
        p.heads = heads;
        p.head_channels = s.c / heads;
        p.tokens = s.h * s.w;
        attentions.insert(p);
        dry_backend::attention(qkv, heads, y);
    }
};

/// What one evaluation of the published 256x256 network asks for.
recording_backend recorded_network() {
    const repaint::model_preset preset = repaint::find_preset("guided-256");
    recording_backend b;
    repaint::weight_map weights([](const std::string&, const repaint::shape4& shape) {
        return repaint::host_weights{shape, nullptr};
    });
    const repaint::unet<recording_backend> network(b, preset.network, weights);
    const auto x = b.allocate({1, 3, preset.image_size, preset.image_size});
    static_cast<void>(network(b, x, network.embed(b, 0.0F)));
    return b;
}

conv2d_problem conv3x3(int size, int in, int out) {
    conv2d_problem p;
    p.h = size;
    p.w = size;
    p.in = in;
    p.out = out;
    p.bias = true;
    return padded(p, 1);
}

const std::array<element_type, 3> all_types{element_type::float32, element_type::half, element_type::bfloat16};

/// The plan there is, or a failure that says why there is none.
const execution_plan* demanded(conv2d_plans& plans, const conv2d_problem& p) {
    INFO(key(p));
    const execution_plan* const plan = plans.find(p);
    INFO(plans.why_not(p));
    CHECK(plan != nullptr);
    return plan;
}

std::string thrown(const std::string& properties) {
    try {
        static_cast<void>(device_properties::from_json(properties));
    } catch (const repaint::error& e) {
        return e.what();
    }
    return {};
}

} // namespace

TEST_CASE("a cuDNN of another major version, or an older one, is named", "[cuda]") {
    CHECK(cudnn_mismatch(91900, 91900).empty());
    CHECK(cudnn_mismatch(91900, 92001).empty());
    CHECK(cudnn_mismatch(91900, 90501) ==
          "cuDNN 9.5.1 was found at run time, the program was compiled with 9.19.0: the same major version is needed, "
          "and none that is older");
    CHECK_FALSE(cudnn_mismatch(91900, 100000).empty());
    CHECK_FALSE(cudnn_mismatch(91900, 8907).empty());
    CHECK_NOTHROW(check_cudnn_version());
}

TEST_CASE("properties of a device are read, and refused by name", "[cuda]") {
    const device_properties device = h200();
    CHECK(device.name() == "NVIDIA H200");
    CHECK(device.multiprocessors() == 132);
    CHECK(device_properties::from_json(device.json()).json() == device.json());
    CHECK(a100().multiprocessors() == 108);

    CHECK_THAT(thrown(""), contains("device properties, line 1"));
    CHECK_THAT(thrown("{\"deviceName\":"), contains("expected a value"));
    CHECK_THAT(thrown("{}"), contains("CUDNN_STATUS_BAD_PARAM"));
    CHECK_THAT(thrown("[1]"), contains("CUDNN_STATUS_"));
}

TEST_CASE("every convolution of the 256x256 network has a plan", "[cuda]") {
    const recording_backend network = recorded_network();
    std::set<std::tuple<int, int, int, int>> shapes;
    for (const conv2d_problem& p : network.convolutions) {
        shapes.insert({p.h, p.in, p.out, p.kernel});
    }
    CHECK(shapes.size() == 42); // 36 of residual blocks and ends, 6 of attention
    planner on_h200(h200());
    planner on_a100(a100());
    for (conv2d_problem p : network.convolutions) {
        for (const element_type type : all_types) {
            p.type = type;
            p.tf32 = true;
            if (p.in == 3 || p.out == 6) {
                CHECK(on_h200.conv2d.find(p) == nullptr);
                CHECK_THAT(on_h200.conv2d.why_not(p), contains("channels and strides must be multiples of"));
                continue;
            }
            for (planner* each : {&on_h200, &on_a100}) {
                const execution_plan* const plan = demanded(each->conv2d, p);
                REQUIRE(plan != nullptr);
                CHECK(plan->workspace_bytes() <= plan_limits{}.workspace);
            }
        }
    }
    CHECK(on_h200.conv2d.workspace_bytes() <= plan_limits{}.workspace);
}

TEST_CASE("a plan does not care about batches, strides of pixels and lopsided padding", "[cuda]") {
    planner on(h200());
    for (const element_type type : all_types) {
        conv2d_problem p = conv3x3(32, 128, 64);
        p.type = type;
        p.tf32 = true;
        for (const int n : {1, 3, 16}) {
            p.n = n;
            demanded(on.conv2d, p);
        }
        p.n = 2;

        conv2d_problem joined = p; // reads and writes parts of wider tensors
        joined.x = strides_of(32, 32, 384);
        joined.y = strides_of(32, 32, 192);
        joined.added = joined.y;
        joined.residual = true;
        demanded(on.conv2d, joined);

        conv2d_problem halved = p;
        halved.stride = 2;
        CHECK(halved.rows() == 16);
        demanded(on.conv2d, halved);
        halved.top = halved.left = 0; // a row of zeros below and a column to the right only
        CHECK(halved.rows() == 16);
        demanded(on.conv2d, halved);

        conv2d_problem odd = p; // neither a power of two nor square
        odd.h = 17;
        odd.w = 5;
        demanded(on.conv2d, odd);

        conv2d_problem bare = p;
        bare.bias = false;
        demanded(on.conv2d, bare);

        conv2d_problem one = p;
        one.kernel = 1;
        demanded(on.conv2d, padded(one, 0));
    }
}

TEST_CASE("a doubled convolution is four of its phases", "[cuda]") {
    conv2d_problem p;
    p.n = 2;
    p.h = 6;
    p.w = 4;
    p.in = 16;
    p.out = 8;
    p.bias = true;
    std::vector<int> writes(static_cast<std::size_t>(2 * 12 * 8)); // of each output pixel
    for (const int row : {0, 1}) {
        for (const int column : {0, 1}) {
            const conv2d_problem phase = doubled_phase(p, row, column);
            CHECK(phase.rows() == 6);
            CHECK(phase.columns() == 4);
            CHECK(doubled_offset(phase) == (row * 8 + column) * 8);
            for (int image = 0; image < 2; ++image) {
                for (int i = 0; i < 6; ++i) {
                    for (int j = 0; j < 4; ++j) {
                        const std::int64_t at =
                            doubled_offset(phase) + image * phase.y.image + i * phase.y.row + j * phase.y.pixel;
                        REQUIRE(at % 8 == 0);
                        CHECK(at / 8 == image * 96 + (2 * i + row) * 8 + 2 * j + column);
                        ++writes.at(static_cast<std::size_t>(at / 8));
                    }
                }
            }
        }
    }
    CHECK(std::count(writes.begin(), writes.end(), 1) == std::ssize(writes));

    planner on_h200(h200());
    planner on_a100(a100());
    for (planner* const on : {&on_h200, &on_a100}) {
        for (const element_type type : all_types) {
            for (const auto& [size, channels] : {std::pair{8, 1024}, {16, 1024}, {32, 512}, {64, 512}, {128, 256}}) {
                conv2d_problem low;
                low.type = type;
                low.tf32 = true;
                low.h = size;
                low.w = size;
                low.in = channels;
                low.out = channels;
                low.bias = true;
                for (const int corner : {0, 1, 2, 3}) {
                    demanded(on->conv2d, doubled_phase(low, corner / 2, corner % 2));
                }
            }
        }
    }
}

TEST_CASE("transposed convolutions have plans", "[cuda]") {
    planner on(h200());
    for (const element_type type : all_types) {
        for (const bool tf32 : {false, true}) {
            for (const auto& [kernel, stride] : {std::pair{3, 1}, {3, 2}, {1, 1}}) {
                conv2d_problem p = conv3x3(32, 128, 256);
                p.type = type;
                p.tf32 = tf32;
                p.kernel = kernel;
                p.stride = stride;
                p.transposed = true;
                p.bias = false;
                p.x = strides_of(32, 32, 192);
                demanded(on.conv2d, padded(p, kernel / 2));
            }
        }
    }
}

TEST_CASE("strict float32 gets engines that round no factor, TF32 only when asked for", "[cuda]") {
    planner on(h200());
    for (const int size : {8, 32, 128}) {
        conv2d_problem strict = conv3x3(size, 256, 256);
        strict.type = element_type::float32;
        strict.residual = true;
        conv2d_problem rounded = strict;
        rounded.tf32 = true;
        const execution_plan* const a = demanded(on.conv2d, strict);
        const execution_plan* const b = demanded(on.conv2d, rounded);
        REQUIRE(a != nullptr);
        REQUIRE(b != nullptr);
        CHECK(a->engine() != b->engine());

        // The file cannot smuggle the other engine in.
        operation_graph graph = graph_of(strict);
        std::string why;
        REQUIRE(graph.close(why));
        CHECK(execution_plan::read(b->json(), graph, on.device, limits_for(rounded, {}), why));
        CHECK_FALSE(execution_plan::read(b->json(), graph, on.device, limits_for(strict, {}), why));
        CHECK_THAT(why, contains("rounds the factors"));
    }
}

TEST_CASE("the workspace of a plan stays within the limit", "[cuda]") {
    plan_limits none;
    none.workspace = 0;
    planner with(h200());
    planner without(h200(), none);
    const conv2d_problem p = conv3x3(8, 1024, 1024);
    const execution_plan* const plan = demanded(without.conv2d, p);
    REQUIRE(plan != nullptr);
    CHECK(plan->workspace_bytes() == 0);
    const execution_plan* const other = demanded(with.conv2d, p);
    REQUIRE(other != nullptr);
    CHECK(other->workspace_bytes() > 0); // the point of the case: the first choice of this shape splits its sums
}

TEST_CASE("what cuDNN is not asked for is refused in a sentence", "[cuda]") {
    planner on(h200());
    const auto refused = [&on](const conv2d_problem& p) {
        CHECK(on.conv2d.find(p) == nullptr);
        CHECK(on.conv2d.why_not(p) == refusal(p));
        return on.conv2d.why_not(p);
    };
    CHECK(refused(conv3x3(64, 3, 256)) ==
          "cuDNN's convolution of 3 to 256 channels: channels and strides must be multiples of 8, found 3");
    CHECK_THAT(refused(conv3x3(64, 256, 6)), contains("multiples of 8, found 6"));
    CHECK_THAT(refused(conv3x3(64, 36, 64)), contains("multiples of 8, found 36"));
    conv2d_problem p = conv3x3(64, 36, 64);
    p.type = element_type::float32; // four floats are sixteen bytes
    p.tf32 = true;
    demanded(on.conv2d, p);
    p = conv3x3(64, 64, 64);
    p.y = strides_of(64, 64, 70);
    CHECK_THAT(refused(p), contains("multiples of 8"));
    p = conv3x3(64, 64, 64);
    p.residual = true;
    p.bias = false;
    CHECK_THAT(refused(p), contains("a residual needs a bias"));
    p.transposed = true;
    p.bias = true;
    CHECK_THAT(refused(p), contains("neither residual nor bias"));
    p = conv3x3(64, 64, 64);
    p.h = 0;
    CHECK_THAT(refused(p), contains("nothing to compute"));
    p = padded(conv3x3(2, 64, 64), 0);
    CHECK_THAT(refused(p), contains("nothing to compute"));
    p = conv3x3(64, 64, 64);
    p.stride = 0;
    CHECK_THAT(refused(p), contains("nothing to compute"));
    p = conv3x3(64, 64, 64);
    p.left = -1;
    CHECK_THAT(refused(p), contains("nothing to compute"));
    CHECK(on.store.size() == 1); // of the one that was not refused
}

TEST_CASE("problems that differ are stored under different names", "[cuda]") {
    std::vector<conv2d_problem> problems;
    const auto with = [&problems](auto&& change) {
        conv2d_problem p = conv3x3(64, 64, 64);
        change(p);
        problems.push_back(p);
    };
    with([](conv2d_problem&) {});
    with([](conv2d_problem& p) { p.type = element_type::bfloat16; });
    with([](conv2d_problem& p) { p.type = element_type::float32; });
    with([](conv2d_problem& p) { p.tf32 = true; });
    with([](conv2d_problem& p) { p.transposed = true; });
    with([](conv2d_problem& p) { p.n = 2; });
    with([](conv2d_problem& p) { p.h = 32; });
    with([](conv2d_problem& p) { p.w = 32; });
    with([](conv2d_problem& p) { p.in = 32; });
    with([](conv2d_problem& p) { p.out = 32; });
    with([](conv2d_problem& p) { p.kernel = 1; });
    with([](conv2d_problem& p) { p.stride = 2; });
    with([](conv2d_problem& p) { p.top = 0; });
    with([](conv2d_problem& p) { p.left = 0; });
    with([](conv2d_problem& p) { p.bottom = 0; });
    with([](conv2d_problem& p) { p.right = 0; });
    with([](conv2d_problem& p) { p.x.pixel = 128; });
    with([](conv2d_problem& p) { p.y.pixel = 128; });
    with([](conv2d_problem& p) { p.added.pixel = 128; });
    with([](conv2d_problem& p) { p.residual = true; });
    with([](conv2d_problem& p) { p.bias = false; });
    std::set<std::string> names;
    for (const auto& p : problems) {
        names.insert(key(p));
    }
    CHECK(names.size() == problems.size());
    CHECK(std::set<conv2d_problem>(problems.begin(), problems.end()).size() == problems.size());
}

TEST_CASE("plans survive a file", "[cuda]") {
    const temporary_folder folder;
    const auto file = folder / "plans.json";
    const std::vector<conv2d_problem> problems{conv3x3(64, 256, 256), conv3x3(8, 1024, 1024), conv3x3(16, 64, 128)};
    std::vector<std::string> written;
    {
        planner first(h200());
        CHECK(first.store.load(file).empty()); // there is none
        CHECK_FALSE(first.store.changed());
        for (const auto& p : problems) {
            const execution_plan* const plan = demanded(first.conv2d, p);
            REQUIRE(plan != nullptr);
            written.push_back(plan->json());
        }
        first.store.put("measured", {"anything \"at\" all\n", 12.5});
        CHECK(first.store.changed());
        first.store.save(file);
        CHECK_FALSE(first.store.changed());
    }
    planner second(h200());
    CHECK(second.store.load(file).empty());
    CHECK(second.store.size() == 4);
    REQUIRE(second.store.find("measured") != nullptr);
    CHECK(second.store.find("measured")->text == "anything \"at\" all\n");
    CHECK(second.store.find("measured")->microseconds == 12.5);
    for (std::size_t i = 0; i < problems.size(); ++i) {
        const execution_plan* const plan = demanded(second.conv2d, problems[i]);
        REQUIRE(plan != nullptr);
        CHECK(plan->json() == written[i]);
    }
    CHECK_FALSE(second.store.changed()); // all were taken from the file
    CHECK(second.conv2d.ignored().empty());
}

TEST_CASE("plans of another device or version are ignored, with a reason", "[cuda]") {
    const temporary_folder folder;
    const auto file = folder / "plans.json";
    planner mine(h200());
    demanded(mine.conv2d, conv3x3(64, 256, 256));
    mine.store.save(file);

    planner other(a100());
    CHECK_THAT(other.store.load(file), contains("NVIDIA H200 with 132 multiprocessors, here are") &&
                                           contains("NVIDIA A100-SXM4-80GB with 108"));
    CHECK(other.store.size() == 0);

    plan_origin later = origin_of(mine.device);
    later.cudnn += 100;
    plan_store newer(later);
    CHECK_THAT(newer.load(file), contains("the plans are for cuDNN " + cudnn_version_text(later.cudnn - 100)));
    CHECK(newer.size() == 0);

    // And when the file lies about its origin, cuDNN is asked, the plan refused and another one made.
    std::string text = file_text(file);
    text = replaced(text, "NVIDIA H200", "NVIDIA A100-SXM4-80GB");
    text = replaced(text, "\"multiprocessors\": 132", "\"multiprocessors\": 108");
    write_text(file, text);
    CHECK(other.store.load(file).empty());
    CHECK(other.store.size() == 1);
    demanded(other.conv2d, conv3x3(64, 256, 256));
    CHECK_THAT(other.conv2d.ignored(), contains("CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH"));
}

TEST_CASE("damaged plan files are ignored, with a reason", "[cuda]") {
    const temporary_folder folder;
    const auto file = folder / "plans.json";
    planner mine(h200());
    demanded(mine.conv2d, conv3x3(64, 256, 256));
    demanded(mine.conv2d, conv3x3(32, 256, 256));
    mine.store.save(file);
    const std::string good = file_text(file);
    plan_store store(mine.store.origin());

    const auto ignored = [&](const std::string& text) {
        write_text(file, text);
        const std::string why = store.load(file);
        CHECK(store.size() == 0);
        CHECK_THAT(why, contains("plans.json"));
        CHECK(why.size() < 1000);
        return why;
    };
    CHECK_THAT(ignored(""), contains("end of the text"));
    CHECK_THAT(ignored("nonsense"), contains("expected a value"));
    CHECK_THAT(ignored("[]"), contains("expected an object"));
    CHECK_THAT(ignored("{}"), contains("the key \"format\" is missing"));
    CHECK_THAT(ignored("{\"format\": \"repaint plans 2\"}"), contains("\"repaint plans 2\", expected"));
    CHECK_THAT(ignored(replaced(good, "\"cudnn\": 9", "\"cudnn\": -9")), contains("non-negative"));
    CHECK_THAT(ignored(replaced(good, "engineId", "engineID")), contains("its checksum is wrong"));
    CHECK_THAT(ignored(replaced(good, "of 64x64", "of 32x64")), contains("its checksum is wrong"));
    CHECK_THAT(ignored(replaced(good, "\"crc\": ", "\"crc\": 1")), contains("its checksum is wrong"));
    CHECK_THAT(ignored(replaced(good, "\"crc\": ", "\"crc\": \"x\", \"_\": ")), contains("expected"));
    CHECK_THAT(ignored(replaced(good, "\"plan\": ", "\"plan\": null, \"_\": ")), contains("expected a string"));
    ignored(std::string(std::size_t{17} << 20U, ' '));
    for (std::size_t length = 1; length + 2 < good.size(); length += good.size() / 50) {
        ignored(good.substr(0, length));
    }
    std::filesystem::remove(file);
    std::filesystem::create_directory(file);
    CHECK_THAT(store.load(file), contains("is a directory"));
    CHECK_THROWS_AS(store.save(folder / "missing/plans.json"), repaint::error);
}

TEST_CASE("hostile plans never reach cuDNN's memory, and are made anew", "[cuda]") {
    planner mine(h200());
    const conv2d_problem p = conv3x3(64, 256, 256);
    const execution_plan* const plan = demanded(mine.conv2d, p);
    REQUIRE(plan != nullptr);
    const std::string good = plan->json();
    operation_graph graph = graph_of(p);
    std::string why;
    REQUIRE(graph.close(why));
    REQUIRE(execution_plan::read(good, graph, mine.device, {}, why));

    const auto refused = [&](const std::string& text) {
        why.clear();
        CHECK_FALSE(execution_plan::read(text, graph, mine.device, {}, why));
        CHECK_FALSE(why.empty());
        return why;
    };
    CHECK_THAT(refused(""), contains("plan, line 1"));
    CHECK_THAT(refused("{}"), contains("\"operationGraph\" is missing"));
    CHECK_THAT(refused("[[[[[["), contains("plan, line 1"));
    CHECK_THAT(refused("{\"operationGraph\": {\"tensors\": 7}}"), contains("expected an array"));
    CHECK_THAT(refused("{\"operationGraph\": {\"tensors\": []}}"), contains("0 tensors, expected are"));
    CHECK_THAT(refused(replaced(good, "256,64,64", "256,64,65")), contains("has not tensor 1"));
    CHECK_THAT(refused(replaced(good, "1048576", "9048576")), contains("has not tensor 1"));
    refused(replaced(good, "\"cudnnVersion\":", "\"cudnnVersion\":1"));
    refused(replaced(good, "\"engineId\":", "\"engineId\":77"));
    refused(replaced(good, "\"engineId\":", "\"engineId\":-"));
    refused(replaced(good, "\"engine\":", "\"motor\":"));
    refused(replaced(good, "\"nodes\":", "\"edges\":"));
    refused(replaced(good, "CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR", "CUDNN_BACKEND"));
    for (std::size_t length = 0; length < good.size(); length += 97) {
        refused(good.substr(0, length));
    }
    // A plan of another problem under this one's name, as a file that was put together wrongly would have it.
    const std::string name = key(p) + ", deterministic, workspace " + std::to_string(plan_limits{}.workspace);
    REQUIRE(mine.store.find(name) != nullptr);
    planner other(h200());
    const execution_plan* const smaller = demanded(other.conv2d, conv3x3(32, 256, 256));
    REQUIRE(smaller != nullptr);
    other.store.put(name, {smaller->json(), 3.0});
    demanded(other.conv2d, p);
    CHECK_THAT(other.conv2d.ignored(), contains("the stored plan for conv2d half") && contains("has not tensor"));
    REQUIRE(other.store.find(name) != nullptr);
    CHECK(other.store.find(name)->text == good);
    CHECK(other.store.find(name)->microseconds == 0.0);
}

TEST_CASE("attention is planned where the driver is, and refused in a sentence elsewhere", "[cuda]") {
    planner on(h200());
    const recording_backend network = recorded_network();
    CHECK(network.attentions.size() == 3);
    for (attention_problem p : network.attentions) {
        CHECK(p.head_channels == 64);
        for (const element_type type : {element_type::half, element_type::bfloat16}) {
            p.type = type;
            INFO(key(p));
            // The operation is well formed in any case.
            operation_graph graph = graph_of(p);
            std::string why;
            CHECK(graph.close(why));
            CHECK(why.empty());
            const execution_plan* const plan = on.attention.find(p);
            CHECK((plan != nullptr) == on.attention.why_not(p).empty());
            if (plan != nullptr) {
                std::string wrong;
                CHECK(execution_plan::read(plan->json(), graph, on.device, limits_for(p, {}), wrong));
                CHECK(wrong.empty());
            }
        }
    }
    attention_problem p = *network.attentions.begin();
    p.type = element_type::float32;
    CHECK(on.attention.find(p) == nullptr);
    CHECK_THAT(on.attention.why_not(p), contains("half and bfloat16 only"));
    p.type = element_type::half;
    p.head_channels = 36;
    CHECK_THAT(refusal(p), contains("multiples of 8, found 36"));
    p.head_channels = 64;
    p.qkv_stride = 1540;
    CHECK_THAT(refusal(p), contains("multiples of 8, found 1540"));
    p.qkv_stride = 0;
    p.tokens = 0;
    CHECK_THAT(refusal(p), contains("nothing to compute"));
    p = *network.attentions.begin();
    attention_problem strided = p;
    strided.qkv_stride = 4096;
    CHECK(key(strided) != key(p));
}

TEST_CASE("products are described to cuBLASLt, and refused in a sentence", "[cuda]") {
    matmul_problem p;
    p.pixels = 1024;
    p.in = 512;
    p.out = 1536;
    for (const element_type type : all_types) {
        for (const bool transposed : {false, true}) {
            p.type = type;
            p.transposed = transposed;
            p.bias = p.residual = !transposed;
            CHECK(refusal(p).empty());
            matmul_operation first(p);
            matmul_operation second(std::move(first));
            CHECK(second.problem() == p);
        }
    }
    CHECK(alignment_of(p) == 16);
    p.in = 36;
    p.type = element_type::half;
    CHECK(alignment_of(p) == 8);
    p.in = 35;
    CHECK(alignment_of(p) == 2);
    p.type = element_type::float32;
    CHECK(alignment_of(p) == 4);
    p.w_stride = 34;
    CHECK_THAT(refusal(p), contains("neighbours overlap"));
    p.w_stride = 0;
    p.pixels = 0;
    CHECK_THAT(refusal(p), contains("nothing to compute"));
    p.pixels = 1;
    p.transposed = true;
    p.bias = true;
    CHECK_THAT(refusal(p), contains("neither residual nor bias"));
    matmul_problem wide = p;
    wide.x_stride = 72;
    CHECK(key(wide) != key(p));
}

TEST_CASE("algorithms of cuBLASLt survive as text", "[cuda]") {
    matmul_algorithm algorithm;
    for (std::size_t i = 0; i < std::size(algorithm.opaque.data); ++i) {
        algorithm.opaque.data[i] = 0x0123456789ABCDEFU * (i + 1);
    }
    const std::string text = algorithm_text(algorithm);
    const auto again = algorithm_of(text);
    REQUIRE(again);
    CHECK(algorithm_text(*again) == text);
    CHECK(again->opaque.data[7] == algorithm.opaque.data[7]);
    CHECK_FALSE(algorithm_of(""));
    CHECK_FALSE(algorithm_of(text.substr(1)));
    CHECK_FALSE(algorithm_of(text + "00"));
    CHECK_FALSE(algorithm_of(replaced(text, text.substr(0, 2), "0x")));
}

TEST_CASE("without a device the libraries say so by name", "[cuda]") {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0) {
        return;
    }
    CHECK_THROWS_WITH(device_properties::of_device(0), contains("CUDNN_STATUS_NOT_INITIALIZED"));
    CHECK_THROWS_WITH(cudnn_handle(nullptr), contains("cuDNN: CUDNN_STATUS_"));
    CHECK_THROWS_WITH(cublaslt_handle(), contains("CUBLAS_STATUS_NOT_INITIALIZED"));
    CHECK_THROWS_AS(device_event(), repaint::device_error);
}

TEST_CASE("a library that is missing, or lacks a function, is named", "[cuda]") {
    REQUIRE_THROWS_WITH(shared_library("cuDNN 9", {"librepaint_none.so.9", "/nowhere/libcudnn.so"}),
                        contains("cuDNN 9 is missing, which the backend cuda needs: librepaint_none.so.9: ") &&
                            contains("; /nowhere/libcudnn.so: "));
    const shared_library standard("the C library", {"librepaint_none.so.9", "libc.so.6"});
    int (*const upper)(int) = standard["toupper"];
    CHECK(upper('a') == 'A');
    REQUIRE_THROWS_WITH(standard["repaint_none"],
                        "the C library has no function repaint_none: it is not the version that is needed");
}
