#pragma once

#include <string>
#include <utility>
#include <vector>

#include <repaint/io/json.hpp>
#include <repaint/model/classifier.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/weight_map.hpp>

/// guided-diffusion's classifiers of noisy images: the architecture is read off names and shapes, and checked against a
/// JSON with that code's own keys (classifier_width, classifier_depth, ...) where there is one.
namespace repaint {

/// A classifier that has been read and checked, but is on no backend yet.
struct opened_classifier {
    checkpoint file;
    classifier_config network;
    model_description description;
};

namespace detail {

/// Residual blocks per level: of those that explain the tensors, those that make attention pooling over side x side
/// positions (0: there is none) fit the picture's size (0: not known), the one that the settings say or the likeliest.
int classifier_depth(const checkpoint& file, int blocks, int side, int image_size, official_settings& given,
                     std::vector<std::string>& remarks);

} // namespace detail

/// True when the names are those of a guided-diffusion classifier.
bool is_guided_classifier(const checkpoint& file);

/// Reads the architecture of a classifier. settings: null, or an object with the official keys, of which those that
/// start with "classifier_" and image_size are looked at. image_size: what the network it is to guide was trained at, 0
/// when that is not known. Throws format_error when the file is no such classifier or a setting contradicts it.
std::pair<classifier_config, model_description> read_guided_classifier(const checkpoint& file,
                                                                       const json_value* settings, int image_size = 0);

/// Opens a classifier: reads the headers, infers the architecture and checks every tensor's name and shape, as
/// open_model does. Throws format_error.
[[nodiscard]] opened_classifier open_classifier(const model_files& files, int image_size = 0);

/// Packs the weights of an opened classifier on a backend.
template <encoder_backend B> [[nodiscard]] classifier<B> load_classifier(B& b, const opened_classifier& opened) {
    weight_map weights(opened.file);
    return classifier<B>(b, opened.network, weights);
}

/// Opens a classifier and packs its weights. Throws format_error as open_classifier.
template <encoder_backend B>
[[nodiscard]] classifier<B> load_classifier(B& b, const model_files& files, int image_size = 0) {
    return load_classifier(b, open_classifier(files, image_size));
}

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/model/guided_classifier.ipp>
#endif
