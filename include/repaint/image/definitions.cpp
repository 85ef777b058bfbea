// Everything of repaint::image that is no template, compiled once: see config.hpp.
#ifndef REPAINT_COMPILED
#define REPAINT_COMPILED
#endif
#define REPAINT_DEFINITIONS

#include <repaint/image/codecs.ipp>
