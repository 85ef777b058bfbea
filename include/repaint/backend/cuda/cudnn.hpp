#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cudnn_backend.h>

#include <repaint/core/text.hpp>
#include <repaint/backend/cuda/shared_library.hpp>
#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>

struct __half;
struct __nv_bfloat16;

/// cuDNN 9 through its backend C API: graphs of operations, the engines it offers for them, and plans, which are
/// engines that can run. Nothing here needs a device but execution and device_properties::of_device.
namespace repaint::detail::cuda {

// ---- the library ----------------------------------------------------------------------------------------------------

/// What is used of cuDNN.
struct cudnn_functions {
    shared_library library;
    decltype(&::cudnnBackendCreateDescriptor) create_descriptor = library["cudnnBackendCreateDescriptor"];
    decltype(&::cudnnBackendDestroyDescriptor) destroy_descriptor = library["cudnnBackendDestroyDescriptor"];
    decltype(&::cudnnBackendExecute) execute = library["cudnnBackendExecute"];
    decltype(&::cudnnBackendFinalize) finalize = library["cudnnBackendFinalize"];
    decltype(&::cudnnBackendGetAttribute) get_attribute = library["cudnnBackendGetAttribute"];
    decltype(&::cudnnBackendSetAttribute) set_attribute = library["cudnnBackendSetAttribute"];
    decltype(&::cudnnCreate) create = library["cudnnCreate"];
    decltype(&::cudnnDestroy) destroy = library["cudnnDestroy"];
    decltype(&::cudnnGetErrorString) error_string = library["cudnnGetErrorString"];
    decltype(&::cudnnGetLastErrorString) last_error_string = library["cudnnGetLastErrorString"];
    decltype(&::cudnnGetVersion) version = library["cudnnGetVersion"];
    decltype(&::cudnnGraphVersionCheck) check_parts = library["cudnnGraphVersionCheck"];
    decltype(&::cudnnSetStream) set_stream = library["cudnnSetStream"];
};

/// Throws device_error when cuDNN is missing.
inline const cudnn_functions& cudnn() {
    static const cudnn_functions functions{{"cuDNN 9",
                                            {
                                                "libcudnn.so.9",
#if defined(REPAINT_CUDNN_LIBRARY)
                                                REPAINT_CUDNN_LIBRARY,
#endif
                                            }}};
    return functions;
}

// ---- versions and errors --------------------------------------------------------------------------------------------

/// "9.19.0" of 91900.
inline std::string cudnn_version_text(std::size_t version) {
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
}

/// Why a program compiled with one version of cuDNN cannot use the other at run time; empty when it can.
inline std::string cudnn_mismatch(std::size_t compiled, std::size_t found) {
    if (found / 10000 == compiled / 10000 && found >= compiled) {
        return {};
    }
    return "cuDNN " + cudnn_version_text(found) + " was found at run time, the program was compiled with " +
           cudnn_version_text(compiled) + ": the same major version is needed, and none that is older";
}

/// What cuDNN says about a status: its name, and the reason it gives when it gives one.
inline std::string cudnn_reason(cudnnStatus_t status) {
    std::array<char, 512> details{};
    cudnn().last_error_string(details.data(), details.size());
    details.back() = '\0';
    std::string text = cudnn().error_string(status);
    if (details.front() != '\0') {
        text += " (";
        text += printable(details.data(), 300);
        text += ")";
    }
    return text;
}

/// Throws device_error with cuDNN's own name for the reason. what: who asked for what.
inline void check(cudnnStatus_t status, const char* what) {
    if (status != CUDNN_STATUS_SUCCESS) {
        throw device_error(std::string(what) + ": " + cudnn_reason(status));
    }
}

/// Throws device_error when the cuDNN that was found at run time, or a part of it, is not the one it has to be.
inline void check_cudnn_version() {
    if (const std::string mismatch = cudnn_mismatch(CUDNN_VERSION, cudnn().version()); !mismatch.empty()) {
        throw device_error(mismatch);
    }
    check(cudnn().check_parts(), "cuDNN: the versions of its parts");
}

// ---- types ----------------------------------------------------------------------------------------------------------

/// What activations and weights are kept in.
enum class element_type { float32, half, bfloat16 };

/// The element_type of a C++ type.
template <class T> inline constexpr element_type element_type_of = element_type::float32;
template <> inline constexpr element_type element_type_of<__half> = element_type::half;
template <> inline constexpr element_type element_type_of<__nv_bfloat16> = element_type::bfloat16;

inline constexpr std::int64_t bytes_of(element_type type) { return type == element_type::float32 ? 4 : 2; }

inline constexpr const char* name_of(element_type type) {
    switch (type) {
    case element_type::half: return "half";
    case element_type::bfloat16: return "bfloat16";
    default: return "float";
    }
}

inline constexpr cudnnDataType_t cudnn_type(element_type type) {
    switch (type) {
    case element_type::half: return CUDNN_DATA_HALF;
    case element_type::bfloat16: return CUDNN_DATA_BFLOAT16;
    default: return CUDNN_DATA_FLOAT;
    }
}

template <class V> struct cudnn_attribute_type;
template <> struct cudnn_attribute_type<std::int64_t> { static constexpr auto value = CUDNN_TYPE_INT64; };
template <> struct cudnn_attribute_type<std::int32_t> { static constexpr auto value = CUDNN_TYPE_INT32; };
template <> struct cudnn_attribute_type<float> { static constexpr auto value = CUDNN_TYPE_FLOAT; };
template <> struct cudnn_attribute_type<bool> { static constexpr auto value = CUDNN_TYPE_BOOLEAN; };
template <> struct cudnn_attribute_type<char> { static constexpr auto value = CUDNN_TYPE_CHAR; };
template <> struct cudnn_attribute_type<void*> { static constexpr auto value = CUDNN_TYPE_VOID_PTR; };
template <> struct cudnn_attribute_type<cudnnDataType_t> { static constexpr auto value = CUDNN_TYPE_DATA_TYPE; };
template <> struct cudnn_attribute_type<cudnnConvolutionMode_t> {
    static constexpr auto value = CUDNN_TYPE_CONVOLUTION_MODE;
};
template <> struct cudnn_attribute_type<cudnnPointwiseMode_t> {
    static constexpr auto value = CUDNN_TYPE_POINTWISE_MODE;
};
template <> struct cudnn_attribute_type<cudnnBackendHeurMode_t> { static constexpr auto value = CUDNN_TYPE_HEUR_MODE; };
template <> struct cudnn_attribute_type<cudnnBackendNumericalNote_t> {
    static constexpr auto value = CUDNN_TYPE_NUMERICAL_NOTE;
};
template <> struct cudnn_attribute_type<cudnnBackendBehaviorNote_t> {
    static constexpr auto value = CUDNN_TYPE_BEHAVIOR_NOTE;
};

// ---- descriptors ----------------------------------------------------------------------------------------------------

/// A descriptor of the backend API: made, given its attributes, finalized, and from then on as it is. Moves, does not
/// copy. Its members throw device_error.
class cudnn_descriptor {
public:
    /// what: who needs it, for messages.
    cudnn_descriptor(cudnnBackendDescriptorType_t type, const char* what) : what_(what) {
        check(cudnn().create_descriptor(type, &descriptor_), what_);
    }
    cudnn_descriptor(cudnn_descriptor&& other) noexcept
        : what_(other.what_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}
    cudnn_descriptor& operator=(cudnn_descriptor&& other) noexcept {
        std::swap(what_, other.what_);
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~cudnn_descriptor() {
        if (descriptor_ != nullptr) {
            static_cast<void>(cudnn().destroy_descriptor(descriptor_));
        }
    }

    [[nodiscard]] const char* what() const { return what_; }
    [[nodiscard]] cudnnBackendDescriptor_t get() const { return descriptor_; }

    template <class V> cudnn_descriptor& set(cudnnBackendAttributeName_t name, const V& value) {
        return set_all(name, std::span<const V>(&value, 1));
    }
    cudnn_descriptor& set(cudnnBackendAttributeName_t name, const cudnn_descriptor& value) {
        return set_descriptors(name, std::span(&value.descriptor_, 1));
    }
    template <class V> cudnn_descriptor& set_all(cudnnBackendAttributeName_t name, std::span<const V> values) {
        return set_raw(name, cudnn_attribute_type<V>::value, values.size(), values.data());
    }
    cudnn_descriptor& set_descriptors(cudnnBackendAttributeName_t name,
                                      std::span<const cudnnBackendDescriptor_t> values) {
        return set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, values.size(), values.data());
    }

