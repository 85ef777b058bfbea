// The facade and the network on cpu_backend, instantiated once.
#ifndef REPAINT_COMPILED
#define REPAINT_COMPILED
#endif
#include <repaint/backend/cpu/instantiations.hpp>

#define REPAINT_CPU_TEMPLATE template
#include <repaint/backend/cpu/instantiations.inl>
