#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace repaint {

/// The formats that picture files have.
enum class file_format { png, jpeg };

/// What a picture file says beside its pixels, so that it can be said again of the result. Whatever changed with the
/// pixels is changed here: the orientation is that of an upright picture.
struct picture_metadata {
    file_format format = file_format::png;
    int bits = 8;                ///< of a sample in the file: 1, 2, 4, 8, 16
    std::vector<std::byte> exif; ///< from its TIFF header on
    std::vector<std::byte> icc;  ///< a profile (ICC.1), as it stands in the file
    std::string xmp;             ///< an XMP packet

    /// A chunk of a PNG, or a segment of a JPEG, that is written again as it stood.
    struct piece {
        std::string type; ///< "gAMA"; of a JPEG one letter, its marker
        std::vector<std::byte> data;
    };
    std::vector<piece> pieces; ///< in a file of the same format, in their order

    int quality = 0;     ///< of a JPEG by its quantisation tables, 1 to 100; 0: it is none, or of tables of its own
    int subsampling = 0; ///< of a JPEG, as TurboJPEG numbers it; -1: unusual
};

} // namespace repaint