    cudnn_descriptor& finalize() {
        check(cudnn().finalize(descriptor_), what_);
        return *this;
    }

    /// False when cuDNN does not support what was asked for: why says the reason. Throws when a part of cuDNN is
    /// missing.
    [[nodiscard]] bool try_finalize(std::string& why) {
        const cudnnStatus_t status = cudnn().finalize(descriptor_);
        if (status == CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED) {
            check(status, what_);
        }
        if (status != CUDNN_STATUS_SUCCESS) {
            why = cudnn_reason(status);
        }
        return status == CUDNN_STATUS_SUCCESS;
    }

    /// How many values an attribute has.
    [[nodiscard]] std::int64_t count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
        std::int64_t values = 0;
        check(cudnn().get_attribute(descriptor_, name, type, 0, &values, nullptr), what_);
        return values;
    }
    template <class V> [[nodiscard]] V value(cudnnBackendAttributeName_t name) const {
        V result{};
        std::int64_t values = 0;
        check(cudnn().get_attribute(descriptor_, name, cudnn_attribute_type<V>::value, 1, &values, &result), what_);
        return result;
    }
    template <class V> [[nodiscard]] std::vector<V> values(cudnnBackendAttributeName_t name) const {
        constexpr auto type = cudnn_attribute_type<V>::value;
        std::vector<V> result(static_cast<std::size_t>(count(name, type)));
        std::int64_t filled = 0;
        if (!result.empty()) {
            check(cudnn().get_attribute(descriptor_, name, type, static_cast<std::int64_t>(result.size()), &filled,
                                        result.data()),
                  what_);
        }
        result.resize(static_cast<std::size_t>(filled));
        return result;
    }
    [[nodiscard]] std::string text(cudnnBackendAttributeName_t name) const {
        const auto characters = values<char>(name);
        std::string result(characters.begin(), characters.end());
        result.resize(std::min(result.size(), result.find('\0')));
        return result;
    }
    [[nodiscard]] cudnn_descriptor descriptor(cudnnBackendAttributeName_t name,
                                              cudnnBackendDescriptorType_t type) const {
        cudnn_descriptor result(type, what_);
        std::int64_t filled = 0;
        check(cudnn().get_attribute(descriptor_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &filled, &result.descriptor_),
              what_);
        return result;
    }
    /// As many as cuDNN gives, which may be fewer than it counts.
    [[nodiscard]] std::vector<cudnn_descriptor> descriptors(cudnnBackendAttributeName_t name,
                                                            cudnnBackendDescriptorType_t type) const {
        std::vector<cudnn_descriptor> result;
        std::vector<cudnnBackendDescriptor_t> raw;
        for (std::int64_t i = count(name, CUDNN_TYPE_BACKEND_DESCRIPTOR); i > 0; --i) {
            raw.push_back(result.emplace_back(type, what_).descriptor_);
        }
        std::int64_t filled = 0;
        if (!raw.empty()) {
            check(cudnn().get_attribute(descriptor_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                        static_cast<std::int64_t>(raw.size()), &filled, raw.data()),
                  what_);
        }
        result.erase(result.begin() + std::min<std::ptrdiff_t>(filled, std::ssize(result)), result.end());
        return result;
    }

private:
    cudnn_descriptor& set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::size_t count,
                              const void* values) {
        check(cudnn().set_attribute(descriptor_, name, type, static_cast<std::int64_t>(count), values), what_);
        return *this;
    }

    const char* what_;
    cudnnBackendDescriptor_t descriptor_ = nullptr;
};

