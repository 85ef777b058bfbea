#pragma once

#include <repaint/config.hpp>

namespace repaint::detail::cpu {

struct context;
struct storage;

/// y = softmax(Q K^T / sqrt(d)) V per head. Queries go through in batches whose rows of scores stay in the cache:
/// nothing of size tokens x tokens exists. qkv and y are blocked.
void attention(const context& with, const storage& qkv, int heads, storage& y);

} // namespace repaint::detail::cpu

#ifndef REPAINT_COMPILED
#include <repaint/backend/cpu/attention.ipp>
#endif
