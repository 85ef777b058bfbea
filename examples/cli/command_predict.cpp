#include <repaint/io/npy.hpp>

#include "commands.hpp"
#include "image_files.hpp"

namespace cli {

void predict(const predict_command& command) {
    const auto x = read_array(command.input);
    const auto model = make_engine(command.model.files(), command.model.engine);
    auto labels = command.labels.given;
    if (labels.size() == 1) {
        labels.resize(static_cast<std::size_t>(x.shape().n), labels.front());
    }
    repaint::write_npy(command.out, model->predict(x, static_cast<float>(command.timestep), labels));
}

} // namespace cli