/// What executes plans on a stream of the current device.
class cudnn_handle {
public:
    /// Throws device_error when cuDNN is not the one it has to be, or cannot use the device.
    explicit cudnn_handle(cudaStream_t stream) {
        check_cudnn_version();
        check(cudnn().create(&handle_), "cuDNN");
        const cudnnStatus_t status = cudnn().set_stream(handle_, stream);
        if (status != CUDNN_STATUS_SUCCESS) {
            static_cast<void>(cudnn().destroy(handle_));
            check(status, "the stream of cuDNN");
        }
    }
    cudnn_handle(const cudnn_handle&) = delete;
    cudnn_handle& operator=(const cudnn_handle&) = delete;
    ~cudnn_handle() { static_cast<void>(cudnn().destroy(handle_)); }

    [[nodiscard]] cudnnHandle_t get() const { return handle_; }

private:
    cudnnHandle_t handle_ = nullptr;
};

/// What cuDNN has to know of a device to plan for it; the device need not be there.
class device_properties {
public:
    /// Throws device_error when there is no such device.
    static device_properties of_device(int device) {
        cudnn_descriptor d(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "cuDNN: the properties of the device");
        d.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, std::int32_t{device}).finalize();
        return device_properties(std::move(d));
    }

    /// text: what json() gave. Throws format_error, or device_error when cuDNN refuses it.
    static device_properties from_json(std::string_view text) {
        static_cast<void>(parse_json(text, "device properties"));
        cudnn_descriptor d(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "cuDNN: the properties of the device");
        d.set_all(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(text)).finalize();
        return device_properties(std::move(d));
    }

    [[nodiscard]] std::string json() const { return descriptor_.text(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION); }
    [[nodiscard]] const cudnn_descriptor& descriptor() const { return descriptor_; }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] int multiprocessors() const { return multiprocessors_; }

