#include "plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string_view>

#include <cairo.h>

#include <repaint/error.hpp>
#include <repaint/io/bytes.hpp>

#include "axis.hpp"

namespace cli {

namespace {

using repaint::picture;

struct colour {
    double red;
    double green;
    double blue;
};

constexpr colour black{0.0, 0.0, 0.0};
constexpr colour dark{0.25, 0.25, 0.25};
constexpr colour light{0.88, 0.88, 0.88};
/// Told apart by the colour-blind, too (Okabe and Ito 2008).
constexpr std::array<colour, 6> line_colours{{{0.00, 0.45, 0.70},
                                              {0.84, 0.37, 0.00},
                                              {0.00, 0.62, 0.45},
                                              {0.80, 0.47, 0.65},
                                              {0.90, 0.62, 0.00},
                                              {0.34, 0.71, 0.91}}};

enum class align { left, centre, right };

struct text_style {
    double size = 11.0;
    bool bold = false;
    align to = align::left;
    colour ink = black;
};

void check(cairo_status_t status) {
    if (status != CAIRO_STATUS_SUCCESS) {
        throw repaint::error(std::string("the figure cannot be drawn: ") + cairo_status_to_string(status));
    }
}

struct cairo_deleter {
    void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
    void operator()(cairo_t* context) const { cairo_destroy(context); }
};
using surface_pointer = std::unique_ptr<cairo_surface_t, cairo_deleter>;

/// A white sheet, measured in points of `scale` pixels.
class canvas {
public:
    canvas(double width, double height, double scale)
        : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(std::ceil(width * scale)),
                                              static_cast<int>(std::ceil(height * scale)))) {
        check(cairo_surface_status(surface_.get()));
        context_.reset(cairo_create(surface_.get()));
        check(cairo_status(context_.get()));
        cairo_scale(context_.get(), scale, scale);
        cairo_set_source_rgb(context_.get(), 1.0, 1.0, 1.0);
        cairo_paint(context_.get());
    }

    [[nodiscard]] double width_of(const std::string& text, const text_style& style) {
        set_font(style);
        cairo_text_extents_t extents;
        cairo_text_extents(context_.get(), text.c_str(), &extents);
        return extents.x_advance;
    }

    /// (x, y): the base line's left end, middle or right end.
    void write(double x, double y, const std::string& text, const text_style& style) {
        const double shift = style.to == align::left ? 0.0 : width_of(text, style);
        set_font(style);
        ink(style.ink);
        cairo_move_to(context_.get(), x - (style.to == align::centre ? 0.5 * shift : shift), y);
        cairo_show_text(context_.get(), text.c_str());
    }

    /// Upwards, with its middle at y.
    void write_upwards(double x, double y, const std::string& text, const text_style& style) {
        cairo_save(context_.get());
        cairo_translate(context_.get(), x, y);
        cairo_rotate(context_.get(), -1.5707963267948966);
        write(0.0, 0.0, text, style);
        cairo_restore(context_.get());
    }

    void line(double x1, double y1, double x2, double y2, const colour& with, double width) {
        ink(with);
        cairo_set_line_width(context_.get(), width);
        cairo_move_to(context_.get(), x1, y1);
        cairo_line_to(context_.get(), x2, y2);
        cairo_stroke(context_.get());
    }

    void frame(double x, double y, double width, double height, const colour& with, double line_width) {
        ink(with);
        cairo_set_line_width(context_.get(), line_width);
        cairo_rectangle(context_.get(), x, y, width, height);
        cairo_stroke(context_.get());
    }

    /// Line number `kind` has its own shape: circle, square, triangle and so on in turn.
    void marker(double x, double y, std::size_t kind) {
        constexpr double radius = 3.2;
        cairo_t* c = context_.get();
        ink(line_colours[kind % line_colours.size()]);
        switch (kind % 3) {
        case 0: cairo_arc(c, x, y, radius, 0.0, 6.283185307179586); break;
        case 1: cairo_rectangle(c, x - 0.9 * radius, y - 0.9 * radius, 1.8 * radius, 1.8 * radius); break;
        default:
            cairo_move_to(c, x, y - 1.2 * radius);
            cairo_line_to(c, x + 1.15 * radius, y + 0.8 * radius);
            cairo_line_to(c, x - 1.15 * radius, y + 0.8 * radius);
            cairo_close_path(c);
        }
        cairo_fill(c);
    }

