#pragma once

#include <span>
#include <tuple>

// The networks on the backends that tests run them on: declared here, compiled once in networks.cpp, because ten tests
// instantiating all of them was half of the time that the tests took to build.
#include <repaint/backend/cpu.hpp>
#include <repaint/backend/dry.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/model/classifier.hpp>
#include <repaint/model/guided_classifier.hpp>
#include <repaint/model/load.hpp>
#include <repaint/model/unet.hpp>
#include <repaint/repaint.hpp>

#include "support/strict_cpu.hpp"

/// What tests of networks run on. Under sanitizers that is one backend: each has a suite of its own there.
#if defined(REPAINT_TEST_ONE_BACKEND)
using network_backends = std::tuple<repaint::cpu_backend>;
using network_backends_and_strict = network_backends;
#else
using network_backends = std::tuple<repaint::reference_backend, repaint::cpu_backend>;
using network_backends_and_strict = std::tuple<repaint::reference_backend, repaint::cpu_backend, strict_cpu_backend>;
#endif

#if !defined(REPAINT_TEST_NETWORKS)
#define REPAINT_TEST_NETWORKS extern template
#endif

/// What repaint/backend/cpu/instantiations.inl has for cpu_backend. A member that is a template is named by itself.
#define REPAINT_TEST_NETWORK(B)                                                                                        \
    REPAINT_TEST_NETWORKS class residual_block<B>;                                                                     \
    REPAINT_TEST_NETWORKS tensor_of<B> residual_block<B>::project(B&, const tensor_of<B>&) const;                      \
    REPAINT_TEST_NETWORKS tensor_of<B> residual_block<B>::operator()(B&, const tensor_of<B>&, const tensor_of<B>&)     \
        const;                                                                                                         \
    REPAINT_TEST_NETWORKS class attention_block<B>;                                                                    \
    REPAINT_TEST_NETWORKS tensor_of<B> attention_block<B>::operator()(B&, const tensor_of<B>&) const;                  \
    REPAINT_TEST_NETWORKS class embedding_mlp<B>;                                                                      \
    REPAINT_TEST_NETWORKS tensor_of<B> embedding_mlp<B>::operator()(B&, float, std::span<const int>) const;            \
    REPAINT_TEST_NETWORKS class encoder<B>;                                                                            \
    REPAINT_TEST_NETWORKS class unet<B>;                                                                               \
    REPAINT_TEST_NETWORKS network_embedding<B> unet<B>::embed(B&, float, std::span<const int>) const;                  \
    REPAINT_TEST_NETWORKS tensor_of<B> unet<B>::operator()(B&, const tensor_of<B>&, const network_embedding<B>&)       \
        const;                                                                                                         \
    REPAINT_TEST_NETWORKS diffusion_model<B> load_model(B&, const opened_model&);                                      \
    REPAINT_TEST_NETWORKS diffusion_model<B> load_model(B&, const model_files&);                                       \
    REPAINT_TEST_NETWORKS class unet_denoiser<B>;                                                                      \
    namespace detail {                                                                                                 \
    REPAINT_TEST_NETWORKS class run_core<B>;                                                                           \
    REPAINT_TEST_NETWORKS class run_maker<B>;                                                                          \
    REPAINT_TEST_NETWORKS class run_network<B>;                                                                        \
    }                                                                                                                  \
    REPAINT_TEST_NETWORKS class inpainter<B>;                                                                          \
    REPAINT_TEST_NETWORKS class unconditional_sampler<B>;                                                              \
    REPAINT_TEST_CLASSIFIER(B)

#define REPAINT_TEST_CLASSIFIER(B)                                                                                     \
    REPAINT_TEST_NETWORKS class classifier<B>;                                                                         \
    REPAINT_TEST_NETWORKS classifier<B> load_classifier(B&, const opened_classifier&);

namespace repaint {

REPAINT_TEST_NETWORKS class basic_reference_backend<float>;
REPAINT_TEST_NETWORKS class basic_reference_backend<double>;

REPAINT_TEST_CLASSIFIER(cpu_backend) // its networks are instantiated by repaint::cpu
REPAINT_TEST_NETWORK(dry_backend)
REPAINT_TEST_NETWORK(reference_backend)
#if !defined(REPAINT_TEST_ONE_BACKEND)
REPAINT_TEST_NETWORK(::strict_cpu_backend)
#endif

} // namespace repaint

#undef REPAINT_TEST_NETWORK
#undef REPAINT_TEST_CLASSIFIER
