#include "benchmarks/update/texts.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "core/base/vector_math.h"

namespace pith {
namespace {

constexpr size_t kVocabulary = 4096;
// Which text a seed is for, and which word.
constexpr uint64_t kTextSeed = 1;
constexpr uint64_t kWordSeed = 2;

void Normalize(std::span<float> vector) {
  const float norm = Norm(vector);
  for (float& value : vector) {
    value /= norm;
  }
}

double UnitRandom(uint64_t& state) {
  return static_cast<double>(NextRandom(state) >> 11) * 0x1p-53;
}

}  // namespace

MadeUpTexts::MadeUpTexts(size_t dimension)
    : word_vectors_(kVocabulary, dimension) {
  uint64_t state = MixBits(kWordSeed);
  for (float& value : word_vectors_.values()) {
    value = static_cast<float>(UnitRandom(state) - 0.5);
  }
}

std::string MadeUpTexts::Text(uint64_t number, size_t bytes) const {
  uint64_t state = MixBits(MixBits(kTextSeed) ^ number);
  std::string text;
  while (text.empty() || text.size() + 4 < bytes) {
    const auto word = static_cast<size_t>(std::pow(UnitRandom(state), 2.0) *
                                          static_cast<double>(kVocabulary));
    absl::StrAppend(&text, text.empty() ? "w" : " w", word);
  }
  return text;
}

void MadeUpTexts::FillVector(std::string_view text,
                             std::span<float> vector) const {
  std::fill(vector.begin(), vector.end(), 0.0F);
  for (absl::string_view word : absl::StrSplit(AbslView(text), ' ')) {
    size_t number = 0;
    word.remove_prefix(std::min<size_t>(1, word.size()));
    if (absl::SimpleAtoi(word, &number) && number < kVocabulary) {
      const std::span<const float> row = word_vectors_.row(number);
      for (size_t i = 0; i < vector.size(); ++i) {
        vector[i] += row[i];
      }
    }
  }
  Normalize(vector);
}

VectorTexts MakeUpVectorTexts(size_t count, size_t bytes, size_t queries,
                              size_t dimension) {
  const MadeUpTexts made_up(dimension);
  VectorTexts texts = {.vectors = Matrix(count, dimension),
                       .queries = Matrix(queries, dimension)};
  for (size_t i = 0; i < count; ++i) {
    texts.texts.push_back(made_up.Text(i, bytes));
    made_up.FillVector(texts.texts.back(), texts.vectors.row(i));
  }
  for (size_t i = 0; i < queries; ++i) {
    made_up.FillVector(made_up.Text(count + i, bytes), texts.queries.row(i));
  }
  return texts;
}

KnownEmbedder::KnownEmbedder(int dimension, Fill fill)
    : identity_{.name = "known",
                .fingerprint = "known",
                .dimension = dimension},
      fill_(std::move(fill)) {}

int KnownEmbedder::CountTokens(std::string_view text) const {
  int lines = 0;
  for (const absl::string_view line :
       absl::StrSplit(AbslView(text), '\n', absl::SkipWhitespace())) {
    lines += line.empty() ? 0 : 1;
  }
  return kLineTokens * lines;
}

absl::StatusOr<Matrix> KnownEmbedder::Embed(
    std::span<const std::string_view> texts, TextRole /*role*/,
    const RequestContext& context) {
  PITH_RETURN_IF_ERROR(CheckAlive(context));
  Matrix vectors(texts.size(), static_cast<size_t>(identity_.dimension));
  for (size_t i = 0; i < texts.size(); ++i) {
    if (!fill_(texts[i], vectors.row(i))) {
      return absl::InvalidArgumentError(
          absl::StrCat("text ", i, " of ", texts[i].size(),
                       " bytes is not one whose vector is known"));
    }
  }
  return vectors;
}

VectorTable::VectorTable(const VectorTexts& texts) : vectors_(texts.vectors) {
  rows_.reserve(texts.texts.size());
  for (size_t i = 0; i < texts.texts.size(); ++i) {
    rows_.emplace(texts.texts[i], i);
  }
}

bool VectorTable::Fill(std::string_view text, std::span<float> vector) const {
  const auto found = rows_.find(text);
  if (found == rows_.end()) {
    return false;
  }
  const std::span<const float> row = vectors_.row(found->second);
  std::copy(row.begin(), row.end(), vector.begin());
  return true;
}

absl::StatusOr<Matrix> PrefilledEmbedder::Embed(
    std::span<const std::string_view> texts, TextRole role,
    const RequestContext& context) {
  if (context.priority == EmbedPriority::kIngest) {
    Matrix vectors(texts.size(), static_cast<size_t>(identity().dimension));
    size_t known = 0;
    while (known < texts.size() &&
           table_.Fill(texts[known], vectors.row(known))) {
      ++known;
    }
    if (known == texts.size()) {
      return vectors;
    }
  }
  return model_.Embed(texts, role, context);
}

}  // namespace pith
