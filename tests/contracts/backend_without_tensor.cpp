// A backend whose tensor can be copied: memory would be, too, without a word.
// says: the backend lacks a movable, non-copyable `tensor`
#include <memory>

#include <repaint/backend/dry.hpp>
#include <repaint/repaint.hpp>

struct my_backend : repaint::dry_backend {
    struct tensor {
        std::shared_ptr<float[]> values;
        [[nodiscard]] repaint::shape4 shape() const { return {}; }
    };
};

void make(my_backend& b) { (void)repaint::load_model(b, "model.safetensors"); }
