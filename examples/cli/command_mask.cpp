#include <algorithm>
#include <cctype>
#include <stdexcept>

#include <repaint/image/codecs.hpp>
#include <repaint/image/mask.hpp>
#include <repaint/io/npy.hpp>

#include "commands.hpp"
#include "outputs.hpp"
#include "sizes.hpp"

namespace cli {

void make_mask(const mask_command& command) {
    const auto kind = repaint::parse_mask_kind(command.kind);
    const auto size = parse_size(command.size);
    auto mask = repaint::make_mask(kind, size.w, size.h, command.seed);
    if (command.out.extension() == ".npy") {
        write_or_keep(command.out, [&](const std::filesystem::path& file) { repaint::write_npy(file, mask); });
        return;
    }
    for (float& value : mask.values()) {
        value = 2.0F * value - 1.0F; // keep mask to image: white is known
    }
    const auto picture = repaint::to_picture(mask);
    write_or_keep(command.out, [&](const std::filesystem::path& file) { repaint::write_picture(file, picture); });
}

} // namespace cli
