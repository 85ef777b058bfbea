// What is instantiated for cpu_backend, each after REPAINT_CPU_TEMPLATE. A member that is a template, such as the call
// operator of a network, is named by itself: the instantiation of its class does not include it.
namespace repaint {

REPAINT_CPU_TEMPLATE class residual_block<cpu_backend>;
REPAINT_CPU_TEMPLATE cpu_backend::tensor residual_block<cpu_backend>::project(cpu_backend&,
                                                                              const cpu_backend::tensor&) const;
REPAINT_CPU_TEMPLATE cpu_backend::tensor
residual_block<cpu_backend>::operator()(cpu_backend&, const cpu_backend::tensor&, const cpu_backend::tensor&) const;

REPAINT_CPU_TEMPLATE class attention_block<cpu_backend>;
REPAINT_CPU_TEMPLATE cpu_backend::tensor attention_block<cpu_backend>::operator()(cpu_backend&,
                                                                                  const cpu_backend::tensor&) const;

REPAINT_CPU_TEMPLATE class embedding_mlp<cpu_backend>;
REPAINT_CPU_TEMPLATE cpu_backend::tensor embedding_mlp<cpu_backend>::operator()(cpu_backend&, float,
                                                                                std::span<const int>) const;

REPAINT_CPU_TEMPLATE class encoder<cpu_backend>;

REPAINT_CPU_TEMPLATE class unet<cpu_backend>;
REPAINT_CPU_TEMPLATE network_embedding<cpu_backend> unet<cpu_backend>::embed(cpu_backend&, float,
                                                                             std::span<const int>) const;
REPAINT_CPU_TEMPLATE cpu_backend::tensor unet<cpu_backend>::operator()(cpu_backend&, const cpu_backend::tensor&,
                                                                       const network_embedding<cpu_backend>&) const;

REPAINT_CPU_TEMPLATE diffusion_model<cpu_backend> load_model(cpu_backend&, const opened_model&);
REPAINT_CPU_TEMPLATE diffusion_model<cpu_backend> load_model(cpu_backend&, const model_files&);
REPAINT_CPU_TEMPLATE class unet_denoiser<cpu_backend>;

namespace detail {
REPAINT_CPU_TEMPLATE class run_core<cpu_backend>;
REPAINT_CPU_TEMPLATE class run_maker<cpu_backend>;
REPAINT_CPU_TEMPLATE class run_network<cpu_backend>;
} // namespace detail

REPAINT_CPU_TEMPLATE class inpainter<cpu_backend>;
REPAINT_CPU_TEMPLATE class unconditional_sampler<cpu_backend>;

} // namespace repaint
