#pragma once

#include <string>
#include <utility>
#include <vector>

#include <repaint/io/json.hpp>
#include <repaint/model/classifier.hpp>
#include <repaint/model/guided_diffusion.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/weight_map.hpp>

/// guided-diffusion's classifiers of noisy images. The architecture is read off names and shapes and, when there is a
/// JSON with guided-diffusion's own keys (classifier_width, classifier_depth, ...), checked against it.
namespace repaint {

/// A classifier that has been read and checked and is not on a backend yet.
struct opened_classifier {
    checkpoint file;
    classifier_config network;
    model_description description;
};

namespace detail {

/// The residual blocks per level. Candidates are the numbers that explain the tensors and, with attention pooling over
/// side x side positions, the size of the images; the settings choose among them, else the likeliest is taken. side: 0
/// without attention pooling. image_size: 0 when it is not known. Throws format_error when there is no candidate.
int classifier_depth(const checkpoint& file, int blocks, int side, int image_size, official_settings& given,
                     std::vector<std::string>& remarks);

} // namespace detail

/// True when the names are those of a guided-diffusion classifier.
bool is_guided_classifier(const checkpoint& file);

/// Reads the architecture of a classifier. settings: null, or an object with guided-diffusion's keys; "classifier_..."
/// and image_size are read. image_size: rows and columns of the images of the network that the classifier is to guide;
/// 0 when that is not known. Throws format_error when the file is no guided-diffusion classifier or a setting
/// contradicts the tensors.
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
