#include "measures.hpp"

#include <cmath>
#include <cstddef>
#include <limits>

#include <repaint/evaluation/psnr.hpp>
#include <repaint/evaluation/ssim.hpp>

namespace ablation {

namespace {

using repaint::host_tensor;

constexpr double undefined = std::numeric_limits<double>::quiet_NaN();

/// The mean absolute difference over the hole in 8-bit levels, channel by channel; NaN when there is no hole.
std::vector<double> absolute_error(const host_tensor& images, const host_tensor& truth, const host_tensor& keep) {
    std::vector<double> errors;
    for (int i = 0; i < images.shape().n; ++i) {
        const auto x = images.image(i);
        const auto y = truth.image(i);
        const auto known = keep.image(keep.shape().n == 1 ? 0 : i);
        double sum = 0.0;
        double weight = 0.0;
        for (std::size_t at = 0; at < x.size(); ++at) {
            const double missing = 1.0 - static_cast<double>(known[at % known.size()]);
            sum += missing * std::abs(static_cast<double>(x[at]) - static_cast<double>(y[at]));
            weight += missing;
        }
        errors.push_back(127.5 * sum / weight);
    }
    return errors;
}

} // namespace

std::vector<std::string> measure_names(bool perceptual) {
    if (perceptual) {
        return {"lpips_hole", "mae_hole", "psnr_hole", "ssim_hole", "lpips", "psnr", "ssim"};
    }
    return {"mae_hole", "psnr_hole", "ssim_hole", "psnr", "ssim"};
}

std::vector<std::vector<double>> measured(const host_tensor& images, const host_tensor& truth, const host_tensor& keep,
                                          const cli::perceptual_features& features) {
    constexpr int ssim_side = 7;
    const auto count = static_cast<std::size_t>(images.shape().n);
    const bool structure = images.shape().h >= ssim_side && images.shape().w >= ssim_side;
    const std::vector<double> none(count, undefined);
    std::vector<std::vector<double>> columns{absolute_error(images, truth, keep), repaint::psnr(images, truth, keep),
                                             structure ? repaint::ssim(images, truth, keep) : none,
                                             repaint::psnr(images, truth),
                                             structure ? repaint::ssim(images, truth) : none};
    if (features) {
        const auto seen = features(images);
        const auto wanted = features(truth);
        columns.insert(columns.begin(), repaint::lpips_distance(seen, wanted, keep));
        columns.insert(columns.begin() + 4, repaint::lpips_distance(seen, wanted));
    }
    std::vector<std::vector<double>> rows(count);
    for (std::size_t i = 0; i < count; ++i) {
        for (const auto& column : columns) {
            rows[i].push_back(column[i]);
        }
    }
    return rows;
}

} // namespace ablation
