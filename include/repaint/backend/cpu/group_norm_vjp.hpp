#pragma once

#include <repaint/config.hpp>

namespace repaint::detail::cpu {

struct context;
struct normalisation;
struct storage;

/// dx = J^T dy of group_norm(). dy and dx are blocked.
void group_norm_vjp(const context& with, const normalisation& c, const storage& dy, storage& dx);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/group_norm_vjp.ipp>
#endif
