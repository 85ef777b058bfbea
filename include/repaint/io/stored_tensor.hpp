#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/core/host_tensor.hpp>
#include <repaint/core/host_weights.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

/// Element types that files hold. complex64 and what follows it are known by size only and cannot become float32.
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

inline float widen_f16(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16U;
    const std::uint32_t exponent = (half >> 10U) & 0x1FU;
    const std::uint32_t mantissa = half & 0x3FFU;
    // A subnormal is mantissa * 2^-24, which float32 holds as a normal number.
    const auto subnormal = std::bit_cast<std::uint32_t>(static_cast<float>(mantissa) * 0x1p-24F);
    const std::uint32_t rebiased = exponent == 0x1FU ? 0xFFU : exponent + 112U;
    const std::uint32_t magnitude = exponent == 0 ? subnormal : (rebiased << 23U) | (mantissa << 13U);
    return std::bit_cast<float>(sign | magnitude);
}

inline float widen_bf16(std::uint16_t top) { return std::bit_cast<float>(static_cast<std::uint32_t>(top) << 16U); }

/// Calls f with a function that reads the element at an address as float32. False when there is no such function.
template <class F> bool with_element_reader(dtype type, F f) {
    using at = const std::byte*;
    switch (type) {
    case dtype::f64: f([](at p) { return static_cast<float>(load<double>(p)); }); return true;
    case dtype::f32: f([](at p) { return load<float>(p); }); return true;
    case dtype::f16: f([](at p) { return widen_f16(load<std::uint16_t>(p)); }); return true;
    case dtype::bf16: f([](at p) { return widen_bf16(load<std::uint16_t>(p)); }); return true;
    case dtype::i64: f([](at p) { return static_cast<float>(load<std::int64_t>(p)); }); return true;
    case dtype::i32: f([](at p) { return static_cast<float>(load<std::int32_t>(p)); }); return true;
    case dtype::i16: f([](at p) { return static_cast<float>(load<std::int16_t>(p)); }); return true;
    case dtype::i8: f([](at p) { return static_cast<float>(load<std::int8_t>(p)); }); return true;
    case dtype::u64: f([](at p) { return static_cast<float>(load<std::uint64_t>(p)); }); return true;
    case dtype::u32: f([](at p) { return static_cast<float>(load<std::uint32_t>(p)); }); return true;
    case dtype::u16: f([](at p) { return static_cast<float>(load<std::uint16_t>(p)); }); return true;
    case dtype::u8: f([](at p) { return static_cast<float>(load<std::uint8_t>(p)); }); return true;
    case dtype::boolean: f([](at p) { return *p == std::byte{0} ? 0.0F : 1.0F; }); return true;
    default: return false;
    }
}

} // namespace detail

/// "F32", as the safetensors format spells it.
inline std::string to_string(dtype type) { return detail::dtypes[static_cast<std::size_t>(type)].name; }

/// Bits of one element: 4 and 6 for the types that share bytes.
constexpr std::size_t bits(dtype type) { return detail::dtypes[static_cast<std::size_t>(type)].bits; }

/// True when read_weights and read_tensor can turn the type into float32.
inline bool converts_to_float(dtype type) {
    return detail::with_element_reader(type, [](auto) {});
}

/// "(256, 128, 3, 3)", as it appears in error messages.
inline std::string to_string(const std::vector<std::int64_t>& extents) {
    std::string text = "(";
    for (const std::int64_t extent : extents) {
        text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
    }
    return text + ")";
}

/// A tensor that lies in a file, usually mapped: where it is and how to walk it. Strides are in elements, 0 for an
/// expanded axis, never negative. The readers of this library guarantee that every element lies inside the file.
struct stored_tensor {
    std::vector<std::int64_t> shape;
    dtype type = dtype::f32;
    std::vector<std::int64_t> strides;
    const std::byte* data = nullptr;
    std::shared_ptr<const void> owner;
    /// Told that values which were read in place are in use no more; null: nobody needs to know.
    void (*done_with)(const void* owner, std::span<const std::byte> bytes) = nullptr;

    /// Number of elements; 1 for a scalar.
    [[nodiscard]] std::size_t numel() const {
        std::size_t product = 1;
        for (const std::int64_t extent : shape) {
            product *= static_cast<std::size_t>(extent);
        }
        return product;
    }

    /// True when the elements follow each other in row-major order without gaps.
    [[nodiscard]] bool is_contiguous() const {
        if (numel() == 0) {
            return true;
        }
        std::int64_t expected = 1;
        for (std::size_t axis = shape.size(); axis-- > 0;) {
            if (shape[axis] != 1 && strides[axis] != expected) {
                return false;
            }
            expected *= shape[axis];
        }
        return true;
    }
};

/// Row-major strides of a shape whose number of elements fits int64.
inline std::vector<std::int64_t> contiguous_strides(const std::vector<std::int64_t>& shape) {
    std::vector<std::int64_t> strides(shape.size());
    std::uint64_t stride = 1; // unsigned: beside an extent of 0 the others may be so large that this wraps
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        strides[axis] = static_cast<std::int64_t>(stride);
        stride *= static_cast<std::uint64_t>(shape[axis]);
    }
    return strides;
}

/// A description of values that stay where they are, for write_safetensors. The values must outlive it.
/// Throws shape_error when the shape does not have that many elements.
inline stored_tensor describe(std::span<const float> values, std::vector<std::int64_t> shape) {
    stored_tensor t;
    t.shape = std::move(shape);
    t.strides = contiguous_strides(t.shape);
    t.data = std::as_bytes(values).data();
    const bool negative = std::any_of(t.shape.begin(), t.shape.end(), [](std::int64_t extent) { return extent < 0; });
    if (negative || t.numel() != values.size()) {
        throw shape_error("describe: shape " + to_string(t.shape) + " does not have " + std::to_string(values.size()) +
                          " elements");
    }
    return t;
}