    /// p into the square of `side` points at (x, y), in the middle, with `scale` points to a pixel.
    void show(const picture& p, double x, double y, double side, double scale) {
        const picture flat = repaint::over_white(p);
        const surface_pointer pixels(cairo_image_surface_create(CAIRO_FORMAT_RGB24, flat.width, flat.height));
        check(cairo_surface_status(pixels.get()));
        cairo_surface_flush(pixels.get());
        const auto stride = static_cast<std::size_t>(cairo_image_surface_get_stride(pixels.get()));
        unsigned char* rows = cairo_image_surface_get_data(pixels.get());
        const auto width = static_cast<std::size_t>(flat.width);
        for (std::size_t i = 0; i < width * static_cast<std::size_t>(flat.height); ++i) {
            const auto level = [&](int channel) {
                return static_cast<std::uint32_t>(repaint::detail::colour(flat, i, channel, 3));
            };
            const std::uint32_t word = level(0) << 16U | level(1) << 8U | level(2);
            *reinterpret_cast<std::uint32_t*>(rows + i / width * stride + i % width * 4) = word;
        }
        cairo_surface_mark_dirty(pixels.get());
        cairo_t* c = context_.get();
        cairo_save(c);
        cairo_translate(c, x + 0.5 * (side - scale * flat.width), y + 0.5 * (side - scale * flat.height));
        cairo_scale(c, scale, scale);
        cairo_set_source_surface(c, pixels.get(), 0.0, 0.0);
        cairo_pattern_set_filter(cairo_get_source(c), scale >= 1.0 ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_BEST);
        cairo_paint(c);
        cairo_restore(c);
    }

    [[nodiscard]] picture finished() {
        check(cairo_status(context_.get()));
        cairo_surface_flush(surface_.get());
        const auto stride = static_cast<std::size_t>(cairo_image_surface_get_stride(surface_.get()));
        const unsigned char* rows = cairo_image_surface_get_data(surface_.get());
        picture p{cairo_image_surface_get_width(surface_.get()), cairo_image_surface_get_height(surface_.get()), 3, {}};
        const auto width = static_cast<std::size_t>(p.width);
        const std::size_t count = width * static_cast<std::size_t>(p.height);
        p.pixels.reserve(3 * count);
        for (std::size_t i = 0; i < count; ++i) {
            const auto word = *reinterpret_cast<const std::uint32_t*>(rows + i / width * stride + i % width * 4);
            for (const unsigned shift : {16U, 8U, 0U}) {
                p.pixels.push_back(static_cast<std::uint8_t>(word >> shift & 0xFFU));
            }
        }
        return p;
    }

private:
    void ink(const colour& with) { cairo_set_source_rgb(context_.get(), with.red, with.green, with.blue); }

    void set_font(const text_style& style) {
        cairo_select_font_face(context_.get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                               style.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
        cairo_set_font_size(context_.get(), style.size);
    }

    surface_pointer surface_;
    std::unique_ptr<cairo_t, cairo_deleter> context_;
};

/// The text, cut off where it would be wider than `room`. Names come from files: what is no UTF-8 is made visible.
std::string fitting(canvas& on, std::string_view text, const text_style& style, double room) {
    std::string part = repaint::detail::printable(text, 200);
    if (on.width_of(part, style) <= room) {
        return part;
    }
    while (!part.empty()) {
        while (part.size() > 1 && (static_cast<unsigned char>(part.back()) & 0xC0U) == 0x80U) {
            part.pop_back(); // the end of a character of several bytes
        }
        part.pop_back();
        if (on.width_of(part + "...", style) <= room) {
            break;
        }
    }
    return part + "...";
}

std::vector<std::string> wrapped(canvas& on, const std::string& text, const text_style& style, double room) {
    std::vector<std::string> lines(1);
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        const std::string word = text.substr(at, end - at);
        const std::string longer = lines.back().empty() ? word : lines.back() + ' ' + word;
        if (!lines.back().empty() && on.width_of(longer, style) > room) {
            lines.push_back(word);
        } else {
            lines.back() = longer;
        }
        at = end + 1;
    }
    return lines;
}

