// Everything of repaint::image that is no template, compiled once: see config.hpp.
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

#include <repaint/image/codecs.ipp>
#include <repaint/image/decoding.ipp>
#include <repaint/image/exif.ipp>
#include <repaint/image/jpeg.ipp>
#include <repaint/image/png.ipp>
