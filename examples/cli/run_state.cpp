#include "run_state.hpp"

#include <bit>
#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>

#include <repaint/io/safetensors.hpp>

namespace cli {

namespace {

using repaint::dtype;
using repaint::host_tensor;
using repaint::stored_tensor;

host_tensor restored(const std::filesystem::path& path, const repaint::checkpoint& file, const std::string& name) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end() || found->second.type != dtype::f32 || found->second.shape.size() != 4) {
        throw repaint::format_error(path.string() + ": not the state of a stopped run, there is no image " + name);
    }
    const auto& t = found->second;
    const auto extent = [&](std::size_t axis) { return static_cast<int>(t.shape[axis]); };
    host_tensor result({extent(0), extent(1), extent(2), extent(3)});
    std::memcpy(result.data(), t.data, result.size() * sizeof(float));
    return result;
}

const std::string& required(const std::filesystem::path& path, const repaint::checkpoint& file, const char* key) {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end()) {
        throw repaint::format_error(path.string() + ": not the state of a stopped run, it says nothing of " + key);
    }
    return found->second;
}

std::uint64_t number(const std::filesystem::path& path, const repaint::checkpoint& file, const char* key) {
    const std::string& text = required(path, file, key);
    if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos) {
        throw repaint::format_error(path.string() + ": " + key + " is " + text + ", expected a number");
    }
    return std::stoull(text);
}

/// Throws format_error unless a stored state has the words it needs.
void expect_words(const std::vector<std::uint64_t>& words, std::size_t count) {
    if (words.size() != count) {
        throw repaint::format_error("the saved state of the noise has " + std::to_string(words.size()) +
                                    " words, expected " + std::to_string(count));
    }
}

} // namespace

std::vector<std::uint64_t> to_words(std::uint64_t draws) { return {draws}; }

std::vector<std::uint64_t> to_words(const repaint::torch_cpu_generator::state& s) {
    std::vector<std::uint64_t> words(s.words.begin(), s.words.end());
    words.push_back(static_cast<std::uint64_t>(s.position));
    words.push_back(s.has_cached ? 1 : 0);
    words.push_back(std::bit_cast<std::uint64_t>(s.cached));
    return words;
}

std::vector<std::uint64_t> to_words(const repaint::torch_cuda_generator::state& s) { return {s.seed, s.offset}; }

void from_words(const std::vector<std::uint64_t>& words, std::uint64_t& draws) {
    expect_words(words, 1);
    draws = words[0];
}

void from_words(const std::vector<std::uint64_t>& words, repaint::torch_cpu_generator::state& s) {
    const std::size_t count = s.words.size();
    expect_words(words, count + 3);
    for (std::size_t i = 0; i < count; ++i) {
        s.words[i] = static_cast<std::uint32_t>(words[i]);
    }
    s.position = static_cast<int>(words[count] & 0xFFFF);
    s.has_cached = words[count + 1] != 0;
    s.cached = std::bit_cast<double>(words[count + 2]);
}

void from_words(const std::vector<std::uint64_t>& words, repaint::torch_cuda_generator::state& s) {
    expect_words(words, 2);
    s = {words[0], words[1]};
}

void save_run_state(const std::filesystem::path& path, const run_state& state) {
    std::map<std::string, stored_tensor> tensors;
    tensors.emplace("x", repaint::describe(state.batch.x));
    tensors.emplace("noise", repaint::describe(std::as_bytes(std::span(state.batch.noise))));
    for (std::size_t i = 0; i < state.finished.size(); ++i) {
        tensors.emplace("finished." + std::to_string(i), repaint::describe(state.finished[i]));
    }
    std::map<std::string, std::string> metadata{{"format", "repaint run state 1"},
                                                {"position", std::to_string(state.batch.position)},
                                                {"first_picture", std::to_string(state.first_picture)},
                                                {"finished", std::to_string(state.finished.size())}};
    for (const auto& [key, value] : state.settings) {
        metadata.emplace("setting." + key, value);
    }
    repaint::write_safetensors(path, tensors, metadata);
}

run_state load_run_state(const std::filesystem::path& path, const std::map<std::string, std::string>& settings) {
    const auto file = repaint::read_safetensors(path);
    if (required(path, file, "format") != "repaint run state 1") {
        throw repaint::format_error(path.string() + ": not the state of a stopped run of this version");
    }
    for (const auto& [key, value] : settings) {
        const auto& before = required(path, file, ("setting." + key).c_str());
        if (before != value && key == "pictures and masks") {
            throw std::invalid_argument(
                "the pictures or the masks are not those that the run was stopped with: give the same "
                "ones, or begin anew without --resume");
        }
        if (before != value) {
            throw std::invalid_argument("the run was stopped with " + key + " " + before + ", now it is " + value +
                                        ": repeat the command as it was, with --resume added");
        }
    }
    run_state state;
    state.settings = settings;
    state.first_picture = static_cast<std::size_t>(number(path, file, "first_picture"));
    state.batch.position = number(path, file, "position");
    state.batch.x = restored(path, file, "x");
    const auto noise = file.tensors.find("noise");
    if (noise == file.tensors.end() || noise->second.type != dtype::u8 ||
        noise->second.numel() % sizeof(std::uint64_t) != 0) {
        throw repaint::format_error(path.string() + ": not the state of a stopped run, its noise is missing");
    }
    state.batch.noise.resize(noise->second.numel() / sizeof(std::uint64_t));
    if (!state.batch.noise.empty()) {
        std::memcpy(state.batch.noise.data(), noise->second.data, noise->second.numel());
    }
    const std::uint64_t finished = number(path, file, "finished");
    if (finished > file.tensors.size()) {
        throw repaint::format_error(path.string() + ": says that " + std::to_string(finished) +
                                    " pictures are finished, but does not hold them");
    }
    for (std::uint64_t i = 0; i < finished; ++i) {
        state.finished.push_back(restored(path, file, "finished." + std::to_string(i)));
    }
    return state;
}

} // namespace cli