/// Measures in points.
constexpr double panel_width = 226.0;
constexpr double panel_height = 150.0;
constexpr double panel_left = 48.0; ///< tick labels
constexpr double panel_right = 14.0;
constexpr double panel_top = 22.0;    ///< title
constexpr double panel_bottom = 20.0; ///< tick labels
constexpr double x_label_height = 18.0;
constexpr double margin = 12.0;
constexpr double y_label_width = 16.0;
constexpr double section_gap = 14.0;
constexpr double caption_line = 15.0;
constexpr std::size_t panels_per_row = 3;
constexpr text_style small{10.5, false, align::left, dark};

std::size_t rows_of(const plot_section& section) {
    return (section.panels.size() + panels_per_row - 1) / panels_per_row;
}

constexpr text_style legend{11.0, false, align::left, black};
constexpr double legend_line = 16.0;
constexpr double legend_sample = 32.0; ///< a piece of the line, before its name
constexpr double legend_gap = 22.0;

/// Where the names of a section's lines stand: as many below each other as do not fit beside each other.
struct legend_entry {
    double x = 0.0;
    double y = 0.0;
    std::string name;
};

std::vector<legend_entry> legend_of(canvas& on, const plot_section& section, double room) {
    std::vector<legend_entry> entries;
    if (section.panels.empty()) {
        return entries;
    }
    double x = 0.0;
    double y = 0.0;
    for (const auto& line : section.panels.front().lines) {
        const std::string name = fitting(on, line.name, legend, room - legend_sample);
        const double width = legend_sample + on.width_of(name, legend);
        if (x > 0.0 && x + width > room) {
            x = 0.0;
            y += legend_line;
        }
        entries.push_back({x, y, name});
        x += width + legend_gap;
    }
    return entries;
}

double heading_height(const std::vector<legend_entry>& entries) {
    return 46.0 + (entries.empty() ? 0.0 : entries.back().y);
}

double panels_height(const plot_section& section) {
    return static_cast<double>(rows_of(section)) * (panel_top + panel_height + panel_bottom) + x_label_height;
}

void draw_heading(canvas& on, const plot_section& section, const std::vector<legend_entry>& entries, double top) {
    on.write(margin, top + 14.0, section.title, {13.0, true, align::left, black});
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const double x = margin + entries[i].x;
        const double y = top + 34.0 + entries[i].y;
        on.line(x, y - 4.0, x + 26.0, y - 4.0, line_colours[i % line_colours.size()], 1.6);
        on.marker(x + 13.0, y - 4.0, i);
        on.write(x + legend_sample, y, entries[i].name, legend);
    }
}

