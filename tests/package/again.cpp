#include <repaint/backend/cpu.hpp>
#include <repaint/backend/reference.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/repaint.hpp>

repaint::host_tensor from_the_other_translation_unit() {
    return repaint::host_tensor({1, 3, 5, 4}, std::vector<float>(60, 0.5F));
}
