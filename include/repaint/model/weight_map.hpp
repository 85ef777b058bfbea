#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/core/host_weights.hpp>
#include <repaint/core/shape.hpp>
#include <repaint/io/stored_tensor.hpp>

namespace repaint {

/// What a file calls the tensors of a network that asks for them by other names (guided-diffusion's).
struct name_map {
    /// Under the network's name one name of the file, or several tensors that are joined along their first axis. A name
    /// that is not here is the file's own.
    std::map<std::string, std::vector<std::string>> files;
    /// Names of the file that the network has no need of.
    std::vector<std::string> ignored;
};

/// The tensors of a checkpoint as a network asks for them: by name inside a scope, with the shape it expects. What is
/// missing, mis-shaped or left over is collected, and finish() reports all of it at once, in the file's names.
/// Copies and scopes share one record. The checkpoint must outlive them; the weights they hand out need not.
class weight_map {
public:
    struct check_only_t {
        explicit check_only_t() = default;
    };
    /// take() checks names and shapes and hands out shapes without values: a pass that reads nothing from the file.
    static constexpr check_only_t check_only{};

    /// Makes the weights of the given full name ("out.2.weight") and shape.
    using weight_maker = std::function<host_weights(const std::string&, const shape4&)>;

    explicit weight_map(const checkpoint& c, name_map names = {});
    weight_map(const checkpoint& c, check_only_t, name_map names = {});
    /// No checkpoint: every tensor that is asked for is there, made by `make` when it is taken and not kept.
    explicit weight_map(weight_maker make);
    explicit weight_map(checkpoint&&, name_map = {}) = delete;
    weight_map(checkpoint&&, check_only_t, name_map = {}) = delete;

    /// The tensor of that name in this scope as float32, in the shape (out, in, kernel rows, kernel columns). A tensor
    /// of fewer than four axes counts as followed by ones: (n) as (n, 1, 1, 1), (out, in, 1) as (out, in, 1, 1).
    /// Zero-copy where the file allows it. A missing or mis-shaped tensor gives null values; finish() tells.
    host_weights take(std::string_view name, const shape4& expected);

    /// False for a checking pass, where take() gives null values whatever the file holds.
    [[nodiscard]] bool gives_values() const;

    /// The same map seen from inside a module: scope("input_blocks.1.0").take("in_layers.0.weight", ...).
    [[nodiscard]] weight_map scope(std::string_view name) const;
    [[nodiscard]] weight_map operator[](std::string_view name) const { return scope(name); }

    /// True when the checkpoint has the tensor of that name in this scope; without a checkpoint always.
    [[nodiscard]] bool has(std::string_view name) const;

    /// Marks a tensor as used that the network has no need of, so that finish() accepts it.
    void ignore(std::string_view name);

    /// Throws one format_error that lists missing, mis-shaped and unused tensors (of the whole checkpoint, whatever the
    /// scope), with found and expected shapes, when there are any.
    void finish() const;

private:
    struct record;

    static bool same_shape(const std::vector<std::int64_t>& found, const shape4& expected);

    [[nodiscard]] std::vector<std::string> names_in_file(const std::string& full) const;

    host_weights take_file(const std::string& name, const shape4& expected);

    /// Equal parts of the rows of `expected` from each name, in one array.
    host_weights take_joined(const std::vector<std::string>& names, const shape4& expected);

    std::shared_ptr<record> record_;
    std::string scope_;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/weight_map.ipp>
#endif
