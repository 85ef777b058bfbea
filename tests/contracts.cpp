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
struct no_normal : dry_backend { void normal() = delete; };
struct no_reverse_step : dry_backend { void reverse_step() = delete; };
struct no_forward_step : dry_backend { void forward_step() = delete; };
struct no_merge : dry_backend { void merge() = delete; };
// clang-format on

// Right names, wrong results.
struct attention_by_value : dry_backend {
    tensor attention(const tensor& qkv, int, tensor&) { return allocate(qkv.shape()); }
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

static_assert(repaint::noise_source<repaint::philox_noise, dry_backend>);
static_assert(repaint::noise_source<repaint::torch_cpu_noise, dry_backend>);
static_assert(repaint::noise_source<repaint::recorded_noise, dry_backend>);
static_assert(repaint::conditioner<repaint::known_region<dry_backend>, dry_backend, repaint::philox_noise>);
static_assert(repaint::conditioner<const repaint::unconditional, dry_backend, repaint::philox_noise>);
static_assert(repaint::denoiser<repaint::unet_denoiser<dry_backend>, dry_backend>);
static_assert(repaint::walk<std::vector<repaint::transition>>);
static_assert(!repaint::denoiser<repaint::philox_noise, dry_backend>);
static_assert(!std::copyable<dry_backend::tensor>);

} // namespace

std::size_t parameters_in_another_unit();

TEST_CASE("two translation units that include everything link and agree", "[contracts]") {
    CHECK(parameters_in_another_unit() == sizeof(repaint::unet<dry_backend>));
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
