#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include <repaint/core/text.hpp>
#include <repaint/backend/cuda/cudnn.hpp>
#include <repaint/backend/cuda/status.hpp>
#include <repaint/error.hpp>
#include <repaint/io/atomic_file.hpp>
#include <repaint/io/bytes.hpp>
#include <repaint/io/json.hpp>

/// Plans are chosen once for each problem: by what the libraries expect, or by measuring; and kept in a file, so that a
/// second start need not choose again.
namespace repaint::detail::cuda {

// ---- the file -------------------------------------------------------------------------------------------------------

/// What plans are good for: nothing else can use them.
struct plan_origin {
    std::size_t cudnn = 0;    ///< its version
    std::size_t cublaslt = 0; ///< its version; 0: not used
    std::string device;
    int multiprocessors = 0;

    bool operator==(const plan_origin&) const = default;
};

/// A plan as text.
struct stored_plan {
    std::string text;
    double microseconds = 0.0; ///< of one run, measured; 0: chosen without measuring
};

/// Plans by problem. A file of another version or device, or a damaged one, is no error: its plans are made anew.
class plan_store {
public:
    explicit plan_store(plan_origin origin) : origin_(std::move(origin)) {}

    [[nodiscard]] const plan_origin& origin() const { return origin_; }
    [[nodiscard]] std::size_t size() const { return plans_.size(); }
    /// True when something is here that the file has not.
    [[nodiscard]] bool changed() const { return changed_; }

    /// Null when there is none.
    [[nodiscard]] const stored_plan* find(const std::string& problem) const {
        const auto found = plans_.find(problem);
        return found == plans_.end() ? nullptr : &found->second;
    }

    void put(const std::string& problem, stored_plan plan) {
        plans_.insert_or_assign(problem, std::move(plan));
        changed_ = true;
    }

    void erase(const std::string& problem) { changed_ = plans_.erase(problem) != 0 || changed_; }

    /// Adds the plans of a file, all or none. Returns why there are none, for people to read; empty when there are, and
    /// when there is no such file.
    [[nodiscard]] std::string load(const std::filesystem::path& path) {
        std::error_code failed;
        if (!std::filesystem::exists(path, failed) && !failed) {
            return {};
        }
        try {
            std::map<std::string, stored_plan> found = read(read_json(path), shown(path));
            plans_.merge(std::move(found));
        } catch (const format_error& damaged) {
            return damaged.what();
        }
        return {};
    }

    /// Writes the file, or leaves what was there. Throws repaint::error naming the path and the system's reason.
    void save(const std::filesystem::path& path) {
        std::string text = "{\"format\": ";
        text += json_string(format);
        text += ", \"cudnn\": " + std::to_string(origin_.cudnn);
        text += ", \"cublaslt\": " + std::to_string(origin_.cublaslt);
        text += ", \"device\": " + json_string(printable(origin_.device));
        text += ", \"multiprocessors\": " + std::to_string(origin_.multiprocessors);
        text += ", \"plans\": [";
        const char* separator = "\n";
        for (const auto& [problem, plan] : plans_) {
            text += separator;
            text += "{\"problem\": " + json_string(problem);
            text += ", \"microseconds\": " + number(plan.microseconds);
            text += ", \"crc\": " + std::to_string(checksum(problem, plan.text));
            text += ", \"plan\": " + json_string(plan.text) + "}";
            separator = ",\n";
        }
        text += "\n]}\n";
        write_file_atomically(path, as_bytes(text));
        changed_ = false;
    }

private:
    static constexpr std::string_view format = "repaint plans 1";

    static std::string number(double value) {
        char digits[32]; // the shortest text of a double has 24 characters at most
        return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
    }

    static std::uint32_t checksum(const std::string& problem, const std::string& text) {
        return crc32(as_bytes(problem + '\n' + text));
    }

    [[nodiscard]] std::map<std::string, stored_plan> read(const json_value& file, const std::string& name) const {
        if (file.string("format") != format) {
            throw format_error(name + ": the format is " + in_quotes(file.string("format")) + ", expected " +
                               in_quotes(format));
        }
        const plan_origin theirs{file.at("cudnn").as_unsigned(), file.at("cublaslt").as_unsigned(),
                                 file.string("device"), static_cast<int>(file.integer("multiprocessors"))};
        plan_origin mine = origin_;
        mine.device = printable(mine.device);
        if (theirs != mine) {
            throw format_error(name + ": the plans are for " + described(theirs) + ", here are " + described(mine));
        }
        std::map<std::string, stored_plan> plans;
        for (const json_value& entry : file.array("plans")) {
            const std::string& problem = entry.string("problem");
            stored_plan plan{entry.string("plan"), entry.number("microseconds")};
            if (entry.at("crc").as_unsigned() != checksum(problem, plan.text)) {
                throw format_error(entry.place() + "the plan for " + in_quotes(problem) +
                                   " is damaged: its checksum is wrong");
            }
            plans.insert_or_assign(problem, std::move(plan));
        }
        return plans;
    }

