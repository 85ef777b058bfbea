#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/zip_archive.hpp>

namespace repaint {

namespace detail {

REPAINT_COLD zip_archive::zip_archive(std::span<const std::byte> bytes, const std::string& path)
    : bytes_(bytes), path_(path) {
    const directory d = find_directory();
    std::uint64_t at = d.offset;
    for (std::uint64_t i = 0; i < d.entries; ++i) {
        at = read_entry(at, d);
    }
    if (at != d.offset + d.size) {
        refuse("its central directory is longer than its entries");
    }
    std::sort(places_.begin(), places_.end(), [](const place& a, const place& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < places_.size(); ++i) {
        if (places_[i].begin < places_[i - 1].end) {
            refuse(joined_text({"two entries overlap at offset ", places_[i].begin}));
        }
    }
    std::sort(entries_.begin(), entries_.end(), [](const zip_entry& a, const zip_entry& b) { return a.name < b.name; });
    for (std::size_t i = 1; i < entries_.size(); ++i) {
        if (entries_[i].name == entries_[i - 1].name) {
            refuse(joined_text({"the entry ", in_quotes(entries_[i].name), " appears twice"}));
        }
    }
}

REPAINT_COLD const zip_entry* zip_archive::find(std::string_view name) const {
    const auto at = std::lower_bound(entries_.begin(), entries_.end(), name,
                                     [](const zip_entry& e, std::string_view n) { return e.name < n; });
    return at != entries_.end() && at->name == name ? &*at : nullptr;
}

REPAINT_COLD bool zip_archive::fits(std::uint64_t at, std::uint64_t length, std::uint64_t end) {
    return at <= end && length <= end - at;
}

REPAINT_COLD std::optional<std::uint64_t> zip_archive::find_end_record() const {
    if (bytes_.size() < 22) {
        return std::nullopt;
    }
    // The record ends with a comment of up to 65535 bytes, which must reach the end of the file exactly.
    const std::uint64_t last = bytes_.size() - 22;
    const std::uint64_t first = last > 0xFFFF ? last - 0xFFFF : 0;
    for (std::uint64_t at = last + 1; at-- > first;) {
        if (field<std::uint32_t>(at) == 0x06054B50U && field<std::uint16_t>(at + 20) == bytes_.size() - 22 - at) {
            return at;
        }
    }
    return std::nullopt;
}

REPAINT_COLD zip_archive::directory zip_archive::find_directory() const {
    const std::optional<std::uint64_t> found = find_end_record();
    if (!found) {
        refuse("its end record is missing, the file is cut off or damaged");
    }
    const std::uint64_t end_record = *found;
    const auto disk = field<std::uint16_t>(end_record + 4);
    const auto directory_disk = field<std::uint16_t>(end_record + 6);
    const auto entries_here = field<std::uint16_t>(end_record + 8);
    const auto entries = field<std::uint16_t>(end_record + 10);
    const auto size = field<std::uint32_t>(end_record + 12);
    const auto offset = field<std::uint32_t>(end_record + 16);
    directory d{offset, size, entries};
    std::uint64_t directory_end = end_record;
    bool one_volume =
        (disk == 0 || disk == 0xFFFFU) && (directory_disk == 0 || directory_disk == 0xFFFFU) && entries_here == entries;
    if (end_record >= 20 && field<std::uint32_t>(end_record - 20) == 0x07064B50U) {
        const std::uint64_t locator = end_record - 20;
        const auto record = field<std::uint64_t>(locator + 8);
        if (!fits(record, 56, locator) || field<std::uint32_t>(record) != 0x06064B50U ||
            field<std::uint64_t>(record + 4) != locator - record - 12) {
            refuse("its ZIP64 end record is not where its locator says");
        }
        one_volume = one_volume && field<std::uint32_t>(locator + 4) == 0 && field<std::uint32_t>(locator + 16) <= 1 &&
                     field<std::uint32_t>(record + 16) == 0 && field<std::uint32_t>(record + 20) == 0 &&
                     field<std::uint64_t>(record + 24) == field<std::uint64_t>(record + 32);
        d = {field<std::uint64_t>(record + 48), field<std::uint64_t>(record + 40), field<std::uint64_t>(record + 32)};
        directory_end = record;
        const bool agree = (entries == 0xFFFFU || entries == d.entries) && (size == 0xFFFFFFFFU || size == d.size) &&
                           (offset == 0xFFFFFFFFU || offset == d.offset);
        if (!agree) {
            refuse("its two end records disagree");
        }
    } else if (disk == 0xFFFFU || entries == 0xFFFFU || size == 0xFFFFFFFFU || offset == 0xFFFFFFFFU) {
        refuse("its ZIP64 end record is missing");
    }
    if (!one_volume) {
        refuse("it is one of several volumes, accepted is a single file");
    }
    if (!fits(d.offset, d.size, directory_end) || d.offset + d.size != directory_end) {
        refuse(joined_text({"its central directory (offset ", d.offset, ", ", d.size,
                            " bytes) does not end at the end record (offset ", directory_end, ")"}));
    }
    if (d.entries > most_entries || d.entries > d.size / 46) {
        refuse(joined_text({"its central directory of ", d.size, " bytes claims ", d.entries, " entries"}));
    }
    return d;
}

REPAINT_COLD std::uint64_t zip_archive::read_entry(std::uint64_t at, const directory& d) {
    const std::uint64_t directory_end = d.offset + d.size;
    if (!fits(at, 46, directory_end) || field<std::uint32_t>(at) != 0x02014B50U) {
        refuse(joined_text({"its central directory is damaged at offset ", at}));
    }
    const auto flags = field<std::uint16_t>(at + 8);
    const auto method = field<std::uint16_t>(at + 10);
    const auto crc = field<std::uint32_t>(at + 16);
    std::uint64_t stored_size = field<std::uint32_t>(at + 20);
    std::uint64_t size = field<std::uint32_t>(at + 24);
    const auto name_length = field<std::uint16_t>(at + 28);
    const auto extra_length = field<std::uint16_t>(at + 30);
    const auto comment_length = field<std::uint16_t>(at + 32);
    std::uint64_t disk = field<std::uint16_t>(at + 34);
    std::uint64_t local = field<std::uint32_t>(at + 42);
    const std::uint64_t length = std::uint64_t{46} + name_length + extra_length + comment_length;
    if (!fits(at, length, directory_end)) {
        refuse(joined_text({"its central directory is damaged at offset ", at}));
    }
    const std::string_view name = as_text(bytes_.subspan(static_cast<std::size_t>(at) + 46, name_length));
    const auto refuse_entry = [&](const std::string& what) {
        refuse(joined_text({"the entry ", in_quotes(name), " ", what}));
    };
    read_zip64_extra(at + 46 + name_length, extra_length, size, stored_size, local, disk, name);

    if ((flags & 0x2041U) != 0) { // bits 0, 6, 13: encrypted, strongly encrypted, masked headers
        refuse_entry("is encrypted");
    }
    if (disk != 0) {
        refuse_entry("lies in another volume");
    }
    if (method == 0 && size != stored_size) {
        refuse_entry(joined_text({"has ", size, " bytes stored as ", stored_size}));
    }
    if (name.empty() || name.find('\0') != std::string_view::npos) {
        refuse_entry("has an impossible name");
    }
    if (!fits(local, 30, d.offset) || field<std::uint32_t>(local) != 0x04034B50U) {
        refuse_entry(joined_text({"has no local header at offset ", local}));
    }
    const auto local_flags = field<std::uint16_t>(local + 6);
    const auto local_method = field<std::uint16_t>(local + 8);
    const auto local_crc = field<std::uint32_t>(local + 14);
    const auto local_stored_size = field<std::uint32_t>(local + 18);
    const auto local_size = field<std::uint32_t>(local + 22);
    const std::uint64_t local_name_length = field<std::uint16_t>(local + 26);
    const std::uint64_t header = 30 + local_name_length + field<std::uint16_t>(local + 28);
    const bool named_alike = local_name_length == name_length && fits(local, header, d.offset) &&
                             as_text(bytes_.subspan(static_cast<std::size_t>(local) + 30, name_length)) == name;
    if (!named_alike) {
        refuse_entry("has another name in its local header");
    }
    const auto same = [](std::uint32_t here, std::uint64_t there) { return here == 0xFFFFFFFFU || here == there; };
    const bool streamed = (local_flags & 8U) != 0; // sizes and CRC follow the data, the local ones may be 0
    const bool alike =
        local_method == method && (local_flags & 0x2041U) == 0 &&
        (streamed || (same(local_size, size) && same(local_stored_size, stored_size) && local_crc == crc));
    if (!alike) {
        refuse_entry("differs between its local header and the central directory");
    }
    const std::uint64_t begin = local + header;
    if (!fits(begin, stored_size, d.offset)) {
        refuse_entry(
            joined_text({"claims ", stored_size, " bytes at offset ", begin, ", beyond the data of the file"}));
    }
    places_.push_back({local, begin + stored_size});
    const auto data = bytes_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(stored_size));
    entries_.push_back({name, data, crc, method});
    return at + length;
}

REPAINT_COLD void zip_archive::read_zip64_extra(std::uint64_t at, std::uint64_t length, std::uint64_t& size,
                                                std::uint64_t& stored_size, std::uint64_t& local, std::uint64_t& disk,
                                                std::string_view name) const {
    bool missing = size == 0xFFFFFFFFU || stored_size == 0xFFFFFFFFU || local == 0xFFFFFFFFU || disk == 0xFFFFU;
    const std::uint64_t end = at + length;
    while (missing && fits(at, 4, end)) {
        const auto id = field<std::uint16_t>(at);
        const std::uint64_t field_end = at + 4 + field<std::uint16_t>(at + 2);
        at += 4;
        if (field_end > end) {
            break;
        }
        if (id == 1) {
            missing = false;
            for (std::uint64_t* const wide : {&size, &stored_size, &local}) {
                if (*wide == 0xFFFFFFFFU) {
                    missing = missing || !fits(at, 8, field_end);
                    *wide = missing ? 0 : field<std::uint64_t>(at);
                    at += 8;
                }
            }
            if (disk == 0xFFFFU) {
                missing = missing || !fits(at, 4, field_end);
                disk = missing ? 0 : field<std::uint32_t>(at);
            }
            break;
        }
        at = field_end;
    }
    if (missing) {
        refuse(joined_text({"the entry ", in_quotes(name), " lacks its ZIP64 sizes"}));
    }
}

} // namespace detail

} // namespace repaint
