#pragma once

#include <repaint/config.hpp>

namespace repaint::detail::cpu {

struct context;
struct storage;

/// dqkv = J^T dy of attention(). All storages are blocked.
void attention_vjp(const context& with, const storage& qkv, int heads, const storage& dy, storage& dqkv);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/attention_vjp.ipp>
#endif