/// (left, top): the corner of the axes.
void draw_panel(canvas& on, const plot_panel& panel, const plot_axis& across, const plot_axis& up, double left,
                double top) {
    const double bottom = top + panel_height;
    const double right = left + panel_width;
    const auto x_of = [&](double x) { return left + panel_width * across.place(x); };
    const auto y_of = [&](double y) { return bottom - panel_height * up.place(y); };
    const text_style title{12.0, true, align::left, black};
    on.write(left, top - 7.0, fitting(on, panel.title, title, panel_width), title);
    for (const double tick : up.ticks) {
        on.line(left, y_of(tick), right, y_of(tick), light, 0.7);
        text_style style = small;
        style.to = align::right;
        on.write(left - 6.0, y_of(tick) + 3.7, up.label(tick), style);
    }
    double free_from = -std::numeric_limits<double>::infinity();
    for (const double tick : across.ticks) {
        on.line(x_of(tick), bottom, x_of(tick), bottom + 4.0, dark, 0.8);
        text_style style = small;
        style.to = align::centre;
        const double half = 0.5 * on.width_of(across.label(tick), style);
        if (x_of(tick) - half >= free_from) {
            on.write(x_of(tick), bottom + 15.0, across.label(tick), style);
            free_from = x_of(tick) + half + 4.0;
        }
    }
    on.frame(left, top, panel_width, panel_height, dark, 0.8);

    for (std::size_t i = 0; i < panel.lines.size(); ++i) {
        const colour& with = line_colours[i % line_colours.size()];
        // Side by side, so that the intervals of points at the same place can be told apart.
        const double aside = 4.0 * (static_cast<double>(i) - 0.5 * static_cast<double>(panel.lines.size() - 1));
        const plot_point* before = nullptr;
        for (const auto& point : panel.lines[i].points) {
            if (!std::isfinite(point.y)) {
                continue;
            }
            const double x = x_of(point.x) + aside;
            if (before != nullptr) {
                on.line(x_of(before->x) + aside, y_of(before->y), x, y_of(point.y), with, 1.6);
            }
            before = &point;
            if (std::isfinite(point.half_width)) {
                const double high = y_of(point.y + point.half_width);
                const double low = y_of(point.y - point.half_width);
                on.line(x, low, x, high, with, 1.0);
                on.line(x - 2.5, high, x + 2.5, high, with, 1.0);
                on.line(x - 2.5, low, x + 2.5, low, with, 1.0);
            }
        }
        for (const auto& point : panel.lines[i].points) {
            if (std::isfinite(point.y)) {
                on.marker(x_of(point.x) + aside, y_of(point.y), i);
            }
        }
    }
}

plot_axis x_axis(const plot_section& section) {
    plot_range xs;
    for (const auto& panel : section.panels) {
        for (const auto& line : panel.lines) {
            for (const auto& point : line.points) {
                if (std::isfinite(point.y)) {
                    xs.include(point.x);
                }
            }
        }
    }
    for (const double tick : section.x_ticks) {
        xs.include(tick);
    }
    plot_axis axis = round_axis(xs, 5, 0.08);
    if (!section.x_ticks.empty()) {
        axis.ticks = section.x_ticks;
        axis.decimals = 0;
    }
    return axis;
}

/// Panels of one title share their y axis.
std::map<std::string, plot_axis> y_axes(const plot_figure& figure) {
    std::map<std::string, plot_range> values;
    for (const auto& section : figure.sections) {
        for (const auto& panel : section.panels) {
            plot_range& of_title = values[panel.title];
            for (const auto& line : panel.lines) {
                for (const auto& point : line.points) {
                    const double half = std::isfinite(point.half_width) ? point.half_width : 0.0;
                    of_title.include(point.y - half);
                    of_title.include(point.y + half);
                }
            }
        }
    }
    std::map<std::string, plot_axis> axes;
    for (const auto& [title, of_title] : values) {
        axes.emplace(title, round_axis(of_title, 5, 0.06));
    }
    return axes;
}

} // namespace

picture drawn(const plot_figure& figure) {
    constexpr double scale = 2.0;
    constexpr double cell_width = panel_left + panel_width + panel_right;
    std::size_t columns = 2;
    for (const auto& section : figure.sections) {
        columns = std::max(columns, std::min(section.panels.size(), panels_per_row));
    }
    const double width = 2.0 * margin + y_label_width + static_cast<double>(columns) * cell_width;
    const text_style caption{10.5, false, align::left, dark};
    canvas measure(1.0, 1.0, scale);
    const auto caption_lines = wrapped(measure, figure.caption, caption, width - 2.0 * margin);
    std::vector<std::vector<legend_entry>> legends;
    double height = 2.0 * margin + caption_line * static_cast<double>(caption_lines.size());
    for (const auto& section : figure.sections) {
        legends.push_back(legend_of(measure, section, width - 2.0 * margin));
        height += heading_height(legends.back()) + panels_height(section) + section_gap;
    }

    canvas on(width, height, scale);
    const auto axes = y_axes(figure);
    double top = margin;
    for (std::size_t s = 0; s < figure.sections.size(); ++s) {
        const auto& section = figure.sections[s];
        draw_heading(on, section, legends[s], top);
        top += heading_height(legends[s]);
        const plot_axis across = x_axis(section);
        for (std::size_t i = 0; i < section.panels.size(); ++i) {
            const auto row = static_cast<double>(i / panels_per_row);
            const auto column = static_cast<double>(i % panels_per_row);
            const double left = margin + y_label_width + column * cell_width + panel_left;
            const double panel_at = top + row * (panel_top + panel_height + panel_bottom) + panel_top;
            draw_panel(on, section.panels[i], across, axes.at(section.panels[i].title), left, panel_at);
            if (i % panels_per_row == 0) {
                on.write_upwards(margin + 10.0, panel_at + 0.5 * panel_height, figure.y_label,
                                 {10.5, false, align::centre, black});
            }
            if (i + panels_per_row >= section.panels.size()) { // nothing below
                on.write(left + 0.5 * panel_width, panel_at + panel_height + panel_bottom + 11.0, section.x_label,
                         {11.0, false, align::centre, black});
            }
        }
        top += panels_height(section) + section_gap;
    }
    for (std::size_t i = 0; i < caption_lines.size(); ++i) {
        on.write(margin, top + caption_line * (static_cast<double>(i) + 0.7), caption_lines[i], caption);
    }
    return on.finished();
}

