#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/core/options.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/core/step_values.hpp>

/// The contracts on one page. A backend is a class with the members below; algorithms reach them through ops.hpp, which
/// infers and checks every shape, so a backend may trust its arguments. Each primitive is a concept of its own: the
/// compiler's message then names the one that is missing. dry_backend is the shortest complete model; backend_suite.hpp
/// (in tests) is the meaning.
namespace repaint {

template <class B> using tensor_of = typename B::tensor;
template <class B> using conv2d_weights_of = typename B::conv2d_weights;
template <class B> using norm_weights_of = typename B::norm_weights;

/// An opaque handle: owns its storage, moves, does not copy. The shape is logical NCHW, the layout private.
template <class T> concept tensor_handle = std::movable<T> && !std::copyable<T> && requires(const T& x) {
    { x.shape() } -> std::convertible_to<shape4>;
};

// ---- memory: storage and transfer ------------------------------------------------------------------------------------

template <class B> concept provides_tensor = tensor_handle<tensor_of<B>>;

/// A tensor with unspecified content.
template <class B> concept provides_allocate = requires(B& b, shape4 s) {
    { b.allocate(s) } -> std::same_as<tensor_of<B>>;
};

template <class B> concept provides_upload = requires(B& b, const host_tensor& host) {
    { b.upload(host) } -> std::same_as<tensor_of<B>>;
};

/// Waits for the work the tensor depends on.
template <class B> concept provides_download = requires(B& b, const tensor_of<B>& x) {
    { b.download(x) } -> std::same_as<host_tensor>;
};

/// Waits for all work; asynchronous failures surface here or in download.
template <class B> concept provides_synchronize = requires(B& b) {
    { b.synchronize() } -> std::same_as<void>;
};

template <class B>
concept memory_backend =
    provides_tensor<B> && provides_allocate<B> && provides_upload<B> && provides_download<B> && provides_synchronize<B>;

// ---- network: what a U-Net is made of --------------------------------------------------------------------------------

/// Weights (out, in, k, k) and bias (out, 1, 1, 1; null values: none) in the backend's layout and precision, once.
template <class B> concept provides_pack_conv2d = requires(B& b, const host_weights& w, const conv2d_weights_of<B>& p) {
    { b.pack_conv2d(w, w) } -> std::same_as<conv2d_weights_of<B>>;
    { p.shape() } -> std::convertible_to<shape4>;
};

/// gamma and beta, (c, 1, 1, 1) each.
template <class B> concept provides_pack_norm = requires(B& b, const host_weights& w, const norm_weights_of<B>& p) {
    { b.pack_norm(w, w) } -> std::same_as<norm_weights_of<B>>;
    { p.channels() } -> std::convertible_to<int>;
};

/// y = then(conv(x) + bias + residual). The residual has y's shape, or (1 or n, c, 1, 1) and is added to every pixel.
/// A linear layer is a 1x1 convolution of (n, c, 1, 1).
template <class B>
concept provides_conv2d = requires(B& b, const tensor_of<B>& x, const conv2d_weights_of<B>& w, const conv2d_options& o,
                                   tensor_of<B>& y) {
    { b.conv2d(x, w, &x, o, y) } -> std::same_as<void>;
};

/// y = then(norm(x) * (1 + scale) + shift); scale_shift is (1 or n, 2c, 1, 1), scale first; null: 0 and 0.
template <class B>
concept provides_group_norm = requires(B& b, const tensor_of<B>& x, const norm_weights_of<B>& w,
                                       const group_norm_options& o, tensor_of<B>& y) {
    { b.group_norm(x, w, &x, o, y) } -> std::same_as<void>;
};

/// y = softmax(Q K^T / sqrt(c / heads)) V over the h*w tokens; qkv: (n, 3c, h, w), channels Q of all heads, then K,
/// then V.
template <class B> concept provides_attention = requires(B& b, const tensor_of<B>& qkv, tensor_of<B>& y) {
    { b.attention(qkv, 4, y) } -> std::same_as<void>;
};

/// Twice or half the rows and columns. Returned, not written, so that a backend may fold it into what follows.
template <class B> concept provides_resize = requires(B& b, const tensor_of<B>& x, resampling mode) {
    { b.resize(x, mode) } -> std::same_as<tensor_of<B>>;
};

/// The channels of the first tensor, then those of the second. Takes both over, so that a backend may join without a
/// copy.
template <class B> concept provides_concat = requires(B& b, tensor_of<B>&& x) {
    { b.concat(std::move(x), std::move(x)) } -> std::same_as<tensor_of<B>>;
};

template <class B>
concept network_backend = memory_backend<B> && provides_pack_conv2d<B> && provides_pack_norm<B> && provides_conv2d<B> &&
    provides_group_norm<B> && provides_attention<B> && provides_resize<B> && provides_concat<B>;

/// True when E can run a network whose weights B has packed: E is B, or forwards to it (`taped<B>`).
template <class E, class B>
concept executes = network_backend<E> && std::same_as<conv2d_weights_of<E>, conv2d_weights_of<B>> &&
    std::same_as<norm_weights_of<E>, norm_weights_of<B>>;

// ---- replay: optional, of backends whose host has work of its own for every primitive --------------------------------

/// Runs one network again and again on images of one shape, with constants that go with a key (the embedding of a
/// timestep). keep() copies them. A run calls evaluate(x, constants) when it has to, and may do again what the call did
/// before, with other values in x and the constants.
template <class B>
concept provides_replay = network_backend<B> &&
    requires(B& b, typename B::replay& again, const tensor_of<B>& x, const std::vector<tensor_of<B>>& constants,
             tensor_of<B> (*evaluate)(const tensor_of<B>&, std::vector<tensor_of<B>>)) {
    { again.keep(b, 0, constants) } -> std::same_as<void>;
    { again(b, x, 0, evaluate) } -> std::same_as<tensor_of<B>>;
    { B::element_bytes } -> std::convertible_to<std::size_t>;
    { b.reserve(std::size_t{}) } -> std::same_as<void>; // for the activations; throws device_error
};

// ---- encoder: what the classifiers of classifier guidance need besides ----------------------------------------------

/// The mean over the pixels of each channel: (n, c, h, w) -> (n, c, 1, 1).
template <class B> concept provides_mean = requires(B& b, const tensor_of<B>& x) {
    { b.mean(x) } -> std::same_as<tensor_of<B>>;
};

/// The mean over the pixels, then the pixels: (n, c, h, w) -> (n, c, 1, 1 + h w), the tokens of attention pooling.
template <class B> concept provides_prepend_mean = requires(B& b, const tensor_of<B>& x) {
    { b.prepend_mean(x) } -> std::same_as<tensor_of<B>>;
};

template <class B> concept encoder_backend = network_backend<B> && provides_mean<B> && provides_prepend_mean<B>;

// ---- gradients: the vector-Jacobian product of each of the above with respect to its input --------------------------
// dy is the cotangent of the result, of its shape; dx receives the product J^T dy and has the shape of the input. Biases,
// embeddings and weights get none: gradients with respect to an image need them not.

/// The convolution transposed: dx = conv^T(dy). options.then is ignored, activation_vjp comes before.
template <class B>
concept provides_conv2d_vjp = requires(B& b, const tensor_of<B>& dy, const conv2d_weights_of<B>& w,
                                       const conv2d_options& o, tensor_of<B>& dx) {
    { b.conv2d_vjp(dy, w, o, dx) } -> std::same_as<void>;
};

/// dx = f'(x) dy, with x what the activation f was applied to.
template <class B>
concept provides_activation_vjp = requires(B& b, const tensor_of<B>& x, activation f, const tensor_of<B>& dy,
                                           tensor_of<B>& dx) {
    { b.activation_vjp(x, f, dy, dx) } -> std::same_as<void>;
};

/// Of then(norm(x) * (1 + scale) + shift) as group_norm computes it; statistics are computed anew from x.
template <class B>
concept provides_group_norm_vjp = requires(B& b, const tensor_of<B>& x, const norm_weights_of<B>& w,
                                           const group_norm_options& o, const tensor_of<B>& dy, tensor_of<B>& dx) {
    { b.group_norm_vjp(x, w, &x, o, dy, dx) } -> std::same_as<void>;
};

/// dqkv: (n, 3c, h, w), as qkv.
template <class B>
concept provides_attention_vjp = requires(B& b, const tensor_of<B>& qkv, const tensor_of<B>& dy, tensor_of<B>& dqkv) {
    { b.attention_vjp(qkv, 4, dy, dqkv) } -> std::same_as<void>;
};

/// mode is that of the forward call: the sum of 2x2 for nearest_up, a quarter to each of 2x2 for average_down.
template <class B> concept provides_resize_vjp = requires(B& b, const tensor_of<B>& dy, resampling mode) {
    { b.resize_vjp(dy, mode) } -> std::same_as<tensor_of<B>>;
};

/// concat's: the first `channels` channels of x, and the others.
template <class B> concept provides_split = requires(B& b, const tensor_of<B>& x, int channels) {
    { b.split(x, channels) } -> std::same_as<std::pair<tensor_of<B>, tensor_of<B>>>;
};

/// dy: (n, c, 1, 1) and (n, c, 1, 1 + h w).
template <class B> concept provides_mean_vjp = requires(B& b, const tensor_of<B>& dy, tensor_of<B>& dx) {
    { b.mean_vjp(dy, dx) } -> std::same_as<void>;
    { b.prepend_mean_vjp(dy, dx) } -> std::same_as<void>;
};

/// sum += x.
template <class B> concept provides_accumulate = requires(B& b, tensor_of<B>& sum, const tensor_of<B>& x) {
    { b.accumulate(sum, x) } -> std::same_as<void>;
};

/// A second tensor with the same content. Network primitives never write to a tensor twice, so a backend may share the
/// storage.
template <class B> concept provides_duplicate = requires(B& b, const tensor_of<B>& x) {
    { b.duplicate(x) } -> std::same_as<tensor_of<B>>;
};

template <class B>
concept differentiable_backend = encoder_backend<B> && provides_conv2d_vjp<B> && provides_activation_vjp<B> &&
    provides_group_norm_vjp<B> && provides_attention_vjp<B> && provides_resize_vjp<B> && provides_split<B> &&
    provides_mean_vjp<B> && provides_accumulate<B> && provides_duplicate<B>;

// ---- diffusion: what a sampler does to images; float32 always --------------------------------------------------------

/// Image i of y becomes draw `draw` of the Philox stream of seeds[i] (diffusion/philox.hpp), element by element in
/// NCHW.
template <class B> concept provides_normal = requires(B& b, std::span<const std::uint64_t> seeds, tensor_of<B>& y) {
    { b.normal(seeds, std::uint64_t{}, y) } -> std::same_as<void>;
};

/// x_t becomes x_{t-1} (core/step_values.hpp). prediction: (n, c or 2c, h, w). x0, when not null, receives the predicted
/// x_0. guidance, when not null, is the gradient of classifier guidance, (n, c, h, w).
template <class B>
concept provides_reverse_step = requires(B& b, tensor_of<B>& x, const tensor_of<B>& prediction, const posterior& p,
                                         tensor_of<B>* x0) {
    { b.reverse_step(x, prediction, prediction, p, x0, &prediction) } -> std::same_as<void>;
};

/// x = m.signal * x + m.noise * z.
template <class B> concept provides_forward_step = requires(B& b, tensor_of<B>& x, const tensor_of<B>& z, mixing m) {
    { b.forward_step(x, z, m) } -> std::same_as<void>;
};

/// x = keep * (m.signal * known + m.noise * z) + (1 - keep) * x. known and keep: (1 or n, c, h, w), keep also (.., 1,
/// h, w).
template <class B> concept provides_merge = requires(B& b, tensor_of<B>& x, const tensor_of<B>& y, mixing m) {
    { b.merge(x, y, y, y, m) } -> std::same_as<void>;
};

template <class B>
concept diffusion_backend = memory_backend<B> && provides_normal<B> && provides_reverse_step<B> &&
    provides_forward_step<B> && provides_merge<B>;

template <class B> concept tensor_backend = network_backend<B> && diffusion_backend<B>;

// ---- what a user may bring -------------------------------------------------------------------------------------------

/// The network: x_t (n, c, h, w) at index t of the (respaced) schedule -> prediction (n, c or 2c, h, w).
template <class D, class B> concept denoiser = requires(D& d, B& b, const tensor_of<B>& x, int t) {
    { d(b, x, t) } -> std::same_as<tensor_of<B>>;
};

/// Fresh draws from N(0, I).
template <class N, class B> concept draws_noise = requires(N& n, B& b, shape4 s) {
    { n(b, s) } -> std::same_as<tensor_of<B>>;
};

/// Fresh draws from N(0, I) that can be continued: state() and restore() make a run resumable.
template <class N, class B> concept noise_source = draws_noise<N, B> && requires(N& n, const N& saved) {
    { saved.state() } -> std::copyable;
    n.restore(saved.state());
};

/// Imposes what is known on x, whose signal and noise are those of `level`; may draw noise.
template <class C, class B, class N>
concept conditioner = draws_noise<N, B> && requires(C& c, B& b, tensor_of<B>& x, mixing level, N& noise) {
    { c(b, x, level, noise) } -> std::same_as<void>;
};

/// What a published program does at a transition: official_loop is the shortest example. `evaluates` tells which
/// transitions ask the network; `first` is true at the first of a run; x0, when not null, receives the predicted x_0.
template <class L, class B, class D, class N>
concept sampling_loop = requires(L& loop, B& b, tensor_of<B>& x, const transition& move, D& denoise, N& noise) {
    { loop.evaluates(move) } -> std::same_as<bool>;
    { loop(b, x, move, true, denoise, noise, &x) } -> std::same_as<void>;
};

/// A random-access list of transitions (from, to) with |from - to| = 1, from size() - 1 down to -1 (jump_schedule.hpp).
template <class W> concept walk = requires(const W& w, std::size_t i) {
    { w.size() } -> std::convertible_to<std::size_t>;
    { w[i] } -> std::convertible_to<transition>;
};

/// Says at compile time which primitive a backend lacks. Called by everything that takes a backend. The concepts are
/// asked one by one and asserted as plain numbers, so that the message is this sentence and not the concept's inside.
template <class B> consteval void require_backend() {
    constexpr bool has_tensor = provides_tensor<B>;
    static_assert(has_tensor, "the backend lacks a movable, non-copyable `tensor` with shape()");
    constexpr bool has_allocate = !has_tensor || provides_allocate<B>;
    static_assert(has_allocate, "the backend lacks allocate(shape) -> tensor");
    constexpr bool has_upload = !has_tensor || provides_upload<B>;
    static_assert(has_upload, "the backend lacks upload(host_tensor) -> tensor");
    constexpr bool has_download = !has_tensor || provides_download<B>;
    static_assert(has_download, "the backend lacks download(tensor) -> host_tensor");
    constexpr bool has_synchronize = !has_tensor || provides_synchronize<B>;
    static_assert(has_synchronize, "the backend lacks synchronize()");
    constexpr bool has_pack_conv2d = !has_tensor || provides_pack_conv2d<B>;
    static_assert(has_pack_conv2d, "the backend lacks pack_conv2d(weights, bias) -> conv2d_weights");
    constexpr bool has_pack_norm = !has_tensor || provides_pack_norm<B>;
    static_assert(has_pack_norm, "the backend lacks pack_norm(gamma, beta) -> norm_weights");
    constexpr bool has_conv2d = !has_tensor || provides_conv2d<B>;
    static_assert(has_conv2d, "the backend lacks conv2d(x, weights, residual*, options, y)");
    constexpr bool has_group_norm = !has_tensor || provides_group_norm<B>;
    static_assert(has_group_norm, "the backend lacks group_norm(x, weights, scale_shift*, options, y)");
    constexpr bool has_attention = !has_tensor || provides_attention<B>;
    static_assert(has_attention, "the backend lacks attention(qkv, heads, y)");
    constexpr bool has_resize = !has_tensor || provides_resize<B>;
    static_assert(has_resize, "the backend lacks resize(x, mode) -> tensor");
    constexpr bool has_concat = !has_tensor || provides_concat<B>;
    static_assert(has_concat, "the backend lacks concat(a, b) -> tensor");
    constexpr bool has_normal = !has_tensor || provides_normal<B>;
    static_assert(has_normal, "the backend lacks normal(seeds, draw, y)");
    constexpr bool has_reverse_step = !has_tensor || provides_reverse_step<B>;
    static_assert(has_reverse_step, "the backend lacks reverse_step(x, prediction, z, posterior, x0*, guidance*)");
    constexpr bool has_forward_step = !has_tensor || provides_forward_step<B>;
    static_assert(has_forward_step, "the backend lacks forward_step(x, z, mixing)");
    constexpr bool has_merge = !has_tensor || provides_merge<B>;
    static_assert(has_merge, "the backend lacks merge(x, known, keep, z, mixing)");
}

namespace detail {

/// What the faces of this library make of a backend that lacks something, so that the compiler's message is what
/// require_backend says and nothing after it.
struct unusable_backend {};
struct anything {
    template <class T> anything(T&&) {} // NOLINT
};
template <class B> using usable = std::conditional_t<tensor_backend<B>, B, unusable_backend>;

} // namespace detail

} // namespace repaint
