// contact_sheet OUT.png SCALE ROW...: one picture of many. A row is a list of cells, comma separated: a picture, a
// picture with its hole as PICTURE@KEEP_MASK, or nothing for an empty cell.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include <repaint/error.hpp>
#include <repaint/image/codecs.hpp>
#include <repaint/image/mask_reading.hpp>
#include <repaint/image/picture.hpp>

namespace {

/// The picture with grey where the keep mask is black.
repaint::picture with_hole(const repaint::picture& original, const std::string& mask_file) {
    const auto keep = repaint::understand_mask(repaint::read_picture(mask_file), repaint::mask_polarity::keep).keep;
    if (keep.shape().h != original.height || keep.shape().w != original.width) {
        throw repaint::shape_error(mask_file + " does not have the size of its picture");
    }
    const repaint::host_tensor grey({1, 3, original.height, original.width});
    return repaint::compose_picture(original, grey, 0, keep);
}

repaint::picture read_cell(const std::string& cell) {
    if (cell.empty()) {
        return {};
    }
    const std::size_t at = cell.find('@');
    const auto picture = repaint::read_picture(cell.substr(0, at));
    return at == std::string::npos ? picture : with_hole(picture, cell.substr(at + 1));
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: contact_sheet OUT.png SCALE ROW...   (a row: picture,picture,...)\n");
        return 2;
    }
    try {
        std::vector<std::vector<repaint::picture>> rows;
        for (int i = 3; i < argc; ++i) {
            auto& row = rows.emplace_back();
            const std::string list = argv[i];
            for (std::size_t at = 0; at <= list.size();) {
                const std::size_t comma = std::min(list.find(',', at), list.size());
                row.push_back(read_cell(list.substr(at, comma - at)));
                at = comma + 1;
            }
        }
        repaint::write_picture(argv[1], repaint::contact_sheet(rows, {.scale = std::atoi(argv[2])}));
    } catch (const std::exception& failed) {
        std::fprintf(stderr, "contact_sheet: %s\n", failed.what());
        return 1;
    }
    return 0;
}