private:
    explicit device_properties(cudnn_descriptor descriptor) : descriptor_(std::move(descriptor)) {
        const json_value properties = parse_json(json(), "device properties");
        name_ = properties.string("deviceName");
        multiprocessors_ = static_cast<int>(properties.integer("multiProcessorCount"));
    }

    cudnn_descriptor descriptor_;
    std::string name_;
    int multiprocessors_ = 0;
};

// ---- graphs ---------------------------------------------------------------------------------------------------------

/// Sizes or strides of a tensor in cuDNN's order: images, channels, rows, columns.
using extents = std::array<std::int64_t, 4>;

/// Operations joined by the tensors between them.
class operation_graph {
public:
    enum class tensor_kind {
        memory,     ///< a pointer to the device is given on execution; aligned to 16 bytes
        passing,    ///< between two operations, never in memory
        host_value, ///< one float, read from the host on execution
    };

    /// what: for messages.
    explicit operation_graph(const char* what) : what_(what) {}

    /// id: what the tensor is called on execution. The reference stays valid as long as the graph.
    const cudnn_descriptor& tensor(std::int64_t id, cudnnDataType_t type, const extents& dimensions,
                                   const extents& strides, tensor_kind kind = tensor_kind::memory) {
        cudnn_descriptor& d = parts_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR, what_);
        d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
            .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
            .set_all(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const std::int64_t>(dimensions))
            .set_all(CUDNN_ATTR_TENSOR_STRIDES, std::span<const std::int64_t>(strides))
            .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{kind == tensor_kind::host_value ? 4 : 16})
            .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, kind == tensor_kind::passing)
            .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, kind == tensor_kind::host_value)
            .finalize();
        layouts_.push_back({id, dimensions, strides});
        return d;
    }

    /// A descriptor that operations refer to. Finalize it before.
    const cudnn_descriptor& part(cudnn_descriptor d) { return parts_.emplace_back(std::move(d)); }

    /// Appends an operation, finalized.
    void operation(cudnn_descriptor d) { operations_.push_back(part(std::move(d)).get()); }

    /// Closes the graph. False when cuDNN does not know its like: why says the reason.
    [[nodiscard]] bool close(std::string& why) {
        cudnn_descriptor d(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, what_);
        d.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
        if (!d.try_finalize(why)) {
            return false;
        }
        graph_.emplace(std::move(d));
        return true;
    }

    [[nodiscard]] const char* what() const { return what_; }
    /// After close().
    [[nodiscard]] const cudnn_descriptor& descriptor() const { return *graph_; }

    /// Throws format_error unless the text of a plan is JSON and its tensors are those of this graph, by id, dimensions
    /// and strides: a plan of another graph would read and write elsewhere.
    void check_plan(std::string_view plan) const {
        const json_value all = parse_json(plan, "plan");
        const auto& tensors = all.at("operationGraph").array("tensors");
        if (tensors.size() != layouts_.size()) {
            throw format_error("the plan has " + std::to_string(tensors.size()) + " tensors, expected are " +
                               std::to_string(layouts_.size()));
        }
        for (const layout& mine : layouts_) {
            const auto same = [&mine](const json_value& t) {
                return t.string("name") == std::to_string(mine.id) && equal(t.array("dim"), mine.dimensions) &&
                       equal(t.array("stride"), mine.strides);
            };
            if (std::none_of(tensors.begin(), tensors.end(), same)) {
                throw format_error("the plan has not tensor " + std::to_string(mine.id) + " as it is here");
            }
        }
    }