picture drawn(const picture_sheet& sheet) {
    constexpr double gap = 4.0;
    constexpr double line_height = 14.0;
    constexpr double largest_label = 160.0;
    int largest = 1;
    for (const auto& row : sheet.cells) {
        for (const auto& cell : row) {
            largest = std::max({largest, cell.width, cell.height});
        }
    }
    const double scale = largest > 256 ? 256.0 / largest : std::max(1, 96 / largest);
    const double side = std::ceil(scale * largest);

    canvas measure(1.0, 1.0, 1.0);
    const text_style group_style{11.5, true, align::left, black};
    const text_style column_style{10.5, false, align::centre, dark};
    const text_style row_style{11.5, true, align::right, black};
    double label_width = 0.0;
    for (const auto& row : sheet.rows) {
        label_width =
            std::max(label_width, measure.width_of(fitting(measure, row, row_style, largest_label), row_style));
    }
    std::size_t lines = 0;
    for (const auto& column : sheet.columns) {
        lines = std::max(lines, column.lines.size());
    }
    const double left = margin + label_width + 10.0;
    const double top = margin + 20.0 + line_height * static_cast<double>(lines) + 4.0;
    const double step = side + gap;
    canvas on(left + step * static_cast<double>(sheet.columns.size()) + margin,
              top + step * static_cast<double>(sheet.cells.size()) + margin, 1.0);

    for (std::size_t i = 0; i < sheet.columns.size(); ++i) {
        const auto& column = sheet.columns[i];
        const double x = left + step * static_cast<double>(i);
        if (!column.group.empty() && (i == 0 || sheet.columns[i - 1].group != column.group)) {
            std::size_t last = i;
            while (last + 1 < sheet.columns.size() && sheet.columns[last + 1].group == column.group) {
                ++last;
            }
            const double end = left + step * static_cast<double>(last) + side;
            on.write(x, margin + 10.0, fitting(on, column.group, group_style, end - x), group_style);
            on.line(x, margin + 15.0, end, margin + 15.0, dark, 0.8);
        }
        for (std::size_t k = 0; k < column.lines.size(); ++k) {
            on.write(x + 0.5 * side, margin + 29.0 + line_height * static_cast<double>(k), column.lines[k],
                     column_style);
        }
    }
    for (std::size_t i = 0; i < sheet.cells.size(); ++i) {
        const double y = top + step * static_cast<double>(i);
        if (i < sheet.rows.size() && (i == 0 || sheet.rows[i - 1] != sheet.rows[i])) {
            on.write(left - 10.0, y + 0.5 * side + 4.0, fitting(on, sheet.rows[i], row_style, largest_label),
                     row_style);
        }
        for (std::size_t k = 0; k < sheet.cells[i].size(); ++k) {
            if (sheet.cells[i][k].width > 0) {
                on.show(sheet.cells[i][k], left + step * static_cast<double>(k), y, side, scale);
            }
        }
    }
    return on.finished();
}

} // namespace cli
