#include "metrics/series.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "metrics/catalogue.h"

namespace cfm::metrics {
namespace {

// Named and with its values, it is one series.
std::string key_of(std::string_view name, LabelValues values) {
  std::string key(name);
  for (const std::string_view value : values) key.append("\n").append(value);
  return key;
}

prometheus::Labels labels_of(const SeriesInfo& series, LabelValues values) {
  std::istringstream names{std::string(series.labels)};
  prometheus::Labels labels;
  auto value = values.begin();
  for (std::string name; names >> name; ++value) {
    if (value == values.end()) break;
    labels[name] = *value;
  }
  if (value != values.end() || labels.size() != values.size() || names)
    throw std::logic_error(std::string(series.name) + " has the labels '" + std::string(series.labels) + "'");
  return labels;
}

}  // namespace

struct Series::Impl {
  prometheus::Labels run;
  std::shared_ptr<prometheus::Registry> registry =
      std::make_shared<prometheus::Registry>(prometheus::Registry::InsertBehavior::Throw);
  std::unordered_map<std::string_view, prometheus::Family<prometheus::Gauge>*> gauge_families;
  std::unordered_map<std::string_view, prometheus::Family<prometheus::Counter>*> counter_families;
  std::unordered_map<std::string, prometheus::Gauge*> gauges;
  std::unordered_map<std::string, prometheus::Counter*> counters;

  // The series of that name and these labels, made when it is first asked for.
  template <class Metric, class Builder>
  Metric& find(Kind kind, std::string_view name, LabelValues values, Builder builder,
               std::unordered_map<std::string_view, prometheus::Family<Metric>*>& families,
               std::unordered_map<std::string, Metric*>& made) {
    std::string key = key_of(name, values);
    if (const auto known = made.find(key); known != made.end()) return *known->second;
    const SeriesInfo* series = find_series(name);
    if (series == nullptr || series->kind != kind)
      throw std::logic_error(std::string(name) + " is no such series of metrics/catalogue.h");
    const prometheus::Labels labels = labels_of(*series, values);
    auto& family = families[series->name];
    if (family == nullptr)
      family =
          &builder().Name(std::string(series->name)).Help(std::string(series->help)).Labels(run).Register(*registry);
    Metric& metric = family->Add(labels);
    made.emplace(std::move(key), &metric);
    return metric;
  }
};

Series::Series(const std::string& run, const std::string& program) : impl_(std::make_unique<Impl>()) {
  impl_->run = {{"run", run}};
  if (!program.empty()) impl_->run["program"] = program;
}
Series::~Series() = default;

void Series::set(std::string_view gauge, double value, LabelValues labels) {
  impl_->find(Kind::kGauge, gauge, labels, prometheus::BuildGauge, impl_->gauge_families, impl_->gauges).Set(value);
}

void Series::add(std::string_view counter, double amount, LabelValues labels) {
  impl_->find(Kind::kCounter, counter, labels, prometheus::BuildCounter, impl_->counter_families, impl_->counters)
      .Increment(amount);
}

void Series::remove(std::string_view gauge, LabelValues labels) {
  const auto known = impl_->gauges.find(key_of(gauge, labels));
  if (known == impl_->gauges.end()) return;
  impl_->gauge_families.at(find_series(gauge)->name)->Remove(known->second);
  impl_->gauges.erase(known);
}

std::string Series::text() const { return prometheus::TextSerializer().Serialize(impl_->registry->Collect()); }

std::shared_ptr<prometheus::Collectable> Series::collectable() const { return impl_->registry; }

std::string run_name(const std::string& given, const std::filesystem::path& folder) {
  const std::filesystem::path whole = std::filesystem::absolute(folder).lexically_normal();
  const std::string name =
      !given.empty() ? given : (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  using Json = nlohmann::json;
  return Json::parse(Json(name).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

}  // namespace cfm::metrics
