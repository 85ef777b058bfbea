// What every file that compiles definitions begins with. No guard: a precompiled header may have included config.hpp, and
// what it says of REPAINT_INLINE has to change here all the same.
#ifndef REPAINT_COMPILED
#define REPAINT_COMPILED
#endif
#include <repaint/config.hpp>

// Weak symbols, so that a program and its libraries may each have a copy.
#undef REPAINT_INLINE
#if defined(__clang__) // which leaves out the complete-object constructors of an inline one that is `used`
#define REPAINT_INLINE __attribute__((weak))
#else
#define REPAINT_INLINE inline __attribute__((used))
#endif
