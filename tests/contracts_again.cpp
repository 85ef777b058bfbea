#include <cstddef>

#include <repaint/backend/dry.hpp>
#include <repaint/repaint.hpp>

std::size_t parameters_in_another_unit();

std::size_t parameters_in_another_unit() { return sizeof(repaint::unet<repaint::dry_backend>); }
