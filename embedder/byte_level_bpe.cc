#include "embedder/byte_level_bpe.h"

#include <algorithm>
#include <tuple>

#include "glog/logging.h"
#include "unicode/utf8.h"

#include "core/text/utf8.h"
#include "embedder/rust_unicode.h"

namespace pith {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

constexpr RegexClass AsciiClass(char c) {
  if (c == ' ' || (c >= '\t' && c <= '\r')) {
    return RegexClass::kSpace;
  }
  if (c >= '0' && c <= '9') {
    return RegexClass::kNumber;
  }
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? RegexClass::kLetter
                                                          : RegexClass::kOther;
}

// The class of the character at `*i`, which moves behind it.
RegexClass NextClass(std::string_view text, size_t* i) {
  const char c = text[*i];
  if (static_cast<uint8_t>(c) < 0x80) {
    ++*i;
    return AsciiClass(c);
  }
  return RustRegexClass(NextCodePoint(text, i));
}

// Where the characters of class `kind` that begin at `begin` end.
size_t EndOfRun(std::string_view text, size_t begin, RegexClass kind) {
  while (begin < text.size()) {
    size_t next = begin;
    if (NextClass(text, &next) != kind) {
      break;
    }
    begin = next;
  }
  return begin;
}

// The length of what 's|'t|'re|'ve|'m|'ll|'d matches at the start of `text`.
size_t ContractionLength(std::string_view text) {
  for (const std::string_view contraction :
       {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(contraction)) {
      return contraction.size();
    }
  }
  return 0;
}

// Where the word that begins at `begin` ends, by
// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t EndOfWord(std::string_view text, size_t begin) {
  if (const size_t length = ContractionLength(text.substr(begin)); length > 0) {
    return begin + length;
  }
  size_t next = begin;
  RegexClass kind = NextClass(text, &next);
  if (text[begin] == ' ' && next < text.size()) {
    size_t second = next;
    const RegexClass second_kind = NextClass(text, &second);
    if (second_kind != RegexClass::kSpace) {
      kind = second_kind;
      next = second;
    }
  }
  if (kind != RegexClass::kSpace) {
    return EndOfRun(text, next, kind);
  }
  const size_t end = EndOfRun(text, next, kind);
  if (end == text.size() || end == next) {
    return end;
  }
  // The last space is left to the word after it.
  size_t last = end - 1;
  while (U8_IS_TRAIL(text[last])) {
    --last;
  }
  return last;
}

}  // namespace

// A token of a word. Merged into its left neighbour, it is no longer linked.
struct ByteLevelBpe::Symbol {
  int32_t id;
  uint32_t previous;
  uint32_t next;
  bool merged = false;
};

// A pair that may be merged. It is stale when its symbols have changed.
struct ByteLevelBpe::Candidate {
  uint32_t rank;
  uint32_t left;  // position of its left symbol
  int32_t result;

  // For a heap whose top is the first to merge.
  bool operator<(const Candidate& other) const {
    return std::tie(rank, left) > std::tie(other.rank, other.left);
  }
};

struct ByteLevelBpe::Scratch {
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

ByteLevelBpe::ByteLevelBpe(const Options& options)
    : byte_ids_(options.byte_ids),
      unknown_id_(options.unknown_id),
      fuse_unknown_(options.fuse_unknown),
      add_prefix_space_(options.add_prefix_space) {
  merges_.reserve(options.merges.size());
  for (size_t i = 0; i < options.merges.size(); ++i) {
    const Merge& merge = options.merges[i];
    merges_[PairKey(merge.left, merge.right)] = {static_cast<uint32_t>(i),
                                                 merge.result};
  }
}

std::string ByteLevelBpe::ByteName(uint8_t byte) {
  const auto is_printable = [](uint32_t b) {
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  uint32_t c = byte;
  if (!is_printable(byte)) {
    // The others, in order, from U+0100 on.
    c = 0x100;
    for (uint32_t b = 0; b < byte; ++b) {
      c += is_printable(b) ? 0 : 1;
    }
  }
  char bytes[U8_MAX_LENGTH];
  int32_t length = 0;
  U8_APPEND_UNSAFE(bytes, length, c);
  return std::string(bytes, static_cast<size_t>(length));
}

void ByteLevelBpe::Tokenize(std::string_view text, bool /*begins_input*/,
                            LimitedIds& ids) const {
  std::string prefixed;
  if (add_prefix_space_ && !text.starts_with(' ')) {
    prefixed.reserve(text.size() + 1);
    prefixed += ' ';
    prefixed += text;
    text = prefixed;
  }
  Scratch scratch;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = EndOfWord(text, begin);
    AddWord(text.substr(begin, end - begin), scratch, ids);
    begin = end;
  }
}

void ByteLevelBpe::AddCandidate(uint32_t left, Scratch& scratch) const {
  const Symbol& symbol = scratch.symbols[left];
  const auto merge =
      merges_.find(PairKey(symbol.id, scratch.symbols[symbol.next].id));
  if (merge != merges_.end()) {
    scratch.heap.push_back({.rank = merge->second.rank,
                            .left = left,
                            .result = merge->second.result});
    std::push_heap(scratch.heap.begin(), scratch.heap.end());
  }
}

void ByteLevelBpe::AddWord(std::string_view word, Scratch& scratch,
                           LimitedIds& ids) const {
  CHECK_LT(word.size(), kNone);
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  bool fuses = false;
  for (const char c : word) {
    const std::optional<int32_t> id = byte_ids_[static_cast<uint8_t>(c)];
    const bool fused = fuses && !id.has_value();
    fuses = fuse_unknown_ && !id.has_value();
    if (fused || !(id.has_value() || unknown_id_.has_value())) {
      continue;
    }
    const auto position = static_cast<uint32_t>(symbols.size());
    symbols.push_back({.id = id.has_value() ? *id : *unknown_id_,
                       .previous = position == 0 ? kNone : position - 1,
                       .next = position + 1});
  }
  if (symbols.empty()) {
    return;
  }
  symbols.back().next = kNone;
  scratch.heap.clear();
  for (uint32_t i = 0; i + 1 < symbols.size(); ++i) {
    AddCandidate(i, scratch);
  }
  while (!scratch.heap.empty()) {
    std::pop_heap(scratch.heap.begin(), scratch.heap.end());
    const Candidate candidate = scratch.heap.back();
    scratch.heap.pop_back();
    Symbol& left = symbols[candidate.left];
    if (left.merged || left.next == kNone) {
      continue;
    }
    Symbol& right = symbols[left.next];
    const auto merge = merges_.find(PairKey(left.id, right.id));
    if (merge == merges_.end() || merge->second.result != candidate.result) {
      continue;
    }
    left.id = candidate.result;
    left.next = right.next;
    right.merged = true;
    if (left.next != kNone) {
      symbols[left.next].previous = candidate.left;
      AddCandidate(candidate.left, scratch);
    }
    if (left.previous != kNone) {
      AddCandidate(left.previous, scratch);
    }
  }
  for (uint32_t i = 0; i != kNone; i = symbols[i].next) {
    ids.Add(symbols[i].id);
  }
}

}  // namespace pith
