// What must model a concept and what must not; with contracts_again.cpp also that two translation units link.
#include <repaint/backend/dry.hpp>
#include <repaint/repaint.hpp>

#include "support/catch.hpp"

namespace {

using repaint::dry_backend;

// Each hides one member of a complete backend.
// clang-format off
struct no_allocate : dry_backend { void allocate(repaint::shape4) = delete; };
struct no_upload : dry_backend { void upload(const repaint::host_tensor&) = delete; };
struct no_download : dry_backend { void download(const tensor&) = delete; };
struct no_synchronize : dry_backend { void synchronize() = delete; };
struct no_pack_conv2d : dry_backend { void pack_conv2d() = delete; };
struct no_pack_norm : dry_backend { void pack_norm() = delete; };
struct no_conv2d : dry_backend { void conv2d() = delete; };
struct no_group_norm : dry_backend { void group_norm() = delete; };
struct no_attention : dry_backend { void attention() = delete; };
struct no_resize : dry_backend { void resize() = delete; };
struct no_concat : dry_backend { void concat() = delete; };
struct no_mean : dry_backend { void mean() = delete; };
struct no_prepend_mean : dry_backend { void prepend_mean() = delete; };
struct no_conv2d_vjp : dry_backend { void conv2d_vjp() = delete; };
struct no_activation_vjp : dry_backend { void activation_vjp() = delete; };
struct no_group_norm_vjp : dry_backend { void group_norm_vjp() = delete; };
struct no_attention_vjp : dry_backend { void attention_vjp() = delete; };
struct no_resize_vjp : dry_backend { void resize_vjp() = delete; };
struct no_split : dry_backend { void split() = delete; };
struct no_mean_vjp : dry_backend { void mean_vjp() = delete; };
struct no_prepend_mean_vjp : dry_backend { void prepend_mean_vjp() = delete; };
struct no_accumulate : dry_backend { void accumulate() = delete; };
struct no_duplicate : dry_backend { void duplicate() = delete; };
struct no_normal : dry_backend { void normal() = delete; };
struct no_reverse_step : dry_backend { void reverse_step() = delete; };
struct no_forward_step : dry_backend { void forward_step() = delete; };
struct no_merge : dry_backend { void merge() = delete; };
// clang-format on

// Right names, wrong results or arguments.
struct attention_by_value : dry_backend {
    tensor attention(const tensor& qkv, int, tensor&) { return allocate(qkv.shape()); }
};

struct half_a_split : dry_backend {
    tensor split(const tensor& x, int) { return allocate(x.shape()); }
};
struct split_that_takes_over : dry_backend {
    std::pair<tensor, tensor> split(tensor&& x, int channels) { return dry_backend::split(x, channels); }
};
struct duplicate_by_reference : dry_backend {
    const tensor& duplicate(const tensor& x) { return x; }
};
struct accumulate_to_constant : dry_backend {
    tensor accumulate(const tensor& sum, const tensor&) { return allocate(sum.shape()); }
};
struct conv2d_vjp_that_allocates : dry_backend {
    tensor conv2d_vjp(const tensor& dy, const conv2d_weights&, const repaint::conv2d_options&) {
        return allocate(dy.shape());
    }
};

static_assert(repaint::tensor_backend<dry_backend>);
static_assert(!repaint::memory_backend<no_allocate>);
static_assert(!repaint::memory_backend<no_upload>);
static_assert(!repaint::memory_backend<no_download>);
static_assert(!repaint::memory_backend<no_synchronize>);
static_assert(!repaint::network_backend<no_pack_conv2d>);
static_assert(!repaint::network_backend<no_pack_norm>);
static_assert(!repaint::network_backend<no_conv2d>);
static_assert(!repaint::network_backend<no_group_norm>);
static_assert(!repaint::network_backend<no_attention>);
static_assert(!repaint::network_backend<attention_by_value>);
static_assert(!repaint::network_backend<no_resize>);
static_assert(!repaint::network_backend<no_concat>);
static_assert(!repaint::diffusion_backend<no_normal>);
static_assert(!repaint::diffusion_backend<no_reverse_step>);
static_assert(!repaint::diffusion_backend<no_forward_step>);
static_assert(!repaint::diffusion_backend<no_merge>);
static_assert(repaint::diffusion_backend<no_attention>); // samplers do not need what only networks need

// Encoders and gradients are asked for by what needs them alone.
static_assert(repaint::differentiable_backend<dry_backend>);
static_assert(repaint::tensor_backend<no_mean> && !repaint::encoder_backend<no_mean>);
static_assert(repaint::tensor_backend<no_prepend_mean> && !repaint::encoder_backend<no_prepend_mean>);
static_assert(!repaint::differentiable_backend<no_mean>);
static_assert(!repaint::differentiable_backend<no_attention>);
static_assert(repaint::tensor_backend<no_conv2d_vjp> && repaint::encoder_backend<no_conv2d_vjp>);
static_assert(!repaint::differentiable_backend<no_conv2d_vjp>);
static_assert(!repaint::differentiable_backend<conv2d_vjp_that_allocates>);
static_assert(!repaint::differentiable_backend<no_activation_vjp>);
static_assert(!repaint::differentiable_backend<no_group_norm_vjp>);
static_assert(!repaint::differentiable_backend<no_attention_vjp>);
static_assert(!repaint::differentiable_backend<no_resize_vjp>);
static_assert(!repaint::differentiable_backend<no_split>);
static_assert(!repaint::differentiable_backend<half_a_split>);
static_assert(!repaint::differentiable_backend<split_that_takes_over>);
static_assert(!repaint::differentiable_backend<no_mean_vjp>);
static_assert(!repaint::differentiable_backend<no_prepend_mean_vjp>);
static_assert(!repaint::differentiable_backend<no_accumulate>);
static_assert(!repaint::differentiable_backend<accumulate_to_constant>);
static_assert(!repaint::differentiable_backend<no_duplicate>);
static_assert(!repaint::differentiable_backend<duplicate_by_reference>);
static_assert(repaint::differentiable_backend<no_normal>); // gradients do not need what only samplers need

static_assert(repaint::noise_source<repaint::philox_noise, dry_backend>);
static_assert(repaint::noise_source<repaint::torch_cpu_noise, dry_backend>);
static_assert(repaint::noise_source<repaint::recorded_noise, dry_backend>);
static_assert(repaint::conditioner<repaint::known_region<dry_backend>, dry_backend, repaint::philox_noise>);
static_assert(repaint::conditioner<const repaint::unconditional, dry_backend, repaint::philox_noise>);
static_assert(repaint::conditioner<repaint::any_condition<dry_backend>, dry_backend, repaint::any_noise<dry_backend>>);
// A conditioner and a loop draw noise; they need not continue it.
static_assert(repaint::draws_noise<repaint::any_noise<dry_backend>, dry_backend>);
static_assert(!repaint::noise_source<repaint::any_noise<dry_backend>, dry_backend>);
static_assert(repaint::sampling_loop<repaint::official_loop<dry_backend, const repaint::unconditional>, dry_backend,
                                     repaint::any_denoiser<dry_backend>, repaint::any_noise<dry_backend>>);
static_assert(repaint::sampling_loop<repaint::scheduler_loop<dry_backend>, dry_backend,
                                     repaint::any_denoiser<dry_backend>, repaint::any_noise<dry_backend>>);
static_assert(!repaint::sampling_loop<repaint::unconditional, dry_backend, repaint::any_denoiser<dry_backend>,
                                      repaint::any_noise<dry_backend>>);
// What may watch a run.
static_assert(repaint::observer<bool (*)(const repaint::progress&), dry_backend>);
static_assert(repaint::observer<void (*)(const repaint::preview<dry_backend>&), dry_backend>);
static_assert(!repaint::observer<bool (*)(int), dry_backend>);
static_assert(!repaint::observer<bool (*)(repaint::progress&), dry_backend>);
static_assert(repaint::denoiser<repaint::unet_denoiser<dry_backend>, dry_backend>);
static_assert(repaint::executes<repaint::dry_run<dry_backend>, dry_backend>);
static_assert(!repaint::provides_replay<dry_backend>);
static_assert(repaint::walk<std::vector<repaint::transition>>);
static_assert(!repaint::denoiser<repaint::philox_noise, dry_backend>);
static_assert(!std::copyable<dry_backend::tensor>);

} // namespace