    static std::string described(const plan_origin& origin) {
        std::string text = "cuDNN " + cudnn_version_text(origin.cudnn);
        text += ", cuBLASLt " + std::to_string(origin.cublaslt) + " and ";
        text += printable(origin.device) + " with " + std::to_string(origin.multiprocessors) + " multiprocessors";
        return text;
    }

    plan_origin origin_;
    std::map<std::string, stored_plan> plans_;
    bool changed_ = false;
};

// ---- measuring ------------------------------------------------------------------------------------------------------

inline constexpr const char* measuring = "measuring plans"; ///< for messages

/// How plans are measured.
struct tuning {
    cudaStream_t stream = nullptr;
    void* workspace = nullptr;
    std::size_t workspace_bytes = 0; ///< plans that need more are not tried
    void* flush = nullptr;       ///< what is overwritten before each run, larger than the L2 cache: as in a network,
    std::size_t flush_bytes = 0; ///< a plan then finds neither its weights nor its input there
    int runs = 10;               ///< of each plan; the median counts
    std::size_t most = 40;       ///< plans tried for a problem
};

/// A moment on a stream.
class device_event {
public:
    device_event() { check(cudaEventCreate(&event_), measuring); }
    device_event(const device_event&) = delete;
    device_event& operator=(const device_event&) = delete;
    ~device_event() { static_cast<void>(cudaEventDestroy(event_)); }

    void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), measuring); }

    /// Waits for this moment. Both were recorded.
    [[nodiscard]] double microseconds_since(const device_event& earlier) const {
        check(cudaEventSynchronize(event_), measuring);
        float milliseconds = 0.0F;
        check(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), measuring);
        return 1e3 * static_cast<double>(milliseconds);
    }

private:
    cudaEvent_t event_ = nullptr;
};

/// The median time of what `enqueue` puts on the stream, in microseconds. Gives up after the first run when that takes
/// three times as long as `best`, and returns what it took. Throws device_error.
template <class Enqueue> double measured_microseconds(const tuning& how, double best, Enqueue&& enqueue) {
    device_event begin;
    device_event end;
    std::vector<double> times;
    enqueue(); // loads the kernels
    for (int run = 0; run < std::max(how.runs, 1); ++run) {
        if (how.flush_bytes > 0) {
            check(cudaMemsetAsync(how.flush, 0, how.flush_bytes, how.stream), measuring);
        }
        begin.record(how.stream);
        enqueue();
        end.record(how.stream);
        times.push_back(end.microseconds_since(begin));
        if (times.front() > 3.0 * best) {
            return times.front();
        }
    }
    const auto middle = times.begin() + std::ssize(times) / 2;
    std::nth_element(times.begin(), middle, times.end());
    return *middle;
}

/// As measured_microseconds; infinity when the plan refuses to run. Throws device_error when the device has failed.
template <class Enqueue> double measured_or_refused(const tuning& how, double best, Enqueue&& enqueue) {
    try {
        return measured_microseconds(how, best, enqueue);
    } catch (const device_error&) {
        check(cudaStreamSynchronize(how.stream), measuring);
        return std::numeric_limits<double>::infinity();
    }
}

// ---- choosing -------------------------------------------------------------------------------------------------------

