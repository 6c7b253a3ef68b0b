#include "embedder/onednn/precision_choice.h"

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "embedder/json_file.h"
#include "embedder/onednn/onednn_engine.h"
#include "embedder/tokenizer.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Prose, titles, questions, notes and code, in several scripts, of one line to
// a paragraph.
constexpr std::string_view kTexts[] = {
    "how do I undo the last commit without losing my changes",
    "A lighthouse keeper records the weather twice a day in a leather "
    "notebook.",
    "The committee postponed its decision until the budget figures had been "
    "checked by an independent auditor, which is expected to take six weeks.",
    "def mean(values):\n    return sum(values) / len(values)",
    "We measure the lifetime of the excited state by time-correlated single "
    "photon counting and find two components, which we attribute to molecules "
    "at the surface and in the bulk of the crystal. The shorter lifetime "
    "depends on humidity and vanishes in vacuum.",
    "Bread rises because yeast turns sugar into carbon dioxide and alcohol.",
    "error: cannot bind non-const lvalue reference to an rvalue",
    "The train from Lyon arrives at platform four at a quarter past nine.",
    "Ein Rechner, der nichts vergisst, braucht trotzdem gute Ordnung.",
    "El mercado abre los domingos por la mañana en la plaza mayor.",
    "Ночью температура опустится до десяти градусов мороза.",
    "数据库在写入之前先记录日志。",
    "Remember to rotate the signing keys before the end of the quarter!",
    "A matrix is positive definite if and only if all of its leading principal "
    "minors are positive.",
    "SELECT name, COUNT(*) FROM orders GROUP BY name HAVING COUNT(*) > 3;",
    "Her grandmother's recipe calls for cardamom, orange peel and patience.",
    "The patient was given 5 mg twice daily; symptoms improved after ten days "
    "and no adverse effects were reported during the following year.",
    "Volcanic ash grounded flights across the north of the continent.",
    "What is the difference between a process and a thread?",
    "The novel opens with a funeral and ends, four hundred pages later, with a "
    "wedding at which nobody dances.",
};

// Raised when kernels, texts or the bound change, so that verdicts are made
// anew.
constexpr int kVersion = 1;

// What the verdict depends on beside the CPU and this code.
absl::StatusOr<json> WeightsKey(const ModelSpec& spec) {
  const fs::path path = spec.directory / "model.safetensors";
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) {
    return ErrnoStatus(error.value(), "stat", path);
  }
  const fs::file_time_type time = fs::last_write_time(path, error);
  if (error) {
    return ErrnoStatus(error.value(), "stat", path);
  }
  return json{{"size", size}, {"mtime", time.time_since_epoch().count()}};
}

absl::StatusOr<Matrix> EmbedTexts(const ModelSpec& spec, Precision precision,
                                  const PackedTokens& tokens) {
  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<OnednnEngine> engine,
                        OnednnEngine::Load(spec, precision));
  return engine->Embed(tokens);
}

}  // namespace

double PrecisionError(const Matrix& exact, const Matrix& vectors) {
  CHECK(exact.rows() == vectors.rows() && exact.rows() > 1);
  const auto distance = [](std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double difference = static_cast<double>(a[i] - b[i]);
      sum += difference * difference;
    }
    return sum;
  };
  double error = 0;
  double between = 0;
  const size_t count = exact.rows();
  for (size_t i = 0; i < count; ++i) {
    error += distance(exact.row(i), vectors.row(i));
    for (size_t j = 0; j < i; ++j) {
      between += distance(exact.row(i), exact.row(j));
    }
  }
  const double pairs = static_cast<double>(count * (count - 1)) / 2;
  return error / static_cast<double>(count) / (between / pairs);
}

absl::StatusOr<Precision> ChoosePrecision(const ModelSpec& spec,
                                          const fs::path& cache_file) {
  if (!CpuHas(Precision::kBf16) && !CpuHas(Precision::kInt8)) {
    return Precision::kF32;
  }
  PITH_ASSIGN_OR_RETURN(json key, WeightsKey(spec));
  key["cpu"] = CpuName();
  key["version"] = kVersion;
  json cache = json::object();
  if (absl::StatusOr<json> cached = ReadJsonFile(cache_file);
      cached.ok() && cached->is_object()) {
    cache = *std::move(cached);
  }
  const std::string name = spec.directory.lexically_normal().string();
  if (const auto known = cache.find(name);
      known != cache.end() && known->is_object() &&
      known->value("key", json()) == key && known->contains("precision") &&
      (*known)["precision"].is_string()) {
    const std::optional<Precision> precision =
        PrecisionNamed((*known)["precision"].get<std::string>());
    if (precision.has_value() && CpuHas(*precision)) {
      return *precision;
    }
  }

  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                        Tokenizer::Load(spec.directory));
  PackedTokens tokens;
  for (const std::string_view text : kTexts) {
    const Encoding encoding = tokenizer->Encode(text, spec.max_tokens);
    tokens.ids.insert(tokens.ids.end(), encoding.ids.begin(),
                      encoding.ids.end());
    tokens.offsets.push_back(static_cast<int32_t>(tokens.ids.size()));
  }
  PITH_ASSIGN_OR_RETURN(const Matrix exact,
                        EmbedTexts(spec, Precision::kF32, tokens));
  Precision chosen = Precision::kF32;
  json errors = json::object();
  for (const Precision precision : {Precision::kInt8, Precision::kBf16}) {
    if (!CpuHas(precision)) {
      continue;
    }
    const absl::StatusOr<Matrix> vectors = EmbedTexts(spec, precision, tokens);
    if (!vectors.ok()) {
      LOG(WARNING) << "model " << spec.name << ": " << PrecisionName(precision)
                   << " is left out: " << vectors.status().message();
      errors[PrecisionName(precision)] = vectors.status().message();
      continue;
    }
    const double error = PrecisionError(exact, *vectors);
    errors[PrecisionName(precision)] = error;
    if (error <= kMaxPrecisionError) {
      chosen = precision;
      break;
    }
  }
  LOG(INFO) << "model " << spec.name << ": " << PrecisionName(chosen)
            << " chosen, errors " << errors.dump() << " of at most "
            << kMaxPrecisionError;
  cache[name] = {{"key", std::move(key)},
                 {"precision", PrecisionName(chosen)},
                 {"errors", std::move(errors)}};
  if (cache_file.empty()) {
    return chosen;
  }
  const std::string text = cache.dump(1, ' ', /*ensure_ascii=*/false,
                                      json::error_handler_t::replace);
  if (absl::Status saved = WriteFileAtomically(cache_file, text); !saved.ok()) {
    LOG(WARNING) << "the choice of a precision is not cached: " << saved;
  }
  return chosen;
}

}  // namespace pith
