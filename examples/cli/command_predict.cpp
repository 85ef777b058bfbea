#include <repaint/io/npy.hpp>

#include "commands.hpp"
#include "image_files.hpp"
#include "outputs.hpp"
#include "summary.hpp"

namespace cli {

void predict(const predict_command& command) {
    check_writable(command.out);
    const auto x = read_array(command.input);
    const auto model = make_engine(command.model.files(), command.model.engine);
    auto labels = command.labels.given;
    if (labels.size() == 1) {
        labels.resize(static_cast<std::size_t>(x.shape().n), labels.front());
    }
    print_remarks(*model);
    const auto y = model->predict(x, static_cast<float>(command.timestep), labels);
    write_or_keep(command.out, [&](const std::filesystem::path& file) { repaint::write_npy(file, y); });
}

} // namespace cli
