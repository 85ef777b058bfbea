#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <repaint/core/text.hpp>
#include <repaint/io/bytes.hpp>

namespace repaint {

namespace detail {

/// One file of a ZIP archive: its name and content lie in the archive's own bytes. The content is what is stored, so
/// compressed where method is not 0.
struct zip_entry {
    std::string_view name;
    std::span<const std::byte> data;
    std::uint32_t crc = 0;
    std::uint16_t method = 0;
};

/// The table of contents of a ZIP archive (PKWARE APPNOTE 6.3, ZIP64 included), for entries that are used in place:
/// nothing is inflated. Everything comes from the central directory: writers that stream leave zeros in the local
/// headers. Throws format_error on encrypted entries, several volumes, names that appear twice, and on entries that
/// overlap, leave the file or disagree with their local headers.
class zip_archive {
public:
    static constexpr std::uint64_t most_entries = std::uint64_t{1} << 17U;

    zip_archive(std::span<const std::byte> bytes, const std::string& path);

    /// In the order of their names.
    [[nodiscard]] const std::vector<zip_entry>& entries() const { return entries_; }

    /// The entry of that name, null when there is none.
    [[nodiscard]] const zip_entry* find(std::string_view name) const;

private:
    struct directory {
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        std::uint64_t entries = 0;
    };

    struct place {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
    };

    [[noreturn]] void refuse(const std::string& what) const {
        detail::refuse(path_, joined_text({"as a zip archive: ", what}));
    }

    template <class T> [[nodiscard]] T field(std::uint64_t at) const { return load<T>(bytes_.data() + at); }

    /// True when `length` bytes at `at` end at or before `end`, which lies inside the file.
    static bool fits(std::uint64_t at, std::uint64_t length, std::uint64_t end);

    [[nodiscard]] std::optional<std::uint64_t> find_end_record() const;

    [[nodiscard]] directory find_directory() const;

    /// Reads the central header at `at` and checks the local one. Returns where the next one starts.
    std::uint64_t read_entry(std::uint64_t at, const directory& d);

    /// Replaces the fields that are saturated in the header by those of the ZIP64 extra field, in its fixed order.
    void read_zip64_extra(std::uint64_t at, std::uint64_t length, std::uint64_t& size, std::uint64_t& stored_size,
                          std::uint64_t& local, std::uint64_t& disk, std::string_view name) const;

    std::span<const std::byte> bytes_;
    const std::string& path_;
    std::vector<zip_entry> entries_;
    std::vector<place> places_;
};

} // namespace detail

} // namespace repaint

#ifndef REPAINT_COMPILED
#include <repaint/io/zip_archive.ipp>
#endif
