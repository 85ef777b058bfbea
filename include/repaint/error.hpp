#pragma once

#include <stdexcept>
#include <string>

namespace repaint {

/// Everything this library throws about data and devices. Impossible options are std::invalid_argument.
class error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Two shapes that do not fit: names the operation, what was found and what was expected.
class shape_error : public error {
public:
    using error::error;
};

/// A file that cannot be read: names the path, the place in it, what was found and what is accepted.
class format_error : public error {
public:
    using error::error;
};

/// The runtime of a device refused: carries the runtime's own name for the reason.
class device_error : public error {
public:
    using error::error;
};

} // namespace repaint