/// The same for a host_tensor, as four-dimensional F32.
inline stored_tensor describe(const host_tensor& tensor) {
    const shape4& s = tensor.shape();
    return describe(tensor.values(), {s.n, s.c, s.h, s.w});
}
void describe(host_tensor&&) = delete;

/// The same for raw bytes, as one-dimensional U8.
inline stored_tensor describe(std::span<const std::byte> bytes) {
    stored_tensor t;
    t.shape = {static_cast<std::int64_t>(bytes.size())};
    t.strides = {1};
    t.type = dtype::u8;
    t.data = bytes.data();
    return t;
}

/// The named tensors of one checkpoint, and what its reader did that the user should know (notes: a prefix that was
/// stripped, a wrapper that was opened). Tensors stay valid as long as they are held, the checkpoint itself may go.
struct checkpoint {
    std::map<std::string, stored_tensor> tensors;
    std::map<std::string, std::string> metadata;
    std::vector<std::string> notes;
    std::string format;
    std::filesystem::path path;
};

namespace detail {

/// Writes all elements, row-major, as float32. Throws format_error when the type has no conversion.
inline void gather(const stored_tensor& t, std::string_view name, float* out) {
    const bool known = with_element_reader(t.type, [&](auto read) {
        const std::size_t size = bits(t.type) / 8;
        const std::size_t count = t.numel();
        if (count == 0) {
            return;
        }
        if (t.is_contiguous()) {
            for (std::size_t i = 0; i < count; ++i) {
                out[i] = read(t.data + i * size);
            }
            return;
        }
        const std::size_t last = t.shape.size() - 1; // a scalar is contiguous
        const auto row = static_cast<std::size_t>(t.shape[last]);
        const std::size_t step = static_cast<std::size_t>(t.strides[last]) * size;
        std::vector<std::int64_t> index(t.shape.size());
        std::size_t offset = 0;
        for (std::size_t done = 0; done < count; done += row) {
            const std::byte* const from = t.data + offset * size;
            for (std::size_t i = 0; i < row; ++i) {
                *out++ = read(from + i * step);
            }
            for (std::size_t axis = last; axis-- > 0;) {
                offset += static_cast<std::size_t>(t.strides[axis]);
                if (++index[axis] < t.shape[axis]) {
                    break;
                }
                offset -= static_cast<std::size_t>(t.strides[axis] * t.shape[axis]);
                index[axis] = 0;
            }
        }
    });
    if (!known) {
        throw format_error(std::string(name) + ": elements of type " + to_string(t.type) +
                           " cannot become float32, accepted are floats of 16, 32 and 64 bits, integers and booleans");
    }
}

/// True when the elements may be read in place as float.
inline bool is_float_array(const stored_tensor& t) {
    return t.type == dtype::f32 && t.is_contiguous() && t.data != nullptr &&
           reinterpret_cast<std::uintptr_t>(t.data) % alignof(float) == 0;
}

} // namespace detail

/// The elements as weights of shape `as`, row-major. Contiguous aligned float32 stays in the file's mapping; anything
/// else becomes a converted copy. name is used in messages. Throws shape_error when the numbers of elements differ,
/// format_error when the type cannot become float32.
inline host_weights read_weights(const stored_tensor& t, shape4 as, std::string_view name = "tensor") {
    const std::size_t count = t.numel();
    if (as.size() != count) {
        throw shape_error(std::string(name) + ": shape " + to_string(t.shape) + " does not have the elements of " +
                          to_string(as));
    }
    if (detail::is_float_array(t)) {
        const auto* values = reinterpret_cast<const float*>(t.data);
        if (t.done_with == nullptr) {
            return {as, std::shared_ptr<const float>(t.owner, values)};
        }
        // With the last user goes the file's copy in memory: packed weights must not count twice.
        return {as,
                std::shared_ptr<const float>(values, [owner = t.owner, tell = t.done_with, count](const float* from) {
                    tell(owner.get(), std::as_bytes(std::span(from, count)));
                })};
    }
    // At least one element, so that the pointer of an empty tensor is not null: null means "not read".
    const std::shared_ptr<float[]> copy(new float[std::max<std::size_t>(count, 1)]);
    detail::gather(t, name, copy.get());
    return {as, std::shared_ptr<const float>(copy, copy.get())};
}

namespace detail {

/// Drops a prefix that every tensor name carries, and says so in the notes. Wrappers of training programs add them.
inline void strip_common_prefix(checkpoint& c) {
    constexpr std::array<std::string_view, 6> prefixes = {
        "model.diffusion_model.", "module.", "_orig_mod.", "model.", "net.", "unet."};
    // Wrappers stack: torch.compile around DistributedDataParallel around a Lightning module.
    for (int layer = 0; layer < 4 && !c.tensors.empty(); ++layer) {
        std::string_view common;
        for (const std::string_view prefix : prefixes) {
            const bool all = std::all_of(c.tensors.begin(), c.tensors.end(), [&](const auto& entry) {
                return entry.first.size() > prefix.size() && entry.first.starts_with(prefix);
            });
            if (all) {
                common = prefix;
                break;
            }
        }
        if (common.empty()) {
            return;
        }
        std::map<std::string, stored_tensor> renamed;
        while (!c.tensors.empty()) {
            auto node = c.tensors.extract(c.tensors.begin());
            node.key().erase(0, common.size());
            renamed.insert(renamed.end(), std::move(node));
        }
        c.tensors = std::move(renamed);
        c.notes.push_back("every tensor name starts with \"" + std::string(common) + "\", which was stripped");
    }
}

} // namespace detail

} // namespace repaint
