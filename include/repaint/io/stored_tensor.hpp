#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/host_weights.hpp>

namespace repaint {

/// Element types that files hold. complex64 and the types after it are known by size only and cannot become float32.
enum class dtype {
    f64,
    f32,
    f16,
    bf16,
    i64,
    i32,
    i16,
    i8,
    u64,
    u32,
    u16,
    u8,
    boolean,
    complex64,
    f8_e5m2,
    f8_e4m3,
    f8_e8m0,
    f8_e5m2_fnuz,
    f8_e4m3_fnuz,
    f6_e2m3,
    f6_e3m2,
    f4
};

namespace detail {

struct dtype_entry {
    dtype type;
    const char* name;
    std::size_t bits;
};

/// In the order of the enumeration; names as in the safetensors format.
inline constexpr std::array<dtype_entry, 22> dtypes = {{{dtype::f64, "F64", 64},
                                                        {dtype::f32, "F32", 32},
                                                        {dtype::f16, "F16", 16},
                                                        {dtype::bf16, "BF16", 16},
                                                        {dtype::i64, "I64", 64},
                                                        {dtype::i32, "I32", 32},
                                                        {dtype::i16, "I16", 16},
                                                        {dtype::i8, "I8", 8},
                                                        {dtype::u64, "U64", 64},
                                                        {dtype::u32, "U32", 32},
                                                        {dtype::u16, "U16", 16},
                                                        {dtype::u8, "U8", 8},
                                                        {dtype::boolean, "BOOL", 8},
                                                        {dtype::complex64, "C64", 64},
                                                        {dtype::f8_e5m2, "F8_E5M2", 8},
                                                        {dtype::f8_e4m3, "F8_E4M3", 8},
                                                        {dtype::f8_e8m0, "F8_E8M0", 8},
                                                        {dtype::f8_e5m2_fnuz, "F8_E5M2FNUZ", 8},
                                                        {dtype::f8_e4m3_fnuz, "F8_E4M3FNUZ", 8},
                                                        {dtype::f6_e2m3, "F6_E2M3", 6},
                                                        {dtype::f6_e3m2, "F6_E3M2", 6},
                                                        {dtype::f4, "F4", 4}}};

float widen_f16(std::uint16_t half);

} // namespace detail

/// "F32", as the safetensors format spells it.
std::string to_string(dtype type);

/// Bits of one element: 4 and 6 for the types that share bytes.
constexpr std::size_t bits(dtype type) { return detail::dtypes[static_cast<std::size_t>(type)].bits; }

/// True when read_weights and read_tensor can turn the type into float32.
bool converts_to_float(dtype type);

/// "(256, 128, 3, 3)", as it appears in error messages.
std::string to_string(const std::vector<std::int64_t>& extents);

/// A tensor that lies in a file, which is usually mapped. Strides are in elements, 0 for an expanded axis, never
/// negative. The readers of this library guarantee that every element lies inside the file.
struct stored_tensor {
    std::vector<std::int64_t> shape;
    dtype type = dtype::f32;
    std::vector<std::int64_t> strides;
    const std::byte* data = nullptr;
    std::shared_ptr<const void> owner;
    /// Called when values that were read in place are no longer used; null: nothing is called.
    void (*done_with)(const void* owner, std::span<const std::byte> bytes) = nullptr;

    /// Number of elements; 1 for a scalar.
    [[nodiscard]] std::size_t numel() const;

    /// True when the elements follow each other in row-major order without gaps.
    [[nodiscard]] bool is_contiguous() const;
};

/// Row-major strides of a shape whose number of elements fits int64.
std::vector<std::int64_t> contiguous_strides(const std::vector<std::int64_t>& shape);

/// A description of float32 values that stay where they are, for write_safetensors. The values must outlive it. Throws
/// shape_error when the shape does not have that many elements.
stored_tensor describe(std::span<const float> values, std::vector<std::int64_t> shape);

/// A description of a host_tensor as four-dimensional F32, for write_safetensors. The tensor must outlive it.
stored_tensor describe(const host_tensor& tensor);

void describe(host_tensor&&) = delete;

/// A description of raw bytes as one-dimensional U8, for write_safetensors. The bytes must outlive it.
stored_tensor describe(std::span<const std::byte> bytes);

/// The named tensors of one checkpoint. A tensor keeps its file mapped, so it stays valid after the checkpoint is gone.
struct checkpoint {
    std::map<std::string, stored_tensor> tensors;
    std::map<std::string, std::string> metadata;
    std::vector<std::string> notes; ///< what the reader did, for people: a prefix was stripped, a wrapper was opened
    std::string format;             ///< "safetensors"
    std::string path;
};

namespace detail {

/// Writes all elements, row-major, as float32. Throws format_error when the type has no conversion.
void gather(const stored_tensor& t, std::string_view name, float* out);

/// True when the elements may be read in place as float.
bool is_float_array(const stored_tensor& t);

} // namespace detail

/// The elements as weights of shape `as`, row-major. Contiguous aligned float32 stays in the file's mapping; every
/// other tensor becomes a converted copy. name is what messages call the tensor. Throws shape_error when the numbers of
/// elements differ, format_error when the type cannot become float32.
host_weights read_weights(const stored_tensor& t, shape4 as, std::string_view name = "tensor");

namespace detail {

/// Drops a prefix that every tensor name carries, as wrappers of training programs add them, and adds a note.
void strip_common_prefix(checkpoint& c);

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/stored_tensor.ipp>
#endif