private:
    struct layout {
        std::int64_t id;
        extents dimensions;
        extents strides;
    };

    static bool equal(const json_value::array_type& a, const extents& b) {
        return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                          [](const json_value& x, std::int64_t y) { return x.as_integer() == y; });
    }

    const char* what_;
    std::deque<cudnn_descriptor> parts_;
    std::vector<layout> layouts_;
    std::vector<cudnnBackendDescriptor_t> operations_;
    std::optional<cudnn_descriptor> graph_;
};

// ---- plans ----------------------------------------------------------------------------------------------------------

/// Which engines are good enough.
struct plan_limits {
    bool deterministic = true;        ///< the same bits on every run
    bool tensor_cores = true;         ///< false: nor any other rounding of the factors of float32 products
    bool runtime_compilation = false; ///< engines that are compiled when the plan is built, in a third of a second
    std::size_t workspace = std::size_t{64} << 20U; ///< bytes of scratch that an engine may use

    auto operator<=>(const plan_limits&) const = default;
};

/// An engine for a graph, ready to run on its device as often as one likes. Moves, does not copy.
class execution_plan {
public:
    /// None when the engine is outside the limits or cannot be built: why says the reason.
    [[nodiscard]] static std::optional<execution_plan> build(const cudnn_descriptor& configuration,
                                                             const device_properties& device, const plan_limits& limits,
                                                             std::string& why) {
        if (!admitted(configuration, limits, why)) {
            return std::nullopt;
        }
        cudnn_descriptor d(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, configuration.what());
        d.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
        return finished(std::move(d), device, limits, why);
    }

