// Everything of repaint::image that is no template, compiled once: see config.hpp.
#include <repaint/definitions.inl>

#include <repaint/image/codecs.ipp>
#include <repaint/image/decoding.ipp>
#include <repaint/image/exif.ipp>
#include <repaint/image/jpeg.ipp>
#include <repaint/image/png.ipp>
