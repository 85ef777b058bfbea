#pragma once

#include <string>
#include <vector>

#include <repaint/image/picture.hpp>

/// Figures, drawn with Cairo. Without a font on the machine, Cairo writes with strokes of its own, ASCII only.
namespace cli {

/// A mean at x; half_width: of its interval, NaN when it has none.
struct plot_point {
    double x = 0.0;
    double y = 0.0;
    double half_width = 0.0;
};

struct plot_line {
    std::string name;
    std::vector<plot_point> points;
};

/// One pair of axes.
struct plot_panel {
    std::string title;
    std::vector<plot_line> lines;
};

/// Panels with the same lines, under one heading with the legend. x_ticks: where the ticks are; empty: round numbers.
struct plot_section {
    std::string title;
    std::string x_label;
    std::vector<double> x_ticks;
    std::vector<plot_panel> panels;
};

/// Sections below each other. Panels of one title have one y axis in all sections.
struct plot_figure {
    std::string y_label;
    std::vector<plot_section> sections;
    std::string caption;
};

/// The figure as RGB. Throws repaint::error when Cairo cannot draw it.
[[nodiscard]] repaint::picture drawn(const plot_figure& figure);

/// What stands above a column of a sheet: the group it belongs to, shown once for neighbours, and lines of its own.
struct sheet_column {
    std::string group;
    std::vector<std::string> lines;
};

/// Pictures in rows and columns; a default-constructed one leaves its cell empty. rows: what stands before a row, shown
/// once for neighbours.
struct picture_sheet {
    std::vector<sheet_column> columns;
    std::vector<std::string> rows;
    std::vector<std::vector<repaint::picture>> cells;
};

/// The sheet as RGB, its pictures enlarged by a whole number or reduced until they are 96 to 256 pixels. Throws
/// repaint::error when Cairo cannot draw it.
[[nodiscard]] repaint::picture drawn(const picture_sheet& sheet);

} // namespace cli
