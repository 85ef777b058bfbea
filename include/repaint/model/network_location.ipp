#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <repaint/config.hpp>
#include <repaint/core/text.hpp>
#include <repaint/error.hpp>
#include <repaint/model/network_location.hpp>

namespace repaint {

namespace detail {

/// A network's place in a checkpoint: what stands before its names, and what is known about it.
struct network_place {
    std::string prefix; ///< empty, or ends with a dot
    std::size_t tensors = 0;
    bool averaged = false;

    [[nodiscard]] std::string name() const { return prefix.empty() ? prefix : prefix.substr(0, prefix.size() - 1); }
};

/// Two tensors that every network of a family has, the first of which no other part of a file has beside the second.
struct network_marks {
    std::string_view first;
    std::string_view second;
};
inline constexpr std::array<network_marks, 3> known_marks = {{
    {"input_blocks.0.0.weight", "time_embed.0.weight"},   // guided-diffusion
    {"conv_in.weight", "time_embedding.linear_1.weight"}, // diffusers
    {"conv_in.conv.weight", "time_embed.0.weight"},       // MONAI
}};

/// Whether a prefix is what training programs call averaged weights.
REPAINT_COLD bool is_averaged(std::string_view prefix) {
    bool averaged = false;
    while (!prefix.empty()) {
        const std::size_t dot = prefix.find('.');
        const std::string part = lower_case(std::string(prefix.substr(0, dot)));
        prefix.remove_prefix(std::min(prefix.size(), dot == std::string_view::npos ? prefix.size() : dot + 1));
        if (part == "online_model" || part == "online" || part == "student") { // beside the average, in its wrapper
            return false;
        }
        for (std::size_t at = part.find("ema"); at != std::string::npos; at = part.find("ema", at + 1)) {
            const auto letter = [&](std::size_t i) { return i < part.size() && part[i] >= 'a' && part[i] <= 'z'; };
            averaged |= !(at > 0 && letter(at - 1)) && !letter(at + 3);
        }
        averaged |= part.find("averag") != std::string::npos || part.find("polyak") != std::string::npos ||
                    part.starts_with("swa_") || part == "shadow" || part == "avg_model" || part == "model_avg";
    }
    return averaged;
}

REPAINT_COLD std::vector<network_place> networks_of(const checkpoint& file) {
    std::vector<network_place> places;
    for (const auto& [name, tensor] : file.tensors) {
        for (const network_marks& marks : known_marks) {
            const bool ends = name.ends_with(marks.first) &&
                              (name.size() == marks.first.size() || name[name.size() - marks.first.size() - 1] == '.');
            if (!ends) {
                continue;
            }
            std::string prefix = name.substr(0, name.size() - marks.first.size());
            if (file.tensors.contains(joined_text({prefix, marks.second}))) {
                network_place& place = places.emplace_back();
                place.averaged = is_averaged(prefix);
                for (auto at = file.tensors.lower_bound(prefix);
                     at != file.tensors.end() && at->first.starts_with(prefix); ++at) {
                    ++place.tensors;
                }
                place.prefix = std::move(prefix);
            }
        }
    }
    std::stable_sort(places.begin(), places.end(), [](const network_place& a, const network_place& b) {
        return a.averaged != b.averaged ? a.averaged : a.tensors > b.tensors;
    });
    return places;
}

REPAINT_COLD std::string names_of(const std::vector<network_place>& places) {
    std::string text;
    for (const auto& place : places) {
        text += joined_text({text.empty() ? "" : ", ", in_quotes(place.name())});
    }
    return text;
}

/// Averaged weights as CompVis' LitEma keeps them: model_ema.NAME, where NAME has lost its dots. They take the place of
/// the network's own.
REPAINT_COLD bool take_dotless_average(checkpoint& file, const network_place& place) {
    // LitEma averages `self.model` into `self.model_ema`.
    const std::size_t model = place.prefix.starts_with("model.") ? 0 : place.prefix.find(".model.") + 1;
    if (!place.prefix.substr(model).starts_with("model.")) {
        return false;
    }
    const std::string holder = joined_text({std::string_view(place.prefix).substr(0, model), "model_ema."});
    const std::size_t cut = model + std::string_view("model.").size();
    const auto dotless = [](std::string text) {
        std::erase(text, '.');
        return text;
    };
    std::vector<std::pair<std::string, std::string>> pairs;
    for (auto at = file.tensors.lower_bound(place.prefix);
         at != file.tensors.end() && at->first.starts_with(place.prefix); ++at) {
        const std::string average = joined_text({holder, dotless(at->first.substr(cut))});
        const auto found = file.tensors.find(average);
        if (found == file.tensors.end() || found->second.shape != at->second.shape) {
            return false;
        }
        pairs.emplace_back(at->first, average);
    }
    for (const auto& [name, average] : pairs) {
        file.tensors.at(name) = file.tensors.at(average);
    }
    return true;
}

/// Whether a name, which begins with what stands before a network's names, is one of the network's: those have dots,
/// where tables of the diffusion beside it have none, and neither a training's state nor another network lies there.
REPAINT_COLD bool belongs_to(const std::string& name, const network_place& place,
                             const std::vector<network_place>& others) {
    if (!name.starts_with(place.prefix)) {
        return false;
    }
    const std::string_view rest = std::string_view(name).substr(place.prefix.size());
    const std::string part = lower_case(std::string(rest.substr(0, rest.find('.'))));
    return part.size() < rest.size() && !is_averaged(part) && !part.starts_with("optim") && part != "opt" &&
           part.find("sched") == std::string::npos && part.find("scaler") == std::string::npos &&
           std::none_of(others.begin(), others.end(), [&](const network_place& other) {
               return other.prefix.size() > place.prefix.size() && name.starts_with(other.prefix);
           });
}

/// What was left out, by the first part of the names: "optimizer (140 tensors), betas".
REPAINT_COLD std::string summary_of(const std::vector<std::string>& names) {
    constexpr std::size_t most = 6;
    std::vector<std::pair<std::string, std::size_t>> groups;
    for (const std::string& name : names) {
        const std::string group = name.substr(0, name.find('.'));
        if (groups.empty() || groups.back().first != group) {
            groups.emplace_back(group, 0);
        }
        ++groups.back().second;
    }
    std::string text;
    for (std::size_t i = 0; i < std::min(most, groups.size()); ++i) {
        text += joined_text({i == 0 ? "" : ", ", printable(groups[i].first)});
        if (groups[i].second > 1) {
            text += joined_text({" (", groups[i].second, " tensors)"});
        }
    }
    return groups.size() > most ? joined_text({text, " and ", groups.size() - most, " more"}) : text;
}

} // namespace detail

REPAINT_COLD checkpoint locate_network(checkpoint file, std::string_view wanted) {
    auto places = detail::networks_of(file);
    if (!wanted.empty()) {
        const auto all = places;
        std::erase_if(places, [&](const detail::network_place& place) {
            return joined_text({".", place.prefix}).find(joined_text({".", wanted, "."})) == std::string::npos;
        });
        if (places.empty()) {
            throw format_error(joined_text(
                {shown(file.path), ": has no network under ", in_quotes(wanted), ", ",
                 all.empty() ? "and none that is known here" : joined_text({"but under ", detail::names_of(all)})}));
        }
    }
    if (places.empty()) {
        detail::strip_common_prefix(file);
        return file;
    }
    const detail::network_place place = places.front();
    places.erase(places.begin());
    bool averaged = place.averaged;
    if (!averaged && wanted.empty()) {
        averaged = detail::take_dotless_average(file, place);
    }
    std::map<std::string, stored_tensor> own;
    std::vector<std::string> others;
    for (auto& entry : file.tensors) {
        const std::string& name = entry.first;
        const auto has = [&name](const detail::network_place& other) { return detail::belongs_to(name, other, {}); };
        if (detail::belongs_to(name, place, places)) {
            own.emplace(name.substr(place.prefix.size()), std::move(entry.second));
        } else if (std::none_of(places.begin(), places.end(), has)) {
            others.push_back(name);
        }
    }
    file.tensors = std::move(own);
    if (!place.prefix.empty() || averaged) {
        std::string note = place.prefix.empty()
                               ? std::string("the tensors are")
                               : joined_text({"the tensors were taken from the entry ", in_quotes(place.name())});
        note += averaged ? place.averaged ? ", averaged weights" : ", their averages from \"model_ema\"" : "";
        if (!places.empty()) {
            note += joined_text({", also there and not read: ", detail::names_of(places)});
        }
        file.notes.push_back(note);
    }
    if (!others.empty()) {
        file.notes.push_back(joined_text({"left out beside the network: ", detail::summary_of(others)}));
    }
    return file;
}

} // namespace repaint