    /// A plan that json() wrote, for this graph and device. None when it is damaged, of another version of cuDNN, of
    /// another graph, or outside the limits: why says the reason.
    [[nodiscard]] static std::optional<execution_plan> read(std::string_view text, const operation_graph& graph,
                                                            const device_properties& device, const plan_limits& limits,
                                                            std::string& why) {
        try {
            graph.check_plan(text);
        } catch (const format_error& damaged) {
            why = damaged.what();
            return std::nullopt;
        }
        cudnn_descriptor d(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, graph.what());
        // The device comes first: without it cuDNN looks for one while it reads, and there may be none.
        d.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device.descriptor());
        const cudnnStatus_t status =
            cudnn().set_attribute(d.get(), CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                  static_cast<std::int64_t>(text.size()), text.data());
        if (status != CUDNN_STATUS_SUCCESS) {
            why = cudnn_reason(status);
            return std::nullopt;
        }
        std::optional<execution_plan> plan = finished(std::move(d), device, limits, why, false);
        if (plan && !admitted(plan->configuration(), limits, why)) {
            plan.reset();
        }
        return plan;
    }

    [[nodiscard]] std::size_t workspace_bytes() const { return workspace_bytes_; }
    /// cuDNN's number of the engine.
    [[nodiscard]] std::int64_t engine() const {
        return engine_of(configuration()).value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    }
    [[nodiscard]] std::string json() const { return plan_.text(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION); }

    /// Enqueues the work on the handle's stream. pointers[i] belongs to the tensor ids[i]; the workspace has
    /// workspace_bytes() bytes. Throws device_error.
    void execute(const cudnn_handle& handle, std::span<const std::int64_t> ids, std::span<void* const> pointers,
                 void* workspace) const {
        cudnn_descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, plan_.what());
        pack.set_all(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
            .set_all(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers)
            .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
            .finalize();
        check(cudnn().execute(handle.get(), plan_.get(), pack.get()), plan_.what());
    }

private:
    execution_plan(cudnn_descriptor plan, std::size_t workspace_bytes)
        : plan_(std::move(plan)), workspace_bytes_(workspace_bytes) {}

    static std::optional<execution_plan> finished(cudnn_descriptor d, const device_properties& device,
                                                  const plan_limits& limits, std::string& why, bool set_device = true) {
        if (set_device) {
            d.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device.descriptor());
        }
        if (!d.try_finalize(why)) {
            return std::nullopt;
        }
        const auto bytes = d.value<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
        if (bytes < 0 || static_cast<std::uint64_t>(bytes) > limits.workspace) {
            why = "an engine needs " + std::to_string(bytes) + " bytes of workspace, allowed are " +
                  std::to_string(limits.workspace);
            return std::nullopt;
        }
        return execution_plan(std::move(d), static_cast<std::size_t>(bytes));
    }

    [[nodiscard]] cudnn_descriptor configuration() const {
        return plan_.descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    }
    [[nodiscard]] static cudnn_descriptor engine_of(const cudnn_descriptor& configuration) {
        return configuration.descriptor(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    }

    [[nodiscard]] static bool admitted(const cudnn_descriptor& configuration, const plan_limits& limits,
                                       std::string& why) {
        const cudnn_descriptor engine = engine_of(configuration);
        for (const auto note : engine.values<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)) {
            if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC && limits.deterministic) {
                why = "an engine is not deterministic";
                return false;
            }
            if (note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) {
                why = "an engine sums in less than float32";
                return false;
            }
            if ((note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) &&
                !limits.tensor_cores) {
                why = "an engine rounds the factors of float32 products";
                return false;
            }
        }
        for (const auto note : engine.values<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE)) {
            if (note == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION && !limits.runtime_compilation) {
                why = "an engine is compiled at run time";
                return false;
            }
        }
        return true;
    }

    cudnn_descriptor plan_;
    std::size_t workspace_bytes_;
};

/// The plans within the limits that cuDNN offers for a closed graph, at most `most`, the one it expects to be fastest
/// first. Empty when there is none: why says the reason.
inline std::vector<execution_plan> offered_plans(const operation_graph& graph, const device_properties& device,
                                                 const plan_limits& limits, std::size_t most, std::string& why) {
    std::vector<execution_plan> plans;
    std::string last = "cuDNN offers no engine";
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK}) {
        cudnn_descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, graph.what());
        heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.descriptor())
            .set(CUDNN_ATTR_ENGINEHEUR_MODE, mode)
            .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device.descriptor());
        if (!heuristics.try_finalize(last)) {
            continue;
        }
        for (const auto& configuration :
             heuristics.descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)) {
            if (plans.size() == most) {
                break;
            }
            if (auto plan = execution_plan::build(configuration, device, limits, last)) {
                plans.push_back(std::move(*plan));
            }
        }
        if (!plans.empty()) {
            return plans;
        }
    }
    why = std::string(graph.what()) + ": " + last;
    return plans;
}

} // namespace repaint::detail::cuda
