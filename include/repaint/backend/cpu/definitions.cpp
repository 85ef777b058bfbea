// cpu_backend, compiled once: what its headers declare when REPAINT_COMPILED is defined. Its kernels are in
// kernels.cpp, the networks that run on it in instantiations.cpp.
#include <repaint/definitions.inl>

#include <repaint/backend/cpu.ipp>
#include <repaint/backend/cpu/attention.ipp>
#include <repaint/backend/cpu/attention_vjp.ipp>
#include <repaint/backend/cpu/conv2d.ipp>
#include <repaint/backend/cpu/conv2d_vjp.ipp>
#include <repaint/backend/cpu/convolution.ipp>
#include <repaint/backend/cpu/cores.ipp>
#include <repaint/backend/cpu/diffusion.ipp>
#include <repaint/backend/cpu/elementwise.ipp>
#include <repaint/backend/cpu/group_norm.ipp>
#include <repaint/backend/cpu/group_norm_vjp.ipp>
#include <repaint/backend/cpu/group_statistics.ipp>
#include <repaint/backend/cpu/head_layout.ipp>
#include <repaint/backend/cpu/instruction_set.ipp>
#include <repaint/backend/cpu/layout.ipp>
#include <repaint/backend/cpu/long_lived_floats.ipp>
#include <repaint/backend/cpu/mean.ipp>
#include <repaint/backend/cpu/memory.ipp>
#include <repaint/backend/cpu/packed_conv2d.ipp>
#include <repaint/backend/cpu/profile.ipp>
#include <repaint/backend/cpu/resize.ipp>
#include <repaint/backend/cpu/thread_pool.ipp>
#include <repaint/backend/cpu/winograd.ipp>
