#pragma once

#include <repaint/config.hpp>

namespace repaint::detail::cpu {

struct context;
struct normalisation;
struct storage;

/// y = then(norm(x) * (1 + scale) + shift). y is blocked.
void group_norm(const context& with, const normalisation& c, storage& y);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/group_norm.ipp>
#endif
