#pragma once

#include <filesystem>
#include <fstream>

#include <repaint/backend/cpu.hpp>
#include <repaint/repaint.hpp>

#include "both_ways.hpp"

namespace both_ways {
namespace { // one for each way

/// The same lines compiled twice: sizes of types, numbers and sentences of functions that are no templates, a run.
values values_of_this_way() {
    using namespace repaint;
    values found;
    found.sizes = {sizeof(host_tensor),  sizeof(host_weights),      sizeof(checkpoint),       sizeof(json_value),
                   sizeof(stored_tensor), sizeof(diffusion_settings), sizeof(opened_model),   sizeof(inpaint_options),
                   sizeof(noise_schedule), sizeof(cpu_backend),      sizeof(unet<cpu_backend>)};

    const opened_model opened = open_model({REPAINT_MODELS "/faces32.safetensors"});
    found.texts.push_back(opened.description.family);
    cpu_backend backend({.threads = 1});
    const auto model = load_model(backend, opened);
    const inpainter inpaint(backend, model, {.timesteps = 4, .jumps = {.jump_length = 1, .jump_n_sample = 1}});
    found.numbers.push_back(static_cast<double>(inpaint.evaluations()));
    const host_tensor keep = make_mask(mask_kind::half, 32, 32);
    const host_tensor filled = inpaint(host_tensor({1, 3, 32, 32}), keep, philox_noise(3));
    found.numbers.insert(found.numbers.end(), filled.values().begin(), filled.values().end());

    try {
        (void)read_checkpoint("no such file.safetensors");
    } catch (const error& what) {
        found.texts.emplace_back(what.what());
    }
    return found;
}

} // namespace
} // namespace both_ways
