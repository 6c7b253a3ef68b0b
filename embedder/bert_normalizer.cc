#include "embedder/bert_normalizer.h"

#include <algorithm>
#include <vector>

#include "glog/logging.h"
#include "unicode/unistr.h"
#include "unicode/utf8.h"

#include "core/text/utf8.h"
#include "embedder/rust_unicode.h"

namespace pith {
namespace {

// In the table of ASCII characters: this one goes.
constexpr char kDropped = '\x80';

// The blocks that `tokenizers` takes for Chinese, which lack U+2B820..U+2B91F
// and whatever came after U+2CEAF but for the compatibility supplement.
bool IsIdeograph(UChar32 c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

bool IsDroppedByCleaning(UChar32 c) {
  if (c == 0xFFFD) {
    return true;
  }
  const UCharCategory category = RustCategory(c);
  return category == U_CONTROL_CHAR || category == U_FORMAT_CHAR ||
         category == U_PRIVATE_USE_CHAR;
}

}  // namespace

// Lower case and canonical order of what is decomposed.
class BertNormalizer::Sink {
 public:
  Sink(bool lowercase, std::string& out) : lowercase_(lowercase), out_(out) {}

  void Add(UChar32 c) {
    FlushMarks();
    Append(c);
  }

  // A character of a decomposition. Nonspacing marks are left out here already:
  // dropping them does not change the order of the others, unless they are
  // starters, which other marks do not cross.
  void AddDecomposed(UChar32 c) {
    const uint8_t combining_class = RustCombiningClass(c);
    const bool stripped = RustCategory(c) == U_NON_SPACING_MARK;
    if (combining_class == 0) {
      FlushMarks();
      if (!stripped) {
        Append(c);
      }
    } else if (!stripped) {
      marks_.push_back({combining_class, c});
    }
  }

  void FlushMarks() {
    if (marks_.empty()) {
      return;
    }
    std::ranges::stable_sort(marks_, {}, &Mark::combining_class);
    for (const Mark& mark : marks_) {
      Append(mark.c);
    }
    marks_.clear();
  }

 private:
  struct Mark {
    uint8_t combining_class;
    UChar32 c;
  };

  void Append(UChar32 c) {
    if (lowercase_) {
      if (c == 0x130) {
        out_ += "i\u0307";
        return;
      }
      c = RustLowercase(c);
    }
    char bytes[U8_MAX_LENGTH];
    int32_t length = 0;
    U8_APPEND_UNSAFE(bytes, length, c);
    out_.append(bytes, static_cast<size_t>(length));
  }

  const bool lowercase_;
  std::string& out_;
  std::vector<Mark> marks_;
};

BertNormalizer::BertNormalizer(const Options& options) : options_(options) {
  UErrorCode error = U_ZERO_ERROR;
  decomposer_ = icu::Normalizer2::getNFDInstance(error);
  CHECK(U_SUCCESS(error)) << "ICU has no NFD data: " << u_errorName(error);
  for (size_t i = 0; i < ascii_.size(); ++i) {
    const char c = static_cast<char>(i);
    if (options_.clean_text && (c == '\t' || c == '\n' || c == '\r')) {
      ascii_[i] = ' ';
    } else if (options_.clean_text && (c < ' ' || c == '\x7F')) {
      ascii_[i] = kDropped;
    } else if (options_.lowercase && c >= 'A' && c <= 'Z') {
      ascii_[i] = static_cast<char>(c - 'A' + 'a');
    } else {
      ascii_[i] = c;
    }
  }
}

void BertNormalizer::Normalize(std::string_view text,
                               std::string& normalized) const {
  normalized.clear();
  normalized.reserve(text.size());
  Sink sink(options_.lowercase, normalized);
  for (size_t i = 0; i < text.size();) {
    if (const auto byte = static_cast<uint8_t>(text[i]); byte >= 0x80) {
      AddNonAscii(NextCodePoint(text, &i), sink);
    } else {
      ++i;
      if (const char c = ascii_[byte]; c != kDropped) {
        sink.FlushMarks();
        normalized.push_back(c);
      }
    }
  }
  sink.FlushMarks();
}

void BertNormalizer::AddNonAscii(UChar32 c, Sink& sink) const {
  if (options_.clean_text) {
    if (IsDroppedByCleaning(c)) {
      return;
    }
    if (u_isUWhiteSpace(c)) {
      sink.Add(' ');
      return;
    }
  }
  const bool spaced = options_.handle_chinese_chars && IsIdeograph(c);
  if (spaced) {
    sink.Add(' ');
  }
  if (!options_.strip_accents) {
    sink.Add(c);
  } else if (icu::UnicodeString decomposed;
             RustMayDecompose(c) &&
             decomposer_->getDecomposition(c, decomposed)) {
    for (int32_t i = 0; i < decomposed.length();) {
      const UChar32 part = decomposed.char32At(i);
      sink.AddDecomposed(part);
      i += U16_LENGTH(part);
    }
  } else {
    sink.AddDecomposed(c);
  }
  if (spaced) {
    sink.Add(' ');
  }
}

}  // namespace pith
