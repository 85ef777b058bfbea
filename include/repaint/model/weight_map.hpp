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

/// The names that a file gives to the tensors of a network. Networks ask for their tensors by guided-diffusion's names.
struct name_map {
    /// The key is the network's name of a tensor; the value is the file's name of it, or the names of several tensors
    /// that are joined along their first axis. A tensor without an entry has one name for both.
    std::map<std::string, std::vector<std::string>> files;
    /// Names of tensors in the file that the network does not use.
    std::vector<std::string> ignored;
};

/// The tensors of a checkpoint as a network asks for them: by name inside a scope, with the shape it expects. The map
/// records which tensors are missing, mis-shaped or left over, and finish() reports all of them at once, in the file's
/// names. Copies and scopes share one record. The checkpoint must outlive them, but not the weights they hand out.
class weight_map {
public:
    struct check_only_t {
        explicit check_only_t() = default;
    };
    /// Chooses a map whose take() checks names and shapes and hands out shapes without values: it reads no tensor.
    static constexpr check_only_t check_only{};

    /// Makes the weights of the given full name ("out.2.weight") and shape.
    using weight_maker = std::function<host_weights(const std::string&, const shape4&)>;

    /// The tensors of a checkpoint, with their values.
    explicit weight_map(const checkpoint& c, name_map names = {});

    /// The tensors of a checkpoint, without values.
    weight_map(const checkpoint& c, check_only_t, name_map names = {});
    /// A map without a checkpoint: it has every tensor that is asked for, and take() calls `make` for it.
    explicit weight_map(weight_maker make);
    explicit weight_map(checkpoint&&, name_map = {}) = delete;
    weight_map(checkpoint&&, check_only_t, name_map = {}) = delete;

    /// The tensor of that name in this scope as float32, in the shape (out, in, kernel rows, kernel columns). A tensor
    /// of fewer than four axes has ones for the others: (n) is (n, 1, 1, 1), (out, in, 1) is (out, in, 1, 1). The
    /// values stay in the file's mapping where read_weights allows it. A missing or mis-shaped tensor has null values,
    /// and finish() reports it.
    host_weights take(std::string_view name, const shape4& expected);

    /// False for a map made with check_only, whose take() gives null values.
    [[nodiscard]] bool gives_values() const;

    /// This map as a module sees it: scope("input_blocks.1.0").take("in_layers.0.weight", ...) takes
    /// "input_blocks.1.0.in_layers.0.weight".
    [[nodiscard]] weight_map scope(std::string_view name) const;
    [[nodiscard]] weight_map operator[](std::string_view name) const { return scope(name); }

    /// True when the checkpoint has the tensor of that name in this scope. A map without a checkpoint has every tensor.
    [[nodiscard]] bool has(std::string_view name) const;

    /// Marks a tensor that the network does not use as used, so that finish() accepts it.
    void ignore(std::string_view name);

    /// Throws format_error when tensors of the checkpoint are missing, mis-shaped or unused, in whatever scope. The
    /// message lists them with the shapes found and expected.
    void finish() const;

private:
    struct record;

    static bool same_shape(const std::vector<std::int64_t>& found, const shape4& expected);

    [[nodiscard]] std::vector<std::string> names_in_file(const std::string& full) const;

    host_weights take_file(const std::string& name, const shape4& expected);

    /// Takes an equal share of the rows of `expected` from each name and joins them.
    host_weights take_joined(const std::vector<std::string>& names, const shape4& expected);

    std::shared_ptr<record> record_;
    std::string scope_;
};

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/weight_map.ipp>
#endif