/// The plans of one backend object for one kind of problem, each chosen when it is first asked for. A Problem has an
/// order, and by argument-dependent lookup
///   std::string refusal(problem)                    why no engine is asked at all; empty when one is
///   std::string key(problem)                        all of it, in words
///   plan_limits limits_for(problem, plan_limits)
///   operation_graph graph_of(problem)               not closed
template <class Problem> class plan_cache {
public:
    /// The device and the store must outlive this object.
    plan_cache(const device_properties& device, plan_store& store, const plan_limits& limits = {})
        : device_(&device), store_(&store), limits_(limits) {}

    /// The plan for a problem: the store's, or else what cuDNN expects to be the fastest. Null when there is none:
    /// why_not() says the reason. Valid until the problem is tuned, or the object goes. Throws device_error when cuDNN
    /// does not work at all.
    [[nodiscard]] const execution_plan* find(const Problem& problem) {
        const auto found = chosen_.find(problem);
        return pointer(found != chosen_.end() ? found->second
                                              : chosen_.emplace(problem, choose(problem)).first->second);
    }

    /// As find, but the fastest of all plans, by measuring them; measured once, the store has it. execute(plan) must
    /// enqueue the problem on how.stream with how.workspace; what it writes is not used. Throws device_error.
    template <class Execute> const execution_plan* tune(const Problem& problem, const tuning& how, Execute&& execute) {
        const execution_plan* const before = find(problem);
        if (is_tuned(problem)) {
            return before;
        }
        const std::string name = full_key(problem);
        choice& c = chosen_.at(problem);
        c.tuned = true;
        operation_graph graph = graph_of(problem);
        if (!graph.close(c.why)) {
            return before;
        }
        plan_limits limits = limits_for(problem, limits_);
        limits.workspace = std::min(limits.workspace, how.workspace_bytes);
        double best = std::numeric_limits<double>::infinity();
        for (auto& plan : offered_plans(graph, *device_, limits, how.most, c.why)) {
            const double taken = measured_or_refused(how, best, [&] { execute(std::as_const(plan)); });
            if (taken < best) {
                best = taken;
                c.plan = std::move(plan);
            }
        }
        if (best < std::numeric_limits<double>::infinity()) {
            store_->put(name, {c.plan->json(), best});
        }
        return pointer(c);
    }

    /// True when tune() would not measure: it did, or the store has it, or there is no plan.
    [[nodiscard]] bool is_tuned(const Problem& problem) {
        const stored_plan* const stored = find(problem) == nullptr ? nullptr : store_->find(full_key(problem));
        const choice& c = chosen_.at(problem);
        return !c.plan || c.tuned || (stored != nullptr && stored->microseconds > 0.0);
    }

    /// Why find() gave null for this problem; empty when it did not.
    [[nodiscard]] std::string why_not(const Problem& problem) const {
        const auto found = chosen_.find(problem);
        return found == chosen_.end() || found->second.plan ? std::string() : found->second.why;
    }

    /// Why plans of the store were not used; the last such reason.
    [[nodiscard]] const std::string& ignored() const { return ignored_; }

    /// The largest workspace of the plans so far, in bytes.
    [[nodiscard]] std::size_t workspace_bytes() const {
        std::size_t most = 0;
        for (const auto& [problem, c] : chosen_) {
            most = std::max(most, c.plan ? c.plan->workspace_bytes() : 0);
        }
        return most;
    }

private:
    struct choice {
        std::optional<execution_plan> plan;
        std::string why;
        bool tuned = false; ///< in this process
    };

    static const execution_plan* pointer(const choice& c) { return c.plan ? &*c.plan : nullptr; }

    [[nodiscard]] std::string full_key(const Problem& problem) const {
        const plan_limits limits = limits_for(problem, limits_);
        std::string name = key(problem);
        name += limits.deterministic ? ", deterministic" : ", any order";
        name += limits.tensor_cores ? "" : ", exact factors";
        name += limits.runtime_compilation ? ", compiled" : "";
        name += ", workspace " + std::to_string(limits.workspace);
        return name;
    }

    choice choose(const Problem& problem) {
        choice c;
        c.why = refusal(problem);
        if (!c.why.empty()) {
            return c;
        }
        operation_graph graph = graph_of(problem);
        if (!graph.close(c.why)) {
            return c;
        }
        const std::string name = full_key(problem);
        const plan_limits limits = limits_for(problem, limits_);
        if (const stored_plan* const stored = store_->find(name)) {
            c.plan = execution_plan::read(stored->text, graph, *device_, limits, ignored_);
            if (c.plan) {
                return c;
            }
            ignored_ = "the stored plan for " + name + ": " + ignored_;
            store_->erase(name);
        }
        auto plans = offered_plans(graph, *device_, limits, 1, c.why);
        if (!plans.empty()) {
            c.plan = std::move(plans.front());
            store_->put(name, {c.plan->json(), 0.0});
        }
        return c;
    }

    const device_properties* device_;
    plan_store* store_;
    plan_limits limits_;
    std::map<Problem, choice> chosen_;
    std::string ignored_;
};

} // namespace repaint::detail::cuda
