#include "benchmarks/embed/texts.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace pith {
namespace {

constexpr char kMixed[] = "mixed";
// The logarithm's deviation: two thirds of the lengths are from half to twice
// the median.
constexpr double kMedian = 70;
constexpr double kSpread = 0.7;
constexpr int kLeastTokens = 3;

}  // namespace

size_t CountTokens(const TokenizedTexts& texts) {
  size_t tokens = 0;
  for (const std::vector<int32_t>& text : texts) {
    tokens += text.size();
  }
  return tokens;
}

absl::StatusOr<TokenizedTexts> MakeTexts(const Tokenizer& tokenizer,
                                         std::span<const std::string> passages,
                                         const std::string& mix, size_t tokens,
                                         int max_tokens) {
  int fixed = 0;
  if (mix != kMixed && (!absl::SimpleAtoi(mix, &fixed) ||
                        fixed < kLeastTokens || fixed > max_tokens)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokens per text \"", mix, "\": are \"", kMixed, "\" or ",
                     kLeastTokens, " to ", max_tokens));
  }
  if (tokenizer.special_tokens() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model's tokenizer puts ", tokenizer.special_tokens(),
                     " special tokens around a text, not 2"));
  }
  std::mt19937 random(1);
  std::lognormal_distribution<double> lengths(std::log(kMedian), kSpread);
  TokenizedTexts texts;
  size_t passage = 0;
  for (size_t made = 0; made < tokens; made += texts.back().size()) {
    const int length = mix != kMixed
                           ? fixed
                           : std::clamp(static_cast<int>(lengths(random)),
                                        kLeastTokens, max_tokens);
    std::vector<int32_t> text;
    int32_t end = 0;
    while (std::ssize(text) < length - 1) {
      const Encoding encoding =
          tokenizer.Encode(passages[passage++ % passages.size()],
                           std::numeric_limits<int>::max());
      // Special tokens stay at the ends of what is put together.
      text.insert(text.end(), encoding.ids.begin() + (text.empty() ? 0 : 1),
                  encoding.ids.end() - 1);
      end = encoding.ids.back();
    }
    text.resize(static_cast<size_t>(length - 1));
    text.push_back(end);
    texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace pith
