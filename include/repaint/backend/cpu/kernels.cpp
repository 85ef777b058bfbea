// The kernels of cpu_backend for all instruction sets, compiled once: a file of its own, since they take as long as all
// else of the backend together.
#include <repaint/definitions.inl>

#include <repaint/backend/cpu/kernels.ipp>
