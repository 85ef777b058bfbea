// The kernels of cpu_backend for all instruction sets, compiled once: a file of its own, since they take as long as all
// else of the backend together.
#ifndef REPAINT_COMPILED
#define REPAINT_COMPILED
#endif
#include <repaint/config.hpp>
#undef REPAINT_INLINE                               // which a precompiled header may have seen already
#if defined(__clang__) // which leaves out the complete-object constructors of an inline one that is `used`
#define REPAINT_INLINE __attribute__((weak))
#else
#define REPAINT_INLINE inline __attribute__((used)) // weak: a program and its libraries may each have a copy
#endif

#include <repaint/backend/cpu/kernels.ipp>