std::size_t parameters_in_another_unit();

TEST_CASE("two translation units that include everything link and agree", "[contracts]") {
    CHECK(parameters_in_another_unit() == sizeof(repaint::unet<dry_backend>));
}

TEST_CASE("the dry backend counts what gradients cost", "[dry]") {
    dry_backend b;
    const auto weights = b.pack_conv2d({{8, 4, 3, 3}, {}}, {});
    const auto x = b.allocate({2, 4, 6, 10});
    const repaint::conv2d_options half{.stride = 2, .padding = 1};

    SECTION("a transposed convolution: as much as the convolution") {
        const auto y = repaint::ops::conv2d(b, x, weights, half);
        const auto forward = b.multiply_adds();
        CHECK(forward == 2U * 8 * 3 * 5 * 4 * 9);
        CHECK(repaint::ops::conv2d_vjp(b, y, weights, half, x.shape()).shape() == x.shape());
        CHECK(b.multiply_adds() == 2 * forward);
    }
    SECTION("attention: five products of tokens x tokens x channels for two") {
        const auto qkv = b.allocate({2, 24, 3, 5});
        const auto y = repaint::ops::attention(b, qkv, 2);
        CHECK(b.multiply_adds() == 2U * 2 * 8 * 15 * 15);
        CHECK(repaint::ops::attention_vjp(b, qkv, 2, y).shape() == qkv.shape());
        CHECK(b.multiply_adds() == (2U + 5U) * 2 * 8 * 15 * 15);
    }
    SECTION("storage: a duplicate and the parts of a split are new, what is accumulated is not") {
        const std::size_t bytes = 4U * x.shape().size(); // a multiple of the arena's alignment
        CHECK(b.peak_bytes() == bytes);
        auto copy = b.duplicate(x);
        CHECK(copy.shape() == x.shape());
        CHECK(b.peak_bytes() == 2 * bytes);
        repaint::ops::accumulate(b, copy, x);
        CHECK(b.peak_bytes() == 2 * bytes);
        const auto parts = repaint::ops::split(b, x, 2);
        CHECK(parts.first.shape() == repaint::shape4{2, 2, 6, 10});
        CHECK(parts.second.shape() == repaint::shape4{2, 2, 6, 10});
        CHECK(b.peak_bytes() == 3 * bytes);
    }
    SECTION("shapes") {
        CHECK(repaint::ops::mean(b, x).shape() == repaint::shape4{2, 4, 1, 1});
        CHECK(repaint::ops::prepend_mean(b, x).shape() == repaint::shape4{2, 4, 1, 61});
        CHECK(repaint::ops::resize_vjp(b, x, repaint::resampling::nearest_up).shape() == repaint::shape4{2, 4, 3, 5});
        CHECK(repaint::ops::resize_vjp(b, x, repaint::resampling::average_down).shape() ==
              repaint::shape4{2, 4, 12, 20});
    }
}

TEST_CASE("the arena gives the live peak, the same offsets every time, and joins what is freed", "[arena]") {
    repaint::arena memory(64);
    const auto a = memory.allocate(100); // 128
    const auto b = memory.allocate(64);
    const auto c = memory.allocate(1); // 64
    CHECK(a == 0);
    CHECK(b == 128);
    CHECK(c == 192);
    CHECK(memory.used() == 256);
    memory.release(a, 100);
    memory.release(b, 64);
    CHECK(memory.allocate(192) == 0); // both holes are one
    memory.release(0, 192);
    memory.release(c, 1);
    CHECK(memory.used() == 0);
    CHECK(memory.peak() == 256);
    CHECK(memory.allocate(256) == 0);
    CHECK(memory.extent() == 256);
    // A hole at the end grows with what is asked for.
    const auto tail = memory.allocate(64);
    memory.release(tail, 64);
    CHECK(memory.allocate(128) == tail);
    CHECK(memory.extent() == 384);
}
